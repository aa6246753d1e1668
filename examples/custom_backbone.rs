//! Two backbones that this workspace knows nothing of, aligned and asked.
//!
//! `cargo run --release --example custom_backbone` draws images of eight colours and six shapes, sees them with a
//! vision backbone and reads their captions with a text backbone, both written below in a few lines, trains a head
//! between the two in seconds, and asks the joined model for combinations of colour and shape that it was never shown.
//!
//! Your own backbones go the same way: implement `ImagePreprocessor` and `ImageEncoder`, `Tokenizer` and `TextEncoder`,
//! and everything else stays as it is.

// An example's output is what it prints.
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

/// The vision backbone: what stands out from the image's corner, as a silhouette and a colour.
struct Silhouette;

impl ImagePreprocessor for Silhouette {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size = [image.height() as usize, image.width() as usize];
        if size != [SIZE, SIZE] {
            return Err(InputError(format!("the image is not {SIZE} x {SIZE}: resize it first")));
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
        let colour = (pixels * mask.clone()).sum_dim(3).sum_dim(2) / (mask.sum_dim(3).sum_dim(2) + 1e-6);
        // How near the colour is to each point of a 3 x 3 x 3 grid in the cube of all colours.
        let grid: Vec<f32> =
            (0..27).flat_map(|i| [i / 9, i / 3 % 3, i % 3]).map(|step| step as f32 / 2.0).collect();
        let grid = Tensor::<2>::from_data(TensorData::new(grid, [27, 3]), &colour.device());
        let apart = colour.reshape([batch, 1, 3]) - grid.unsqueeze::<3>();
        let colour = ((apart.clone() * apart).sum_dim(2) * -6.0).exp().reshape([batch, 27]);
        Ok(ImageFeatures {
            class_token: None,
            patches: None,
            pooled: Some(Tensor::cat(vec![silhouette, colour], 1)),
        })
    }
}

/// The text backbone: every three letters in a row are a token, and every token has a fixed vector.
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
        // FNV-1a, cut to the size of the vocabulary.
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

const COLOURS: [(&str, [f32; 3]); 8] = [
    ("red", [0.85, 0.15, 0.15]),
    ("teal", [0.1, 0.6, 0.6]),
    ("yellow", [0.95, 0.85, 0.2]),
    ("green", [0.2, 0.7, 0.3]),
    ("blue", [0.2, 0.35, 0.9]),
    ("purple", [0.55, 0.2, 0.75]),
    ("pink", [0.95, 0.6, 0.75]),
    ("white", [0.95, 0.95, 0.95]),
];

/// A name, and whether a point of the square from -1 to 1 lies inside.
type Shape = (&'static str, fn(f32, f32) -> bool);

const SHAPES: [Shape; 6] = [
    ("circle", |x, y| x.hypot(y) < 0.95),
    ("square", |x, y| x.abs().max(y.abs()) < 0.85),
    ("triangle", |x, y| y < 0.8 && x.abs() < 0.55 * (y + 0.95)),
    ("diamond", |x, y| x.abs() + y.abs() < 1.0),
    ("cross", |x, y| x.abs().min(y.abs()) < 0.3 && x.abs().max(y.abs()) < 0.95),
    ("ring", |x, y| (0.55..0.95).contains(&x.hypot(y))),
];

/// A colour and a shape, as places in the lists above.
#[derive(Clone, Copy, PartialEq)]
struct Thing {
    colour: usize,
    shape: usize,
}

impl Thing {
    fn all() -> impl Iterator<Item = Self> {
        (0..COLOURS.len()).flat_map(|colour| (0..SHAPES.len()).map(move |shape| Self { colour, shape }))
    }

    /// Every colour and every shape is seen in training, but two colours of each shape are not seen together with it.
    fn is_held_out(self) -> bool {
        (self.colour + 3 * self.shape).is_multiple_of(4)
    }

    fn name(self) -> String {
        format!("{} {}", COLOURS[self.colour].0, SHAPES[self.shape].0)
    }

    fn caption(self, random: &mut Random) -> String {
        let name = self.name();
        let (colour, shape) = (COLOURS[self.colour].0, SHAPES[self.shape].0);
        match (random.between(0.0, 4.0)) as usize {
            0 => format!("a {name}"),
            1 => format!("the {shape} is {colour}"),
            2 => format!("somebody drew a {name}"),
            _ => format!("a {shape} in {colour}"),
        }
    }

    /// Somewhere near the middle of a dark ground, in about its colour, with soft edges.
    fn draw(self, random: &mut Random) -> Result<RgbImage, Box<dyn Error>> {
        let middle = [(); 2].map(|()| SIZE as f32 / 2.0 + random.between(-2.0, 2.0));
        let radius = random.between(8.0, 13.0);
        let ground = random.between(0.05, 0.3);
        let colour = COLOURS[self.colour].1.map(|value| value + random.between(-0.05, 0.05));
        let inside =
            |x: f32, y: f32| (SHAPES[self.shape].1)((x - middle[0]) / radius, (y - middle[1]) / radius);
        let mut bytes = Vec::with_capacity(SIZE * SIZE * 3);
        for (row, column) in (0..SIZE).flat_map(|row| (0..SIZE).map(move |column| (row, column))) {
            let hits = (0..9)
                .filter(|i| inside(column as f32 + (i % 3) as f32 / 3.0, row as f32 + (i / 3) as f32 / 3.0));
            let share = hits.count() as f32 / 9.0;
            bytes.extend(colour.map(|value| ((ground + (value - ground) * share) * 255.0) as u8));
        }
        Ok(RgbImage::from_raw(SIZE as u32, SIZE as u32, bytes).ok_or("an image has another size")?)
    }
}

/// The generator splitmix64, so that the images are the same everywhere.
struct Random(u64);

impl Random {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (high - low) * ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// `each` images of every thing, and what they show.
fn draw_images(
    things: &[Thing],
    each: usize,
    random: &mut Random,
) -> Result<(Vec<Thing>, Vec<RgbImage>), Box<dyn Error>> {
    let shown = things.repeat(each);
    let images = shown.iter().map(|thing| thing.draw(random)).collect::<Result<_, _>>()?;
    Ok((shown, images))
}

/// Rows of frozen features, and what made them.
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

    // The images and captions to learn from, through the frozen backbones, once.
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

    // The head between the two.
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

    // From here on there are only images and texts.
    let model = SailModel::new(vision, text, outcome.head)?;
    let (shown, images) = draw_images(&unseen, 10, &mut random)?;
    println!("the five best of {} images of combinations never seen before", images.len());
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

    // Zero-shot: the name of each among all 48.
    let all: Vec<Thing> = Thing::all().collect();
    let labels: Vec<String> = all.iter().map(|thing| thing.name()).collect();
    let classifier = model.zero_shot(&labels, &["a {}", "somebody drew a {}"])?;
    let best: Vec<Thing> =
        classifier.classify(&images, 1)?.iter().flatten().map(|prediction| all[prediction.class]).collect();
    let share = |right: &dyn Fn(&Thing, &Thing) -> bool| {
        100.0 * best.iter().zip(&shown).filter(|(best, shown)| right(best, shown)).count() as f64
            / shown.len() as f64
    };
    println!("\ntheir names, among all {}", labels.len());
    println!("  colour {:>5.1} % right", share(&|best, shown| best.colour == shown.colour));
    println!("  shape  {:>5.1} % right", share(&|best, shown| best.shape == shown.shape));
    println!(
        "  both   {:>5.1} % right, {:.1} % by chance",
        share(&|best, shown| best == shown),
        100.0 / 48.0
    );
    Ok(())
}
