//! Tests of `SailModel` and zero-shot classification.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

// The derive of `Module` expects a crate named `burn`.
use sail_vl::burn;
use sail_vl::burn::module::Module;
use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{
    AlignmentHead, EncodeError, HeadError, ImageEncoder, ImageFeatures, ImagePooling, ImagePreprocessor,
    InputError, Padding, PaddingSide, Pixels, Processor, Provenance, RgbImage, Side, TextEncoder,
    TextFeatures, TextPooling, TextTower, TokenBatch, TokenIds, Tokenizer, TowerError, VisionTower,
};
use sail_vl::eval::EvalError;
use sail_vl::layers::{Head, HeadConfig, LogitScale, ProjectorConfig};
use sail_vl::{SailError, SailModel};

/// Encodes an image as its mean color, and records the largest batch size.
#[derive(Default)]
struct MeanColor {
    largest: AtomicUsize,
}

impl ImageEncoder for MeanColor {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.largest.fetch_max(pixels.dims()[0], Ordering::Relaxed);
        let mean = pixels.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2);
        Ok(ImageFeatures { class_token: None, patches: None, pooled: Some(mean) })
    }
}

struct Plain;

impl ImagePreprocessor for Plain {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        if image.width() == 0 || image.height() == 0 {
            return Err(InputError("the image has no pixels".into()));
        }
        let channel = |c: usize| image.pixels().map(move |pixel| f32::from(pixel.0[c]) / 255.0);
        let size = [image.height() as usize, image.width() as usize];
        Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
    }

    fn describe(&self) -> String {
        "rgb / 255".into()
    }
}

const COLORS: [&str; 3] = ["red", "green", "blue"];

/// Encodes a color word as the unit vector of its channel, negated if prefixed with a minus, and any other word as
/// zero.
#[derive(Default)]
struct Words {
    largest: AtomicUsize,
}

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        let id = |word: &str| match word.strip_prefix('-') {
            Some(word) => COLORS.iter().position(|color| *color == word).map(|id| id + 3),
            None => COLORS.iter().position(|color| *color == word),
        };
        if text.contains('\0') {
            return Err(InputError("the text has a zero byte".into()));
        }
        Ok(TokenIds(text.split(' ').map(|word| id(word).map_or(6, |id| id as u32)).collect()))
    }

    fn padding(&self) -> Padding {
        Padding { id: 6, side: PaddingSide::Left }
    }

    fn describe(&self) -> String {
        "words".into()
    }
}

impl TextEncoder for Words {
    fn encode_texts(&self, texts: TokenBatch) -> Result<TextFeatures, EncodeError> {
        self.largest.fetch_max(texts.ids.dims()[0], Ordering::Relaxed);
        let hot = texts.ids.one_hot::<3>(7).float();
        let tokens = hot.clone().narrow(2, 0, 3) - hot.narrow(2, 3, 3);
        Ok(TextFeatures { tokens, mask: texts.mask, pooled: None })
    }
}

fn vision(encoder: Arc<MeanColor>) -> VisionTower {
    VisionTower {
        encoder,
        preprocessor: Arc::new(Plain),
        pooling: ImagePooling::Pooled,
        model: Provenance::new("mean-color"),
        device: Device::flex(),
    }
}

fn text(encoder: Arc<Words>) -> TextTower {
    TextTower {
        encoder,
        tokenizer: Arc::new(Words::default()),
        pooling: TextPooling::Mean,
        model: Provenance::new("color-words"),
        device: Device::flex(),
    }
}

/// Returns an identity head with scale 20 and bias -10.
fn identity() -> Head {
    Head::new(&HeadConfig::new(3, 3, 3, ProjectorConfig::Identity {}), 0, &Device::flex()).unwrap()
}

fn model() -> SailModel {
    SailModel::new(vision(Arc::default()), text(Arc::default()), identity()).unwrap()
}

/// Returns an image of a single color.
fn image(width: u32, height: u32, color: [u8; 3]) -> RgbImage {
    RgbImage::from_raw(width, height, color.repeat((width * height) as usize)).unwrap()
}

fn rows(tensor: Tensor<2>) -> Vec<Vec<f32>> {
    let width = tensor.dims()[1];
    tensor.into_data().try_to_vec::<f32>().unwrap().chunks(width).map(<[f32]>::to_vec).collect()
}

#[track_caller]
fn assert_close(found: &[Vec<f32>], expected: &[&[f32]]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        let difference = found.iter().zip(*expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-6, "{found:?}, expected {expected:?}");
    }
}

#[test]
fn encodes_images_of_different_sizes_in_order_and_in_batches() {
    let encoder = Arc::new(MeanColor::default());
    let model = SailModel::new(vision(encoder.clone()), text(Arc::default()), identity()).unwrap();
    let model = model.with_batch(2).unwrap();
    let images = [
        image(2, 2, [255, 0, 0]),
        image(2, 2, [0, 9, 0]),
        image(1, 3, [0, 0, 255]),
        image(5, 1, [0, 60, 80]),
        image(2, 2, [255, 0, 0]),
    ];
    let unit: [&[f32]; 5] =
        [&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0], &[0.0, 0.6, 0.8], &[1.0, 0.0, 0.0]];
    assert_close(&rows(model.encode_images(&images).unwrap()), &unit);
    assert_eq!(encoder.largest.load(Ordering::Relaxed), 2);
}

