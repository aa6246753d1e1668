//! Probes of a small grid: progress, interruption and resume, part files, and invalid grids.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::FeatureSource;
use sail_data::{MatrixFeatures, Pairs, Unmatched};
use sail_probe::{EncoderFeatures, Grid, NamedFeatures, Probe, ProbeConfig, ProbeError, Progress, probe};
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
        permutations: 19,
        mutual_k: 5,
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
        "measures of seeing with texts",
        "measures of blind with texts",
        "seeing with texts",
        "blind with texts",
        "correlations",
    ];
    let expected: Vec<_> = parts.iter().enumerate().map(|(done, part)| (part.to_string(), done, 7)).collect();
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
    assert!(matches!(interrupted, Err(ProbeError::Interrupted { done: 6, parts: 7 })), "{interrupted:?}");
    let finished = [
        "images-0.json",
        "images-1.json",
        "measures-0-0.json",
        "measures-1-0.json",
        "pair-0-0.json",
        "texts-0.json",
    ];
    assert_eq!(files(&path), finished);
    drop(folder);

    let contents = || finished.map(|file| fs::read(path.join(file)).unwrap());
    let modified = || finished.map(|file| fs::metadata(path.join(file)).unwrap().modified().unwrap());
    let before = (contents(), modified());
    let folder = RunFolder::resume(&path, &config()).unwrap();
    assert_eq!(run(Some(&folder), &Interrupter::new(), |_| ()).unwrap(), uninterrupted());
    assert_eq!((contents(), modified()), before);
    assert_eq!(files(&path).len(), 7);

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
    assert_eq!(error.to_string(), "interrupted after 0 of 7 parts");
}

#[test]
fn a_corrupt_part_file_is_an_error_that_names_it() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("probe");
    let folder = RunFolder::create(&path, &config()).unwrap();
    let expected = run(Some(&folder), &Interrupter::new(), |_| ()).unwrap();
    let measures = path.join("measures-1-0.json");
    let whole = fs::read_to_string(&measures).unwrap();
    fs::write(&measures, whole.replace("\"best\":0", "\"best\":1")).unwrap();
    let error = run(Some(&folder), &Interrupter::new(), |_| ()).unwrap_err();
    assert!(matches!(&error, ProbeError::Damaged { path, .. } if *path == measures), "{error}");
    fs::write(&measures, whole).unwrap();
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

/// Results of earlier versions: measures in the files of pairs, without null distributions, and fewer measures by class.
#[test]
fn parts_of_earlier_versions_are_read_and_their_measures_calibrated() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("probe");
    let folder = RunFolder::create(&path, &config()).unwrap();
    let expected = run(Some(&folder), &Interrupter::new(), |_| ()).unwrap();
    let edit = |file: &str, edit: &dyn Fn(&mut serde_json::Value)| {
        let file = path.join(file);
        let mut part = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        edit(&mut part);
        fs::write(file, part.to_string()).unwrap();
    };
    for pair in ["0-0", "1-0"] {
        fs::remove_file(path.join(format!("measures-{pair}.json"))).unwrap();
        edit(&format!("pair-{pair}.json"), &|part| {
            let old = serde_json::json!({"value": 0.5, "chance": 0.1, "chance_max": 0.2, "p_value": 0.25});
            part["measures"] = serde_json::json!({
                "mutual_knn": old, "cka": {"biased": 0.7, "debiased": old}, "cca": old,
            });
            part.as_object_mut().unwrap().remove("maps");
        });
    }
    edit("images-0.json", &|part| {
        part["measures"].as_object_mut().unwrap().remove("calibrated");
        for field in ["threshold", "score"] {
            part["measures"]["nmi"].as_object_mut().unwrap().remove(field);
        }
    });
    let found = run(Some(&folder), &Interrupter::new(), |_| ()).unwrap();
    for (found, expected) in found.pairs.iter().zip(&expected.pairs) {
        assert_eq!((found.score, &found.measures), (expected.score, &expected.measures));
        assert!(found.maps.is_none() && expected.maps.is_some());
    }
    assert_eq!(found.significance, expected.significance);
    let labelled = found.images[0].labelled.as_ref().unwrap();
    assert!(labelled.calibrated.is_none() && labelled.nmi.p_value.is_some() && labelled.nmi.score.is_none());
}

