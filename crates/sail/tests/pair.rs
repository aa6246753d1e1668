//! Published pairs, with the tiny DINOv2 and GTE of the tests of `sail-encoders` in the hub's cache, and a head in the layout
//! of the authors' code. `fixtures/pair/generate.py` computes the similarities with the reference libraries.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use sail_vl::burn::tensor::Device;
use sail_vl::core::{AlignmentHead, RgbImage, Side};
use sail_vl::hub::HubOptions;
use sail_vl::layers::{ExportFormat, Head, HeadConfig, ProjectorConfig};
use sail_vl::{BackboneOptions, Pair, PairSide, SailError, SailModel};
use serde::Deserialize;
use tempfile::TempDir;

const PAIR: Pair = Pair {
    name: "stand-in",
    vision: PairSide { model: "org/dinov2", pooling: Some("concat"), dim: 48, restriction: None },
    text: PairSide { model: "org/gte", pooling: Some("class"), dim: 24, restriction: None },
    prompt: None,
    repository: "org/heads",
    file: "head.pt",
};

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    similarities: Vec<f32>,
    dims: [usize; 2],
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pair").join(name)
}

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

/// Adds files and folders to the cache of the hub.
fn publish(cache: &Path, id: &str, files: &[PathBuf]) {
    let commit = "00112233445566778899aabbccddeeff00112233";
    let repository = cache.join(format!("models--{}", id.replace('/', "--")));
    let snapshot = repository.join("snapshots").join(commit);
    for folder in [&snapshot, &repository.join("refs")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(repository.join("refs/main"), commit).unwrap();
    files.iter().for_each(|file| copy(file, &snapshot.join(file.file_name().unwrap())));
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        copy(&path, &to.join(path.file_name().unwrap()));
    }
}

/// A cache with the stand-ins, which is used without a connection.
fn hub() -> (TempDir, HubOptions) {
    let folder = tempfile::tempdir().unwrap();
    let encoders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../encoders/tests/fixtures");
    let model = |name: &str| -> Vec<PathBuf> {
        let files = fs::read_dir(encoders.join(name)).unwrap();
        files.map(|entry| entry.unwrap().path()).collect()
    };
    publish(folder.path(), PAIR.text.model, &model("text/gte"));
    let vision = [model("vision/dinov2"), vec![fixture("preprocessor_config.json")]].concat();
    publish(folder.path(), PAIR.vision.model, &vision);
    publish(folder.path(), "org/other", &vision);
    publish(folder.path(), "org/nv-embed", &model("text/nv_embed"));
    publish(folder.path(), PAIR.repository, &[fixture(PAIR.file)]);
    let options = HubOptions { offline: true, ..HubOptions::new(folder.path()) };
    (folder, options)
}

fn images() -> [RgbImage; 2] {
    let value = |value: u32| (value % 256) as u8;
    [
        RgbImage::from_fn(26, 30, |x, y| [0, 1, 2].map(|c| value(7 * y + 11 * x + 53 * c)).into()),
        RgbImage::from_fn(33, 24, |x, y| [0, 1, 2].map(|c| value(13 * y * y + 5 * x * y + 91 * c)).into()),
    ]
}

fn open(pair: &Pair, options: &BackboneOptions, hub: &HubOptions) -> Result<SailModel, SailError> {
    pair.open(options, hub, &Device::flex())
}

#[test]
fn a_pair_gives_the_similarities_of_the_reference() {
    let (_folder, hub) = hub();
    let expected = expected();
    assert_eq!(expected.dims, [PAIR.vision.dim, PAIR.text.dim]);
    let model = open(&PAIR, &BackboneOptions::default(), &hub).unwrap();
    let found = model.similarity(&images(), &expected.texts).unwrap().try_into_vec_as::<f32>().unwrap();
    for (found, expected) in found.iter().zip(&expected.similarities) {
        assert!((found - expected).abs() < 1e-4, "{found}, expected {expected}");
    }
    assert_eq!(found.len(), expected.similarities.len());

    // The file in the cache is the head that is imported by hand.
    let by_hand = Head::import(fixture(PAIR.file), None, &Device::flex()).unwrap();
    assert_eq!(by_hand.config().dim, model.head().config().dim);
    for (side, expected) in [(Side::Image, PAIR.vision.model), (Side::Text, PAIR.text.model)] {
        assert_eq!(model.head().trained_on(side).unwrap().model, expected);
    }
}

/// NV-Embed-v2 is used with its own pooling and what follows it, without the prompt of its queries.
#[test]
fn a_pair_may_leave_the_pooling_to_the_model() {
    let (folder, hub) = hub();
    let text = PairSide { model: "org/nv-embed", pooling: None, dim: 16, restriction: Some("not for sale") };
    let pair = Pair { text, file: "nv-embed.pt", ..PAIR };
    let config = HeadConfig::new(pair.vision.dim, pair.text.dim, 4, ProjectorConfig::Linear {});
    let snapshot =
        folder.path().join("models--org--heads/snapshots/00112233445566778899aabbccddeeff00112233");
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    head.export(snapshot.join(pair.file), ExportFormat::Pytorch).unwrap();
    let model = open(&pair, &BackboneOptions::default(), &hub).unwrap();
    let provenance = model.text().provenance();
    assert_eq!((provenance.model.as_str(), &provenance.prompt), ("org/nv-embed", &None));
    assert!(provenance.pooling.is_some());
    assert_eq!(model.encode_texts(&expected().texts).unwrap().dims(), [3, 4]);
}

#[test]
fn other_backbones_are_refused() {
    let (folder, hub) = hub();
    let other = BackboneOptions { vision: Some("org/other".into()), ..BackboneOptions::default() };
    let error = open(&PAIR, &other, &hub).map(drop).unwrap_err().to_string();
    assert!(error.contains("other image features: `model` is org/other@00112233"), "{error}");
    assert!(error.contains("expected org/dinov2"), "{error}");

    // A folder with a copy of the backbone is none.
    let snapshot =
        folder.path().join("models--org--dinov2/snapshots/00112233445566778899aabbccddeeff00112233");
    let copy = folder.path().join("dinov2");
    fs::rename(snapshot, &copy).unwrap();
    let copied = BackboneOptions { vision: copy.to_str().map(str::to_owned), ..BackboneOptions::default() };
    open(&PAIR, &copied, &hub).unwrap();

    let larger = Pair { text: PairSide { dim: 1024, ..PAIR.text.clone() }, ..PAIR };
    let error = open(&larger, &BackboneOptions::default(), &hub).map(drop).unwrap_err().to_string();
    assert!(error.contains("text features have 1024 dimensions, expected 24"), "{error}");
}

#[test]
fn unknown_pairs_and_missing_heads_are_named() {
    let error = SailModel::from_pretrained("sail-xl", &Device::flex()).map(drop).unwrap_err().to_string();
    assert_eq!(error, "there is no pair `sail-xl`, expected one of `sail-l-gte`, `sail-l-nv2`");
    let (_folder, hub) = hub();
    let missing = Pair { file: "missing.pt", ..PAIR };
    let error = open(&missing, &BackboneOptions::default(), &hub).map(drop).unwrap_err();
    assert!(matches!(error, SailError::PairHead { .. }), "{error}");
}
