//! Probes of a small grid: progress, interruption and resume, part files, and invalid grids.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::FeatureSource;
use sail_data::{MatrixFeatures, Pairs};
use sail_probe::{Grid, NamedFeatures, Probe, ProbeConfig, ProbeError, Progress, probe};
use sail_train::{Interrupter, OptimizerConfig, RunFolder, TrainConfig};

const PAIRS: usize = 60;
const DIM: usize = 6;

/// Pseudo-random values in -1 to 1.
fn noise(seed: usize, row: usize, column: usize) -> f32 {
    let mut x = (seed * 1_000_003 + row * 1009 + column) as u64;
    x = (x ^ (x >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn set(name: &str, rows: usize, value: impl Fn(usize, usize) -> f32) -> NamedFeatures {
    let values = (0..rows * DIM).map(|i| value(i / DIM, i % DIM)).collect();
    let keys = (0..rows).map(|row| format!("key-{row}"));
    let source = MatrixFeatures::new(DIM, values).unwrap().with_keys(keys).unwrap();
    NamedFeatures { name: name.to_owned(), source: Arc::new(source) }
}

/// Image features that determine the text features, image features that do not, and two classes.
fn grid() -> Grid {
    let images = [set("seeing", PAIRS, |r, c| noise(1, r, c)), set("blind", PAIRS, |r, c| noise(2, r, c))];
    let texts = [set("texts", PAIRS, |r, c| noise(1, r, DIM - 1 - c) + 0.1 * noise(3, r, c))];
    let labels = (0..PAIRS).map(|row| usize::from(noise(1, row, 0) > 0.0)).collect();
    Grid::new(images.into(), texts.into(), Some(labels)).unwrap()
}

fn config() -> ProbeConfig {
    ProbeConfig {
        holdout: 20,
        dim: 8,
        train: ProbeConfig::default().train.with_epochs(60).with_learning_rate(1e-2),
        permutations: 3,
        resamples: 20,
        ..ProbeConfig::default()
    }
}

fn run(
    folder: Option<&RunFolder>,
    interrupter: &Interrupter,
    observe: impl FnMut(Progress<'_>),
) -> Result<Probe, ProbeError> {
    probe(&grid(), &config(), &Device::flex(), folder, interrupter, observe)
}

fn uninterrupted() -> Probe {
    run(None, &Interrupter::new(), |_| ()).unwrap()
}

#[test]
fn the_default_training_is_that_of_the_authors_script() {
    let config = ProbeConfig::default();
    let TrainConfig { epochs, batch_size, learning_rate, weight_decay, optimizer, .. } = config.train;
    assert_eq!((config.dim, epochs, batch_size), (2048, 100, 32_768));
    assert_eq!((learning_rate, weight_decay, optimizer), (1e-5, 1e-7, OptimizerConfig::LION));
}

#[test]
fn scores_rank_encoders_and_the_batch_is_at_most_the_training_pairs() {
    let result = uninterrupted();
    assert_eq!(
        (result.train_pairs, result.measured_pairs, result.holdout, result.batch_size),
        (40, 40, 20, 40)
    );
    assert_eq!(result.best().unwrap().images, "seeing");
    let [seeing, blind] = &result.pairs[..] else { panic!("{:?}", result.pairs) };
    // The chance level is 50: ten of 20 candidates.
    assert!(seeing.score > 80.0 && blind.score < 75.0, "{} {}", seeing.score, blind.score);
    assert!(seeing.measures.mutual_knn.value > blind.measures.mutual_knn.value);
    for set in result.images.iter().chain(&result.texts) {
        assert!(set.labelled.is_some() && set.dim == DIM, "{set:?}");
    }
    assert!(result.predictors.iter().all(|predictor| predictor.values.len() == 2));
}

#[test]
fn observers_see_every_part_before_it_starts() {
    let mut seen = Vec::new();
    run(None, &Interrupter::new(), |at| seen.push((at.part.to_owned(), at.done, at.parts))).unwrap();
    let parts = [
        "seeing by class",
        "blind by class",
        "texts by class",
        "seeing with texts",
        "blind with texts",
        "correlations",
    ];
    let expected: Vec<_> = parts.iter().enumerate().map(|(done, part)| (part.to_string(), done, 5)).collect();
    assert_eq!(seen, expected);
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut parts: Vec<_> = names.filter(|name| name.ends_with(".json") && name != "config.json").collect();
    parts.sort();
    parts
}

#[test]
fn an_interrupted_probe_resumes_from_its_finished_parts() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("probe");
    let folder = RunFolder::create(&path, &config()).unwrap();
    let interrupter = Interrupter::new();
    let interrupted = run(Some(&folder), &interrupter, |at| {
        if at.part == "blind with texts" {
            interrupter.stop();
        }
    });
    assert!(matches!(interrupted, Err(ProbeError::Interrupted { done: 4, parts: 5 })), "{interrupted:?}");
    let finished = ["images-0.json", "images-1.json", "pair-0-0.json", "texts-0.json"];
    assert_eq!(files(&path), finished);
    drop(folder);

    let contents = || finished.map(|file| fs::read(path.join(file)).unwrap());
    let modified = || finished.map(|file| fs::metadata(path.join(file)).unwrap().modified().unwrap());
    let before = (contents(), modified());
    let folder = RunFolder::resume(&path, &config()).unwrap();
    assert_eq!(run(Some(&folder), &Interrupter::new(), |_| ()).unwrap(), uninterrupted());
    assert_eq!((contents(), modified()), before);
    assert_eq!(files(&path).len(), 5);

    // A complete probe computes nothing, so an interruption has no effect.
    let interrupter = Interrupter::new();
    interrupter.stop();
    assert_eq!(run(Some(&folder), &interrupter, |_| ()).unwrap(), uninterrupted());
}

#[test]
fn an_interrupted_probe_without_a_folder_is_an_error() {
    let interrupter = Interrupter::new();
    interrupter.stop();
    let error = run(None, &interrupter, |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "interrupted after 0 of 5 parts");
}

#[test]
fn a_corrupt_part_file_is_an_error_that_names_it() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("probe");
    let folder = RunFolder::create(&path, &config()).unwrap();
    let expected = run(Some(&folder), &Interrupter::new(), |_| ()).unwrap();
    let part = path.join("pair-1-0.json");
    let whole = fs::read(&part).unwrap();
    for corrupt in [&whole[..whole.len() / 2], b"", b"{}", b"null", b"\xff\x00"] {
        fs::write(&part, corrupt).unwrap();
        let error = run(Some(&folder), &Interrupter::new(), |_| ()).unwrap_err();
        assert!(matches!(&error, ProbeError::Damaged { path, .. } if *path == part), "{error}");
        assert!(error.to_string().contains("remove it"), "{error}");
        assert_eq!(fs::read(&part).unwrap(), corrupt, "the file is kept");
    }
    fs::remove_file(&part).unwrap();
    assert_eq!(run(Some(&folder), &Interrupter::new(), |_| ()).unwrap(), expected);
}

/// Its similarities with all anchors are negative.
#[test]
fn an_image_opposite_to_all_anchors_does_not_fail_the_probe() {
    let texts = || set("texts", PAIRS, |r, c| 1.5 + noise(1, r, c));
    let plain = set("images", PAIRS, |r, c| 1.5 + noise(1, r, c));
    let pairs = Pairs::new(plain.source, vec![texts().source]).unwrap();
    let config = config();
    let opposite = pairs.split(config.holdout, config.seed).unwrap().holdout.image_row(0);
    let images = set("images", PAIRS, |r, c| if r == opposite { -1.0 } else { 1.5 + noise(1, r, c) });
    let grid = Grid::new(vec![images], vec![texts()], None).unwrap();
    let result = probe(&grid, &config, &Device::flex(), None, &Interrupter::new(), |_| ()).unwrap();
    let asif = &result.pairs[0].aligners.asif;
    assert!(asif.i2t.r10 < 100.0 && asif.i2t.r10 > 50.0, "{asif:?}");
}

#[test]
fn rejects_grids_with_clashing_names_keys_or_labels() {
    let ones = |name: &str, rows| set(name, rows, |_, _| 1.0);
    let error = |images: &[&NamedFeatures], texts: &[&NamedFeatures], labels| {
        let clone = |sets: &[&NamedFeatures]| sets.iter().map(|&set| set.clone()).collect();
        Grid::new(clone(images), clone(texts), labels).err().unwrap()
    };
    let (a, b, t) = (ones("a", 3), ones("b", 3), ones("t", 3));
    let clash = error(&[&a, &b, &a], &[&t], None);
    assert!(matches!(clash, ProbeError::Name { ref name } if name == "a"), "{clash}");
    let clash = error(&[&a], &[&t, &t], None);
    assert!(matches!(clash, ProbeError::Name { ref name } if name == "t"), "{clash}");
    // Names are per side.
    assert_eq!(Grid::new(vec![a.clone()], vec![ones("a", 3)], None).unwrap().len(), 3);

    assert!(matches!(error(&[], &[&t], None), ProbeError::Empty { what: "image" }));
    assert!(matches!(error(&[&a], &[], None), ProbeError::Empty { what: "text" }));
    let keys = error(&[&a, &ones("short", 2)], &[&t], None);
    assert!(matches!(keys, ProbeError::Mismatch { ref second, .. } if second == "short"), "{keys}");
    let duplicate = MatrixFeatures::new(1, vec![1.0; 4]).unwrap();
    let duplicate = duplicate.with_keys(["key-0", "key-1", "key-2", "key-1"]).unwrap();
    assert_eq!(duplicate.rows(), 4);
    let duplicate = NamedFeatures { name: "duplicate".to_owned(), source: Arc::new(duplicate) };
    let keys = error(&[&a, &duplicate], &[&t], None);
    assert!(matches!(keys, ProbeError::Mismatch { ref second, .. } if second == "duplicate"), "{keys}");
    let labels = error(&[&a], &[&t], Some(vec![0, 1]));
    assert!(matches!(labels, ProbeError::Labels { found: 2, expected: 3, .. }), "{labels}");
}
