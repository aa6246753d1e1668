//! Fits against NumPy, SciPy and scikit-learn (fixtures/fits.py), and what they refuse.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::{AlignmentHead, FeatureError, HeadError, Provenance, Side, TokenLayout, l2_normalize};
use sail_data::{MatrixFeatures, Pairs};
use sail_fit::{Direction, Fit, FitConfig, FitError, translate};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use serde_json::Value;

const IMAGE_DIM: usize = 20;
const TEXT_DIM: usize = 14;

struct Fixture {
    images: Vec<f32>,
    texts: Vec<f32>,
    expected: Value,
}

fn tensor(values: &[f32], dim: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / dim, dim]), &Device::flex())
}

fn pairs_of(images: &[f32], texts: &[f32]) -> Pairs {
    let features = |values: &[f32], dim| Arc::new(MatrixFeatures::new(dim, values.to_vec()).unwrap());
    Pairs::new(features(images, IMAGE_DIM), vec![features(texts, TEXT_DIM)]).unwrap()
}

impl Fixture {
    fn read() -> Self {
        let file = SafeTensors::deserialize(include_bytes!("fixtures/fits.safetensors")).unwrap();
        let read = |name| {
            let view = file.tensor(name).unwrap();
            let (values, _) = view.data().as_chunks::<4>();
            values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        let expected = serde_json::from_str(include_str!("fixtures/fits.json")).unwrap();
        Self { images: read("images"), texts: read("texts"), expected }
    }

    /// The first pairs, `train` or `few`.
    fn pairs(&self, number: &str) -> Pairs {
        let rows = self.rows(number);
        pairs_of(&self.images[..rows * IMAGE_DIM], &self.texts[..rows * TEXT_DIM])
    }

    fn rows(&self, number: &str) -> usize {
        self.expected[number].as_u64().unwrap() as usize
    }

    /// The cosines of the held-out rows.
    fn cosines(&self, head: &Head) -> Vec<f64> {
        let rows = self.rows("train");
        let images = head.project_images(tensor(&self.images[rows * IMAGE_DIM..], IMAGE_DIM)).unwrap();
        let texts = head.project_texts(tensor(&self.texts[rows * TEXT_DIM..], TEXT_DIM)).unwrap();
        let scores = l2_normalize(images).matmul(l2_normalize(texts).transpose());
        scores.into_data().iter::<f64>().collect()
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))],
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
    }
}

fn fit(config: &FitConfig, pairs: &Pairs) -> Fit {
    config.fit(pairs, &Device::flex()).unwrap()
}

#[test]
fn every_method_matches_its_reference() {
    let fixture = Fixture::read();
    let r = Some(0.1);
    let methods = [
        ("procrustes", FitConfig::PROCRUSTES),
        ("procrustes_4", FitConfig::Procrustes { dim: Some(4) }),
        ("cca_0.1", FitConfig::Cca { dim: None, regularization: r }),
        ("cca_0.1_4", FitConfig::Cca { dim: Some(4), regularization: r }),
        ("cca_gcv", FitConfig::CCA),
        ("csa_0.1", FitConfig::Csa { dim: None, regularization: r }),
        ("csa_0.1_4", FitConfig::Csa { dim: Some(4), regularization: r }),
        ("csa_gcv", FitConfig::CSA),
        ("ridge_i2t_0.1", FitConfig::Ridge { direction: Direction::ImageToText, regularization: r }),
        ("ridge_i2t_gcv", FitConfig::RIDGE),
        ("ridge_t2i_0.1", FitConfig::Ridge { direction: Direction::TextToImage, regularization: r }),
    ];
    for (case, number) in [("all_pairs", "train"), ("few_pairs", "few")] {
        let (pairs, expected) = (fixture.pairs(number), &fixture.expected[case]);
        for (name, config) in &methods {
            let Fit { head, summary } = fit(config, &pairs);
            println!("{case}: {name}: {summary}");
            close(&fixture.cosines(&head), &numbers(&expected[*name]), 2e-5);
            let value = summary.regularization.map(|found| found.value);
            let sides: &[Side] = match config {
                _ if number == "train" => &[],
                FitConfig::Procrustes { .. } => &[],
                FitConfig::Ridge { direction: Direction::ImageToText, .. } => &[Side::Image],
                FitConfig::Ridge { .. } => &[Side::Text],
                _ => &[Side::Image, Side::Text],
            };
            assert_eq!(summary.underdetermined, sides, "{name}");
            match config {
                FitConfig::Procrustes { dim } => {
                    let rank = expected["rank"].as_u64().unwrap() as usize;
                    assert_eq!((summary.directions, value), (dim.unwrap_or(rank), None));
                }
                FitConfig::Ridge { regularization: None, .. } => {
                    close(&[value.unwrap()], &numbers(&expected["gcv_image_to_text"]), 1e-9);
                }
                FitConfig::Cca { .. } | FitConfig::Csa { .. } => {
                    let found = summary.correlations.unwrap();
                    close(&found, &numbers(&expected[name.replacen(&name[..3], "correlations", 1)]), 1e-9);
                }
                _ => assert_eq!(value, r),
            }
        }
    }
}