#[test]
fn encodes_texts_of_different_lengths_in_order() {
    let encoder = Arc::new(Words::default());
    let model = SailModel::new(vision(Arc::default()), text(encoder.clone()), identity()).unwrap();
    let model = model.with_batch(2).unwrap();
    let texts = ["one very long red text", "blue", "a green one", "red", "a text of blue words on and on"];
    let unit: [&[f32]; 5] =
        [&[1.0, 0.0, 0.0], &[0.0, 0.0, 1.0], &[0.0, 1.0, 0.0], &[1.0, 0.0, 0.0], &[0.0, 0.0, 1.0]];
    assert_close(&rows(model.encode_texts(&texts).unwrap()), &unit);
    assert_eq!(encoder.largest.load(Ordering::Relaxed), 2);
}

#[test]
fn similarity_and_probabilities_match_their_formulas() {
    let images = [image(1, 1, [60, 80, 0]), image(1, 1, [0, 0, 7])];
    let texts = ["red".to_owned(), "green and -blue".to_owned()];
    let half = 0.5f32.sqrt();
    let expected = [[0.6, 0.8 * half], [0.0, -half]];
    let cosines = model().similarity(&images, &texts).unwrap();
    assert_close(&rows(cosines.clone()), &[&expected[0], &expected[1]]);
    let probability = |cosine: f32| 1.0 / (1.0 + (10.0 - 20.0 * cosine).exp());
    let expected = expected.map(|row| row.map(probability));
    assert_close(&rows(model().probabilities(cosines)), &[&expected[0], &expected[1]]);
}

#[test]
fn class_weights_are_normalized_means_of_prompts() {
    let labels = ["red", "green", "blue"];
    let classifier = model().zero_shot(&labels, &["a {} thing", "{} red"]).unwrap();
    assert_eq!(classifier.labels(), labels);
    // Unit prompts of the class green: green, and green + red.
    let (x, y) = (0.5f32.sqrt(), 1.0 + 0.5f32.sqrt());
    let norm = x.hypot(y);
    let expected: [&[f32]; 3] = [&[1.0, 0.0, 0.0], &[x / norm, y / norm, 0.0], &[x / norm, 0.0, y / norm]];
    assert_close(&rows(classifier.weights()), &expected);
    let images = [image(1, 1, [0, 3, 4]), image(1, 1, [1, 0, 0])];
    let found = classifier.classify(&images, 2).unwrap();
    let names: Vec<Vec<&str>> =
        found.iter().map(|row| row.iter().map(|class| class.label).collect()).collect();
    assert_eq!(names, [["blue", "green"], ["red", "green"]]);
    assert_eq!(found[0][0].class, 2);
    assert!((found[0][0].score - 0.8 * y / norm).abs() < 1e-6, "{found:?}");
    assert_eq!(classifier.classify(&images, 9).unwrap()[0].len(), 3);
}

/// The prompts exceed one block: class indices must stay correct across blocks.
#[test]
fn embeds_many_prompts_in_blocks() {
    let templates: Vec<String> = (0..1500).map(|word| format!("{{}} {word}")).collect();
    let weights = model().zero_shot(&["green", "blue", "red", "blue"], &templates).unwrap().weights();
    let unit: [&[f32]; 4] = [&[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0], &[1.0, 0.0, 0.0], &[0.0, 0.0, 1.0]];
    assert_close(&rows(weights), &unit);
    // For `red` only, half of the prompts are the negative of the other half.
    let templates = ["{}", "-red -red -red {}"].repeat(1100);
    let error = model().zero_shot(&["green", "red"], &templates).err().unwrap();
    assert!(matches!(error, SailError::Eval(EvalError::PromptsCancel { class: 1 })), "{error:?}");
}

#[test]
fn rejects_a_head_of_another_backbone() {
    let trained = |image: Provenance, text: Provenance| {
        let head = identity().with_provenance(Some(&image), Some(&text));
        SailModel::new(vision(Arc::default()), self::text(Arc::default()), head).map(|_| ())
    };
    let (image, text) = (vision(Arc::default()).provenance(), text(Arc::default()).provenance());
    trained(image.clone(), text.clone()).unwrap();
    // Missing provenance fields are not compared.
    trained(Provenance::new("mean-color"), Provenance::new("color-words")).unwrap();
    let pooling =
        |name: &str, provenance: &Provenance| Provenance { pooling: Some(name.into()), ..provenance.clone() };
    let cases = [
        (trained(Provenance::new("dinov2-base"), text.clone()), Side::Image, "model"),
        (trained(pooling("concat", &image), text.clone()), Side::Image, "pooling"),
        (trained(image.clone(), pooling("last", &text)), Side::Text, "pooling"),
        (
            trained(image, Provenance { processor: Some(Processor::Description("letters".into())), ..text }),
            Side::Text,
            "processor",
        ),
    ];
    for (result, expected_side, expected_field) in cases {
        match result {
            Err(HeadError::Provenance { side, contradiction }) => {
                assert_eq!((side, contradiction.field), (expected_side, expected_field))
            }
            other => panic!("{other:?}, expected {expected_side} {expected_field}"),
        }
    }
}

