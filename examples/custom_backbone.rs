//! Aligns two custom encoders.
//!
//! `cargo run --release --example custom_backbone` draws images of eight colors and six shapes, encodes them and their
//! captions with two small encoders defined below, trains a head in seconds, and queries the model for held-out
//! combinations of color and shape.
//!
//! Use your own encoders the same way: implement `ImagePreprocessor` and `ImageEncoder`, `Tokenizer` and `TextEncoder`.

// Examples print their results.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;

use sail_vl::SailModel;
use sail_vl::burn::tensor::{Device, Tensor, TensorData};
use sail_vl::core::{
    EncodeError, ImageEncoder, ImageFeatures, ImagePooling, ImagePreprocessor, InputError, Padding,
    PaddingSide, Pixels, Provenance, RgbImage, TextEncoder, TextFeatures, TextPooling, TextTower, TokenBatch,
    TokenIds, Tokenizer, VisionTower,
};
use sail_vl::data::{MatrixFeatures, Pairs};
use sail_vl::eval::{BlockSize, top_k};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::SigmoidLoss;
use sail_vl::train::{TrainConfig, Trainer};

/// Height and width of an image.
const SIZE: usize = 32;

/// The vision encoder: silhouette and color of the foreground, that is, the pixels that differ from the top left pixel.
struct Silhouette;

impl ImagePreprocessor for Silhouette {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size = [image.height() as usize, image.width() as usize];
        if size != [SIZE, SIZE] {
            return Err(InputError(format!("invalid image size, expected {SIZE} x {SIZE}: resize it first")));
        }
        let channel = |c: usize| image.pixels().map(move |pixel| f32::from(pixel.0[c]) / 255.0);
        Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
    }

    fn describe(&self) -> String {
        format!("{SIZE} x {SIZE}, / 255")
    }
}

impl ImageEncoder for Silhouette {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let found = pixels.dims();
        let [batch, channels, height, width] = found;
        if [channels, height, width] != [3, SIZE, SIZE] {
            let expected = format!("[batch, 3, {SIZE}, {SIZE}]");
            return Err(EncodeError::Shape { what: "pixels", found: found.to_vec(), expected });
        }
        let corner = pixels.clone().slice([0..batch, 0..3, 0..1, 0..1]);
        let mask = ((pixels.clone() - corner).abs().sum_dim(1) * 2.0).clamp_max(1.0);
        let silhouette =
            mask.clone().reshape([batch, 8, 4, 8, 4]).mean_dim(4).mean_dim(2).reshape([batch, 64]);
        let color = (pixels * mask.clone()).sum_dim(3).sum_dim(2) / (mask.sum_dim(3).sum_dim(2) + 1e-6);
        // Similarity of the color to each point of a 3 x 3 x 3 grid of the RGB cube.
        let grid: Vec<f32> =
            (0..27).flat_map(|i| [i / 9, i / 3 % 3, i % 3]).map(|step| step as f32 / 2.0).collect();
        let grid = Tensor::<2>::from_data(TensorData::new(grid, [27, 3]), &color.device());
        let difference = color.reshape([batch, 1, 3]) - grid.unsqueeze::<3>();
        let color = ((difference.clone() * difference).sum_dim(2) * -6.0).exp().reshape([batch, 27]);
        Ok(ImageFeatures {
            class_token: None,
            patches: None,
            pooled: Some(Tensor::cat(vec![silhouette, color], 1)),
        })
    }
}

/// The text encoder: character trigrams as tokens, with a fixed random vector per token.
struct Trigrams {
    vectors: Tensor<2>,
}

impl Trigrams {
    const VOCABULARY: usize = 4096;
    const HIDDEN: usize = 64;

    fn new(device: &Device) -> Self {
        let mut random = Random(7);
        let values = (0..Self::VOCABULARY * Self::HIDDEN).map(|_| random.between(-1.0, 1.0)).collect();
        let values = TensorData::new::<f32, _>(values, [Self::VOCABULARY, Self::HIDDEN]);
        Self { vectors: Tensor::from_data(values, device) }
    }
}

impl Tokenizer for Trigrams {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        let letters: Vec<char> = format!(" {} ", text.trim().to_lowercase()).chars().collect();
        // FNV-1a, modulo the vocabulary size.
        let hash = |letters: &[char]| {
            letters
                .iter()
                .fold(0x811c_9dc5_u32, |hash, &letter| (hash ^ letter as u32).wrapping_mul(0x0100_0193))
        };
        let ids: Vec<u32> = letters.windows(3).map(|three| hash(three) % Self::VOCABULARY as u32).collect();
        if ids.is_empty() {
            return Err(InputError("the text is empty".into()));
        }
        Ok(TokenIds(ids))
    }

    fn padding(&self) -> Padding {
        Padding { id: 0, side: PaddingSide::Right }
    }

    fn describe(&self) -> String {
        format!("lower case, trigrams in {} buckets", Self::VOCABULARY)
    }
}