#[test]
fn a_head_reads_back_and_records_features_and_holdout() {
    let fixture = Fixture::read();
    let features = |values: &[f32], dim, model| {
        let features = MatrixFeatures::new(dim, values.to_vec()).unwrap();
        let keys = (0..values.len() / dim).map(|row| format!("{row}.png"));
        Arc::new(features.with_keys(keys).unwrap().with_provenance(Provenance::new(model)))
    };
    let images = features(&fixture.images, IMAGE_DIM, "vision");
    let pairs = Pairs::new(images, vec![features(&fixture.texts, TEXT_DIM, "language")]).unwrap();
    let split = pairs.split(20, 3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for config in [FitConfig::PROCRUSTES, FitConfig::CCA, FitConfig::CSA, FitConfig::RIDGE] {
        let (Fit { head, summary }, holdout) =
            config.fit_with_holdout(&pairs, 20, 3, &Device::flex()).unwrap();
        assert_eq!((summary.pairs, holdout.len()), (49, 20));
        let path = folder.path().join(config.name());
        head.save(&path).unwrap();
        let read = Head::load(&path, &Device::flex()).unwrap();
        close(&fixture.cosines(&read), &fixture.cosines(&head), 0.0);
        assert_eq!(read.to_bytes().unwrap(), head.to_bytes().unwrap());
        // Releases before the first weighted cosine read all others.
        let bytes = read.to_bytes().unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let version = if config == FitConfig::CSA { 3 } else { 2 };
        let json = &header.metadata().as_ref().unwrap()["sail_head"];
        assert!(json.starts_with(&format!("{{\"version\":{version},")), "{json}");
        let recorded = read.holdout().unwrap();
        assert_eq!((recorded.rows, recorded.seed, &recorded.keys_sha256), (20, 3, &split.holdout_sha256));
        let sides = [&read.config().image, &read.config().text];
        let models = sides.map(|side| side.as_ref().unwrap().trained_on.as_ref().unwrap().model.clone());
        assert_eq!(models, ["vision", "language"]);
        // Only the training pairs have an effect.
        let alone = fit(&config, &split.train).head;
        close(&fixture.cosines(&alone), &fixture.cosines(&head), 0.0);
    }
}

#[test]
fn the_order_of_pairs_does_not_matter() {
    let fixture = Fixture::read();
    let pairs = fixture.pairs("few");
    let reversed: Vec<usize> = (0..pairs.len()).rev().collect();
    let reversed = pairs.subset(&reversed).unwrap();
    for config in [FitConfig::PROCRUSTES, FitConfig::CCA, FitConfig::CSA, FitConfig::RIDGE] {
        let [found, expected] = [&reversed, &pairs].map(|pairs| fixture.cosines(&fit(&config, pairs).head));
        close(&found, &expected, 1e-6);
    }
}

/// Of several captions of an image, each is a pair, as if the image were there once for each.
#[test]
fn every_caption_is_a_pair() {
    let fixture = Fixture::read();
    let images = MatrixFeatures::new(IMAGE_DIM, fixture.images[..30 * IMAGE_DIM].to_vec()).unwrap();
    let images = images.with_keys((0..30).map(|row| row.to_string())).unwrap();
    let texts = MatrixFeatures::new(TEXT_DIM, fixture.texts[..60 * TEXT_DIM].to_vec()).unwrap();
    let texts = texts.with_keys((0..60).map(|row| (row / 2).to_string())).unwrap();
    let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)]).unwrap();
    let repeated: Vec<f32> =
        (0..60).flat_map(|row| fixture.images[row / 2 * IMAGE_DIM..][..IMAGE_DIM].iter().copied()).collect();
    let repeated = pairs_of(&repeated, &fixture.texts[..60 * TEXT_DIM]);
    let [found, expected] = [&pairs, &repeated].map(|pairs| fit(&FitConfig::CCA, pairs));
    assert_eq!((found.summary.pairs, expected.summary.pairs), (60, 60));
    close(&fixture.cosines(&found.head), &fixture.cosines(&expected.head), 1e-6);
}