#[test]
fn rejects_features_of_the_wrong_dimension() {
    let device = Device::flex();
    let head = Head::new(&HeadConfig::new(4, 3, 3, ProjectorConfig::Linear {}), 0, &device).unwrap();
    let model = SailModel::new(vision(Arc::default()), text(Arc::default()), head).unwrap();
    let error = model.encode_images(&[image(1, 1, [1, 2, 3])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image features have 3 dimensions, expected 4: the head was made for another backbone"
    );
    let pooling = ImagePooling::Concat;
    let vision = VisionTower { pooling, ..vision(Arc::default()) };
    let model = SailModel::new(vision, text(Arc::default()), identity()).unwrap();
    let error = model.encode_images(&[image(1, 1, [1, 2, 3])]).unwrap_err();
    assert!(
        matches!(error, SailError::Tower { side: Side::Image, source: TowerError::Pooling(_) }),
        "{error}"
    );
}

#[test]
fn errors_name_the_index_of_invalid_input() {
    let model = model().with_batch(2).unwrap();
    let good = || image(1, 1, [1, 2, 3]);
    let images = [good(), good(), good(), RgbImage::new(0, 4)];
    let error = model.encode_images(&images).unwrap_err();
    assert!(
        matches!(error, SailError::Tower { side: Side::Image, source: TowerError::Input { row: 3, .. } }),
        "{error:?}"
    );
    let error = model.encode_texts(&["red", "green", "a\0"]).unwrap_err();
    assert!(
        matches!(error, SailError::Tower { side: Side::Text, source: TowerError::Input { row: 2, .. } }),
        "{error:?}"
    );
    // The embeddings of black and of unknown words are zero.
    let error = model.encode_images(&[good(), good(), image(2, 2, [0, 0, 0])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the embedding of image 2 has norm 0, expected a finite norm above 0: check the input and the weights"
    );
    let error = model.encode_texts(&["a long text without any color", "red"]).unwrap_err();
    assert!(matches!(error, SailError::Direction { side: Side::Text, row: 0, .. }), "{error:?}");
}

#[test]
fn rejects_empty_input() {
    let model = model();
    let (no_images, no_texts): ([RgbImage; 0], [&str; 0]) = ([], []);
    let message = |error: SailError| error.to_string();
    assert_eq!(
        message(model.encode_images(&no_images).unwrap_err()),
        "there are no images, expected at least one"
    );
    assert_eq!(
        message(model.encode_texts(&no_texts).unwrap_err()),
        "there are no texts, expected at least one"
    );
    let error =
        |labels: &[&str], templates: &[&str]| message(model.zero_shot(labels, templates).err().unwrap());
    assert_eq!(error(&[], &["{}"]), "there are no labels, expected at least one");
    assert_eq!(error(&["red"], &[]), "there are no templates, expected at least one");
    assert_eq!(
        error(&["red"], &["a {} thing", "a red thing"]),
        "template `a red thing` has no `{}`: write it where the label goes, as in `a photo of a {}.`"
    );
    assert_eq!(message(model.clone().with_batch(0).err().unwrap()), "`batch` is 0, expected at least 1");
    let classifier = model.zero_shot(&["red"], &["{}"]).unwrap();
    assert!(matches!(classifier.classify(&no_images, 1), Err(SailError::Empty { what: "image" })));
    assert!(matches!(classifier.classify(&[image(1, 1, [9, 0, 0])], 0), Err(SailError::Eval(_))));
}

/// A custom head: the identity for images, the negative for texts.
#[derive(Module, Debug)]
struct Opposite {
    logit: LogitScale,
}

impl AlignmentHead for Opposite {
    fn project_images(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        Ok(features)
    }
    fn project_texts(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        Ok(-features)
    }
    fn log_scale(&self) -> Tensor<1> {
        self.logit.log_scale()
    }
    fn bias(&self) -> Tensor<1> {
        self.logit.bias()
    }
    fn clamp_parameters(self) -> Self {
        self
    }
    fn to_bytes(&self) -> Result<Vec<u8>, HeadError> {
        Ok(Vec::new())
    }
}

/// The head may still be on an autodiff device. Results have no graph.
#[test]
fn accepts_custom_heads() {
    let head = Opposite { logit: LogitScale::new(20.0, -10.0, 100.0, &Device::flex().autodiff()) };
    let model = SailModel::new(vision(Arc::default()), text(Arc::default()), head).unwrap();
    let cosines = model.similarity(&[image(1, 1, [255, 0, 0])], &["red"]).unwrap();
    assert!(!cosines.device().is_autodiff());
    assert_close(&rows(cosines), &[&[-1.0]]);
}