impl TextEncoder for Trigrams {
    fn encode_texts(&self, texts: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let [batch, length] = texts.ids.dims();
        let tokens = self.vectors.clone().select(0, texts.ids.reshape([batch * length]));
        Ok(TextFeatures {
            tokens: tokens.reshape([batch, length, Self::HIDDEN]),
            mask: texts.mask,
            pooled: None,
        })
    }
}

const COLORS: [(&str, [f32; 3]); 8] = [
    ("red", [0.85, 0.15, 0.15]),
    ("teal", [0.1, 0.6, 0.6]),
    ("yellow", [0.95, 0.85, 0.2]),
    ("green", [0.2, 0.7, 0.3]),
    ("blue", [0.2, 0.35, 0.9]),
    ("purple", [0.55, 0.2, 0.75]),
    ("pink", [0.95, 0.6, 0.75]),
    ("white", [0.95, 0.95, 0.95]),
];

/// A name, and a predicate for the points inside, with coordinates from -1 to 1.
type Shape = (&'static str, fn(f32, f32) -> bool);

const SHAPES: [Shape; 6] = [
    ("circle", |x, y| x.hypot(y) < 0.95),
    ("square", |x, y| x.abs().max(y.abs()) < 0.85),
    ("triangle", |x, y| y < 0.8 && x.abs() < 0.55 * (y + 0.95)),
    ("diamond", |x, y| x.abs() + y.abs() < 1.0),
    ("cross", |x, y| x.abs().min(y.abs()) < 0.3 && x.abs().max(y.abs()) < 0.95),
    ("ring", |x, y| (0.55..0.95).contains(&x.hypot(y))),
];

/// A color and a shape, as indices into the lists above.
#[derive(Clone, Copy, PartialEq)]
struct Thing {
    color: usize,
    shape: usize,
}

impl Thing {
    fn all() -> impl Iterator<Item = Self> {
        (0..COLORS.len()).flat_map(|color| (0..SHAPES.len()).map(move |shape| Self { color, shape }))
    }

    /// All colors and shapes occur in training, but two colors of each shape are held out.
    fn is_held_out(self) -> bool {
        (self.color + 3 * self.shape).is_multiple_of(4)
    }

    fn name(self) -> String {
        format!("{} {}", COLORS[self.color].0, SHAPES[self.shape].0)
    }

    fn caption(self, random: &mut Random) -> String {
        let name = self.name();
        let (color, shape) = (COLORS[self.color].0, SHAPES[self.shape].0);
        match (random.between(0.0, 4.0)) as usize {
            0 => format!("a {name}"),
            1 => format!("the {shape} is {color}"),
            2 => format!("a drawing of a {name}"),
            _ => format!("a {shape} in {color}"),
        }
    }

    /// Draws near the center of a dark background, with a jittered color and soft edges.
    fn draw(self, random: &mut Random) -> Result<RgbImage, Box<dyn Error>> {
        let center = [(); 2].map(|()| SIZE as f32 / 2.0 + random.between(-2.0, 2.0));
        let radius = random.between(8.0, 13.0);
        let background = random.between(0.05, 0.3);
        let color = COLORS[self.color].1.map(|value| value + random.between(-0.05, 0.05));
        let inside =
            |x: f32, y: f32| (SHAPES[self.shape].1)((x - center[0]) / radius, (y - center[1]) / radius);
        let mut bytes = Vec::with_capacity(SIZE * SIZE * 3);
        for (row, column) in (0..SIZE).flat_map(|row| (0..SIZE).map(move |column| (row, column))) {
            let hits = (0..9)
                .filter(|i| inside(column as f32 + (i % 3) as f32 / 3.0, row as f32 + (i / 3) as f32 / 3.0));
            let share = hits.count() as f32 / 9.0;
            bytes.extend(color.map(|value| ((background + (value - background) * share) * 255.0) as u8));
        }
        Ok(RgbImage::from_raw(SIZE as u32, SIZE as u32, bytes).ok_or("invalid buffer size")?)
    }
}

/// SplitMix64. It generates the same images on every machine.
struct Random(u64);

impl Random {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (high - low) * ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// Draws `each` images per thing. Returns the thing shown by each image, and the images.
fn draw_images(
    things: &[Thing],
    each: usize,
    random: &mut Random,
) -> Result<(Vec<Thing>, Vec<RgbImage>), Box<dyn Error>> {
    let shown = things.repeat(each);
    let images = shown.iter().map(|thing| thing.draw(random)).collect::<Result<_, _>>()?;
    Ok((shown, images))
}

/// Wraps frozen features with their provenance.
fn features(rows: Tensor<2>, provenance: Provenance) -> Result<Arc<MatrixFeatures>, Box<dyn Error>> {
    let dim = rows.dims()[1];
    Ok(Arc::new(MatrixFeatures::new(dim, rows.try_into_vec_as::<f32>()?)?.with_provenance(provenance)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let trigrams = Arc::new(Trigrams::new(&device));
    let vision = VisionTower {
        encoder: Arc::new(Silhouette),
        preprocessor: Arc::new(Silhouette),
        pooling: ImagePooling::Pooled,
        model: Provenance::new("silhouette"),
        device: device.clone(),
    };
    let text = TextTower {
        encoder: trigrams.clone(),
        tokenizer: trigrams,
        pooling: TextPooling::Mean,
        model: Provenance::new("trigrams"),
        device: device.clone(),
    };

    // Encode the training images and captions once.
    let mut random = Random(0);
    let (unseen, seen): (Vec<Thing>, Vec<Thing>) = Thing::all().partition(|thing| thing.is_held_out());
    let (shown, images) = draw_images(&seen, 30, &mut random)?;
    let captions: Vec<String> = shown.iter().map(|thing| thing.caption(&mut random)).collect();
    let image_features = features(vision.embed_images(&images)?, vision.provenance())?;
    let text_features = features(text.embed_texts(&captions)?, text.provenance())?;
    println!(
        "{} images of {} combinations, such as \"{}\" and \"{}\"",
        images.len(),
        seen.len(),
        captions[0],
        captions[1]
    );

    // Train the head.
    let config = HeadConfig::new(64 + 27, Trigrams::HIDDEN, 64, ProjectorConfig::Glu { width: 4 });
    let head =
        Head::new(&config, 0, &device)?.with_provenance(Some(&vision.provenance()), Some(&text.provenance()));
    let config = TrainConfig::default().with_epochs(60).with_batch_size(180).with_learning_rate(3e-4);
    let pairs = Pairs::new(image_features, vec![text_features])?;
    let outcome = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs).run()?;
    let steps = &outcome.history.steps;
    if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
        println!(
            "{} steps in {:.1} s, loss {:.3} to {:.3}\n",
            steps.len(),
            outcome.seconds,
            first.loss,
            last.loss
        );
    }

    // Retrieval: text queries for held-out combinations.
    let model = SailModel::new(vision, text, outcome.head)?;
    let (shown, images) = draw_images(&unseen, 10, &mut random)?;
    println!("top five of {} images of held-out combinations", images.len());
    let queries: Vec<String> = unseen.iter().map(|thing| format!("a {}", thing.name())).collect();
    let found =
        top_k(model.encode_texts(&queries)?, model.encode_images(&images)?, 5, &BlockSize::default())?;
    for ((thing, query), found) in unseen.iter().zip(&queries).zip(&found) {
        let name = |index: usize| match shown[index] == *thing {
            true => "✓".to_owned(),
            false => format!("✗ {}", shown[index].name()),
        };
        let names: Vec<String> =
            found.iter().map(|found| format!("{} {:.2}", name(found.index), found.score)).collect();
        println!("  {query:<18} {}", names.join("  "));
    }

    // Zero-shot classification among all 48 names.
    let all: Vec<Thing> = Thing::all().collect();
    let labels: Vec<String> = all.iter().map(|thing| thing.name()).collect();
    let classifier = model.zero_shot(&labels, &["a {}", "a drawing of a {}"])?;
    let best: Vec<Thing> =
        classifier.classify(&images, 1)?.iter().flatten().map(|prediction| all[prediction.class]).collect();
    let share = |right: &dyn Fn(&Thing, &Thing) -> bool| {
        100.0 * best.iter().zip(&shown).filter(|(best, shown)| right(best, shown)).count() as f64
            / shown.len() as f64
    };
    println!("\nzero-shot accuracy among {} names", labels.len());
    println!("  color  {:>5.1} %", share(&|best, shown| best.color == shown.color));
    println!("  shape  {:>5.1} %", share(&|best, shown| best.shape == shown.shape));
    println!("  both   {:>5.1} %, chance {:.1} %", share(&|best, shown| best == shown), 100.0 / 48.0);
    Ok(())
}