/// Features of rank 3 in all dimensions: directions without data are left out, and nothing is divided by zero.
#[test]
fn rank_deficient_features_are_fitted() {
    let fixture = Fixture::read();
    let low_rank = |dim: usize| -> Vec<f32> {
        let value = |row: usize, column: usize| {
            (0..3)
                .map(|k| fixture.images[row * IMAGE_DIM + k] * ((column * (k + 2)) as f32 * 0.7).sin())
                .sum()
        };
        (0..60 * dim).map(|i| value(i / dim, i % dim)).collect()
    };
    let pairs = pairs_of(&low_rank(IMAGE_DIM), &low_rank(TEXT_DIM));
    for config in [FitConfig::PROCRUSTES, FitConfig::CCA, FitConfig::CSA, FitConfig::RIDGE] {
        let Fit { head, summary } = fit(&config, &pairs);
        assert!(fixture.cosines(&head).iter().all(|cosine| cosine.abs() <= 1.0 + 1e-6), "{summary}");
        // LayerNorm scales every row by its own number, which adds no direction to three.
        let ridge = matches!(config, FitConfig::Ridge { .. });
        assert!(summary.directions <= if ridge { TEXT_DIM } else { 3 }, "{summary}");
    }
}

#[test]
fn invalid_input_is_refused() {
    let fixture = Fixture::read();
    let (images, texts) = (&fixture.images[..12 * IMAGE_DIM], &fixture.texts[..12 * TEXT_DIM]);
    let configs = [FitConfig::PROCRUSTES, FitConfig::CCA, FitConfig::CSA, FitConfig::RIDGE];
    for config in &configs {
        let refusal = |images: &[f32], texts: &[f32]| {
            config.fit(&pairs_of(images, texts), &Device::flex()).unwrap_err()
        };
        let one = refusal(&images[..IMAGE_DIM], &texts[..TEXT_DIM]);
        assert!(matches!(one, FitError::TooFew { found: 1 }), "{one}");
        let mut nan = texts.to_vec();
        nan[3 * TEXT_DIM + 5] = f32::NAN;
        let nan = refusal(images, &nan);
        assert!(
            matches!(nan, FitError::Features(FeatureError::NotFinite { row: 3, column: 5, .. })),
            "{nan}"
        );
        let same: Vec<f32> = images.iter().enumerate().map(|(i, _)| (i % IMAGE_DIM) as f32).collect();
        let same = refusal(&same, texts);
        assert!(matches!(same, FitError::Constant { .. } | FitError::Uncorrelated), "{config:?}: {same}");
    }
    let pairs = fixture.pairs("few");
    let refused = |config: FitConfig| match config.fit(&pairs, &Device::flex()).unwrap_err() {
        FitError::Config(error) => error.field,
        other => panic!("{other}"),
    };
    assert_eq!(refused(FitConfig::Procrustes { dim: Some(0) }), "dim");
    for r in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(FitConfig::Cca { dim: None, regularization: Some(r) }), "regularization");
        let direction = Direction::TextToImage;
        assert_eq!(refused(FitConfig::Ridge { direction, regularization: Some(r) }), "regularization");
    }
    // Token states, whose covariance would be huge.
    let layout = TokenLayout::Image { class_token: false, grid: [1, 1], dim: IMAGE_DIM };
    let provenance = Provenance { tokens: Some(layout), ..Provenance::new("tokens") };
    let tokens = MatrixFeatures::new(IMAGE_DIM, images.to_vec()).unwrap().with_provenance(provenance);
    let texts = MatrixFeatures::new(TEXT_DIM, texts.to_vec()).unwrap();
    let tokens = Pairs::new(Arc::new(tokens), vec![Arc::new(texts)]).unwrap();
    let tokens = FitConfig::CCA.fit(&tokens, &Device::flex()).unwrap_err();
    assert!(matches!(tokens, FitError::Head(HeadError::Tokens { side: Side::Image, .. })), "{tokens}");
    let all = FitConfig::CCA.fit_with_holdout(&pairs, 12, 0, &Device::flex()).unwrap_err();
    assert!(matches!(all, FitError::Data(_)), "{all}");
}