#[test]
fn the_grid_says_what_is_more_than_chance() {
    let found = uninterrupted();
    let significance = found.significance.as_ref().unwrap();
    assert_eq!((significance.alpha, significance.permutations), (0.05, 19));
    let [seeing, blind] = &found.pairs[..] else { panic!("{:?}", found.pairs) };
    for (grid, of) in [
        (&significance.mutual_knn, [&seeing.measures.mutual_knn, &blind.measures.mutual_knn]),
        (&significance.cka, [&seeing.measures.cka.debiased, &blind.measures.cka.debiased]),
        (&significance.cca, [&seeing.measures.cca, &blind.measures.cca]),
    ] {
        let grid = grid.as_ref().unwrap();
        assert_eq!((grid.images.as_str(), grid.texts.as_str()), ("seeing", "texts"));
        assert_eq!((grid.maximum.value, grid.maximum.p_value), (of[0].value, Some(0.05)));
        assert!(of[0].score > Some(0.2) && of[1].p_value > Some(0.05), "{of:?}");
        let counts = &grid.differences;
        assert_eq!(
            (counts.cells, counts.above_chance, counts.differences, counts.surviving),
            (2, 1, 1, 1),
            "{grid:?}"
        );
    }
    let labelled = |set: usize| found.images[set].labelled.as_ref().unwrap().calibrated.unwrap();
    assert_eq!(
        (labelled(0).linear.p_value, labelled(0).linear.value),
        (Some(0.05), found.images[0].labelled.as_ref().unwrap().linear)
    );
    assert!(labelled(1).silhouette.p_value > Some(0.05), "{:?}", labelled(1));
    assert_eq!(probe_without_permutations().significance, None);
}

fn probe_without_permutations() -> Probe {
    let config = ProbeConfig { permutations: 0, ..config() };
    probe(&grid(), &config, &Device::flex(), None, &Interrupter::new(), |_| ()).unwrap()
}

#[test]
fn the_best_candidate_of_an_encoder_is_selected_and_calibrated_as_the_best() {
    let candidate = |name: &str, seed| set(name, PAIRS, |r, c| noise(seed, r, c));
    let deep = EncoderFeatures {
        name: "deep".to_owned(),
        candidates: vec![candidate("layer-1", 2), candidate("layer-2", 1), candidate("layer-3", 4)],
    };
    let lost = EncoderFeatures {
        name: "lost".to_owned(),
        candidates: vec![candidate("layer-1", 5), candidate("layer-2", 6)],
    };
    let texts = set("texts", PAIRS, |r, c| noise(1, r, DIM - 1 - c) + 0.1 * noise(3, r, c));
    let labels = (0..PAIRS).map(|row| usize::from(noise(1, row, 0) > 0.0)).collect();
    let grid = Grid::search(vec![deep, lost], vec![texts.into()], Some(labels), Unmatched::Error).unwrap();
    let found = probe(&grid, &config(), &Device::flex(), None, &Interrupter::new(), |_| ()).unwrap();
    assert_eq!(found.pairs.len(), 2);
    assert_eq!(found.images.len(), 5);
    assert_eq!(found.images[1].name, "deep/layer-2");
    let [deep, lost] = &found.pairs[..] else { panic!("{:?}", found.pairs) };
    let search = deep.search.as_ref().unwrap();
    assert_eq!((search.images.as_str(), search.texts.as_str()), ("deep/layer-2", "texts"));
    assert_eq!((search.image_candidates.len(), search.text_candidates.len()), (3, 1));
    assert_eq!(search.mutual_knn[1], deep.measures.mutual_knn.value);
    // The results are those of the selected layer alone.
    let alone = uninterrupted();
    assert_eq!((deep.score, &deep.aligners), (alone.pairs[0].score, &alone.pairs[0].aligners));
    assert_eq!(deep.measures.mutual_knn.value, alone.pairs[0].measures.mutual_knn.value);
    // The threshold is that of the highest of three.
    assert!(deep.measures.mutual_knn.threshold > alone.pairs[0].measures.mutual_knn.threshold);
    assert_eq!(deep.measures.mutual_knn.p_value, Some(0.05));
    assert!(lost.measures.mutual_knn.p_value > Some(0.05), "{lost:?}");
    // Selected by another measure, CKA has a value only.
    assert_eq!((deep.measures.cka.debiased.p_value, found.significance.unwrap().cka), (None, None));

    let none = EncoderFeatures { name: "empty".to_owned(), candidates: vec![] };
    let text = EncoderFeatures::from(set("texts", PAIRS, |_, _| 1.0));
    let error = Grid::search(vec![none], vec![text], None, Unmatched::Error).err().unwrap();
    assert!(matches!(error, ProbeError::NoCandidate { ref name } if name == "empty"), "{error}");
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