#[test]
fn settings_are_read_from_json() {
    let read = |json: &str| serde_json::from_str::<FitConfig>(json);
    assert_eq!(read(r#"{"method": "cca"}"#).unwrap(), FitConfig::CCA);
    let ridge = FitConfig::Ridge { direction: Direction::TextToImage, regularization: Some(0.5) };
    assert_eq!(
        read(r#"{"method": "ridge", "direction": "text-to-image", "regularization": 0.5}"#).unwrap(),
        ridge
    );
    assert_eq!(read(&serde_json::to_string(&ridge).unwrap()).unwrap(), ridge);
    assert!(read(r#"{"method": "cca", "rank": 3}"#).is_err());
}

/// A head of the identity on both sides, so that its embeddings are the translations.
fn head_of_texts() -> Head {
    let config = HeadConfig {
        image: Some(SideConfig::new(TEXT_DIM, ProjectorConfig::Identity {})),
        ..HeadConfig::new(TEXT_DIM, 5, TEXT_DIM, ProjectorConfig::Linear {})
    };
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    head.with_provenance(Some(&Provenance::new("old")), None)
}

#[test]
fn a_translation_matches_scipy() {
    let fixture = Fixture::read();
    let (pairs, expected) = (fixture.pairs("train"), &fixture.expected["translation"]);
    let found = translate(head_of_texts(), &pairs, None).unwrap();
    close(
        &[found.scale, found.fitted.variance],
        &[expected["scale"].as_f64().unwrap(), expected["variance"].as_f64().unwrap()],
        1e-9,
    );
    let rows = tensor(&fixture.images[60 * IMAGE_DIM..], IMAGE_DIM);
    let rows = found.head.project_images(rows).unwrap().into_data().iter::<f64>().collect::<Vec<_>>();
    close(&rows, &numbers(&expected["rows"]), 1e-5);

    // The file keeps the translation, and another one on top is refused.
    let bytes = found.head.to_bytes().unwrap();
    let read = Head::from_bytes(bytes.clone(), &Device::flex()).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    let side = read.config().image.as_ref().unwrap();
    assert_eq!((side.input, side.translation.as_ref().unwrap().dim), (IMAGE_DIM, TEXT_DIM));
    assert_eq!(side.translation.as_ref().unwrap().to.as_ref().unwrap().model, "old");
    let texts = MatrixFeatures::new(IMAGE_DIM, fixture.images.clone()).unwrap();
    let images = MatrixFeatures::new(IMAGE_DIM, fixture.images.clone()).unwrap();
    let twice = Pairs::new(Arc::new(images), vec![Arc::new(texts)]).unwrap();
    let twice = translate(read, &twice, None).unwrap_err();
    assert!(matches!(twice, FitError::TranslatedTwice), "{twice}");
}

/// From narrow to wide, held-out rows are tested by the means of the fitted ones.
#[test]
fn a_translation_is_tested_on_held_out_images() {
    let fixture = Fixture::read();
    let swapped = |range: std::ops::Range<usize>| {
        let narrow = fixture.texts[range.start * TEXT_DIM..range.end * TEXT_DIM].to_vec();
        // A rotation, doubled and moved, is exact.
        let wide: Vec<f32> = narrow
            .chunks(TEXT_DIM)
            .flat_map(|row| [row.iter().rev().map(|x| 2.0 * x + 1.0).collect(), vec![3.0; 6]].concat())
            .collect();
        let features = |values, dim| Arc::new(MatrixFeatures::new(dim, values).unwrap());
        Pairs::new(features(narrow, TEXT_DIM), vec![features(wide, IMAGE_DIM)]).unwrap()
    };
    let config = HeadConfig::new(IMAGE_DIM, 5, 4, ProjectorConfig::GLU);
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    let found = translate(head, &swapped(0..40), Some(&swapped(40..69))).unwrap();
    let held_out = found.held_out.unwrap();
    assert_eq!((found.images, found.directions, held_out.images), (40, TEXT_DIM, 29));
    close(&[found.scale, found.fitted.variance, held_out.variance], &[2.0, 1.0, 1.0], 1e-7);
    let other = Head::new(&config, 0, &Device::flex()).unwrap();
    let short = translate(other, &fixture.pairs("few"), None).unwrap_err();
    assert!(matches!(short, FitError::Head(_)), "{short}");
}
