//! Pairing of images and captions.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use sail_core::{FeatureError, FeatureSource, Provenance};
use sail_data::{DataError, Matched, MatrixFeatures, Pairing, Pairs, Unmatched};

/// One-dimensional features with the value 1 + row, which identifies the row.
fn bare(rows: usize) -> MatrixFeatures {
    MatrixFeatures::new(1, (1..=rows).map(|value| value as f32).collect()).unwrap()
}

fn keyed(keys: &[&str]) -> Arc<dyn FeatureSource> {
    Arc::new(bare(keys.len()).with_keys(keys.iter().copied()).unwrap())
}

fn numbered(rows: impl Iterator<Item = usize>) -> Arc<dyn FeatureSource> {
    let keys: Vec<String> = rows.map(|row| format!("k{row}")).collect();
    keyed(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

fn keys(pairs: &Pairs) -> Vec<String> {
    (0..pairs.len()).map(|pair| pairs.key(pair).unwrap()).collect()
}

#[test]
fn captions_join_by_key() {
    let images = keyed(&["c", "a", "b"]);
    let pairs =
        Pairs::new(images, vec![keyed(&["a", "b", "c", "b", "a", "b"]), keyed(&["b", "c", "a"])]).unwrap();
    let rows = |set| (0..3).map(|pair| pairs.caption_rows(set, pair).to_vec()).collect::<Vec<_>>();
    assert_eq!(rows(0), [vec![2], vec![0, 4], vec![1, 3, 5]]);
    assert_eq!(rows(1), [[1], [2], [0]]);
    assert_eq!(pairs.text_to_image(0), (vec![2, 0, 4, 1, 3, 5], vec![0, 1, 1, 2, 2, 2]));

    let subset = pairs.subset(&[2, 0]).unwrap();
    assert_eq!(keys(&subset), ["b", "c"]);
    assert_eq!(subset.text_to_image(0), (vec![1, 3, 5, 2], vec![0, 0, 0, 1]));
    assert!(matches!(
        pairs.subset(&[3]),
        Err(DataError::Feature(FeatureError::OutOfRange { row: 3, rows: 3 }))
    ));
}

#[test]
fn rejects_unmatched_keys() {
    let error =
        Pairs::new(keyed(&["a", "b", "c"]), vec![keyed(&["a", "b", "c"]), keyed(&["x", "b", "x", "y"])])
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the keys of the images and of caption set 1 differ, 1 of 3 images, 1 of 3 captions of set 0 and 1 of 4 captions of \
         set 1 pair: 2 image rows have no caption (`a`, `c`), 3 caption rows have no image (`x`, `y`, ...); encode the \
         same items on both sides with the same keys, or drop the rows without a partner: `--unmatched drop` \
         (`Unmatched::Drop`)"
    );
    let error = Pairs::new(keyed(&["a", "b"]), vec![keyed(&["a", "a"])]).unwrap_err().to_string();
    assert!(
        error.contains("1 image rows have no caption (`b`), 0 caption rows have no image (none)"),
        "{error}"
    );
}

#[test]
fn rows_without_a_partner_are_dropped_and_counted() {
    let images = keyed(&["c", "a", "b", "d"]);
    let first = keyed(&["b", "x", "a", "b", "c"]);
    let second = keyed(&["a", "d", "b"]);
    let pairs = Pairs::join(images.clone(), vec![first.clone(), second], Unmatched::Half).unwrap();
    // `c` has no caption in the second set, `d` none in the first.
    assert_eq!(keys(&pairs), ["a", "b"]);
    let rows = |set| (0..2).map(|pair| pairs.caption_rows(set, pair).to_vec()).collect::<Vec<_>>();
    assert_eq!((rows(0), rows(1)), (vec![vec![2], vec![0, 3]], vec![vec![0], vec![2]]));
    let of = |matched, rows| Matched { matched, rows };
    let expected = Pairing { images: of(2, 4), captions: vec![of(3, 5), of(2, 3)] };
    assert_eq!(*pairs.pairing(), expected);
    assert_eq!(*pairs.split(1, 0).unwrap().train.pairing(), expected);
    assert_eq!(pairs.batch(&[1], 0, 0).unwrap().images, [3.0]);
    assert_eq!(pairs.text_to_image(0), (vec![2, 0, 3], vec![0, 1, 1]));
    assert_eq!(keys(&pairs.of_image_rows(&[2, 1]).unwrap()), ["b", "a"]);
    assert!(pairs.of_image_rows(&[0]).is_err() && pairs.of_image_rows(&[4]).is_err());

    // The same as the common rows alone.
    let alone = Pairs::new(keyed(&["a", "b"]), vec![keyed(&["a", "b", "b"]), keyed(&["a", "b"])]).unwrap();
    assert_eq!(pairs.fingerprint().unwrap(), alone.fingerprint().unwrap());
    let [some, all] = [&pairs, &alone].map(|pairs| pairs.split(1, 3).unwrap());
    assert_eq!((keys(&some.holdout), &some.holdout_sha256), (keys(&all.holdout), &all.holdout_sha256));
    let strict = Pairs::join(images, vec![first], Unmatched::Error);
    assert!(matches!(strict, Err(DataError::Unmatched { .. })), "{strict:?}");
}

#[test]
fn more_than_half_is_dropped_on_request_only() {
    let [images, captions] = [keyed(&["a.jpg", "b.jpg", "c"]), keyed(&["a", "b", "c"])];
    let join = |unmatched| Pairs::join(images.clone(), vec![captions.clone()], unmatched);
    let error = join(Unmatched::Half).unwrap_err().to_string();
    let hint = "(`a`, `b`); without file extensions, 3 of 3 images and 3 of 3 captions would pair;";
    assert!(error.contains("1 of 3 images and 1 of 3 captions pair") && error.contains(hint), "{error}");
    assert_eq!(keys(&join(Unmatched::Drop).unwrap()), ["c"]);
    let nothing = Pairs::join(keyed(&["a"]), vec![keyed(&["b"])], Unmatched::Drop).unwrap_err();
    assert!(nothing.to_string().contains("0 of 1 images and 0 of 1 captions pair"), "{nothing}");
}

#[test]
fn rejects_duplicate_image_keys() {
    let error = Pairs::new(keyed(&["a", "b", "a"]), vec![keyed(&["a", "b"])]).unwrap_err();
    assert!(
        error.to_string().starts_with("1 image rows have duplicate keys, expected unique keys: `a`"),
        "{error}"
    );
}

#[test]
fn sources_without_keys_pair_by_position() {
    let images: Arc<dyn FeatureSource> = Arc::new(bare(3));
    for captions in [Arc::new(bare(3)) as Arc<dyn FeatureSource>, keyed(&["z", "y", "x"])] {
        let pairs = Pairs::new(images.clone(), vec![captions]).unwrap();
        assert_eq!(pairs.text_to_image(0), (vec![0, 1, 2], vec![0, 1, 2]));
    }
    // With one set without keys, the other still pairs by key.
    let mixed = Pairs::new(keyed(&["a", "b"]), vec![Arc::new(bare(2)), keyed(&["b", "b", "a"])]).unwrap();
    assert_eq!(mixed.text_to_image(0), (vec![0, 1], vec![0, 1]));
    assert_eq!(mixed.text_to_image(1), (vec![2, 0, 1], vec![0, 1, 1]));

    let error = Pairs::new(images.clone(), vec![keyed(&["0", "1"])]).unwrap_err().to_string();
    assert!(
        error.contains("2 rows and the images have 3") && error.contains("image rows have no keys"),
        "{error}"
    );
    assert!(matches!(
        Pairs::new(images.clone(), vec![Arc::new(bare(3)), Arc::new(bare(6))]),
        Err(DataError::Positions { set: 1, captions: 6, images: 3, .. })
    ));
    assert!(matches!(Pairs::new(images, vec![]), Err(DataError::NoCaptions)));
}

#[test]
fn holdout_depends_only_on_keys() {
    let pairs =
        |rows: Vec<usize>| Pairs::new(numbered(rows.into_iter()), vec![numbered((0..20).rev())]).unwrap();
    let forward = pairs((0..20).collect()).split(5, 42).unwrap();
    // From an independent implementation in Python, after the documentation.
    assert_eq!(keys(&forward.holdout), ["k1", "k10", "k15", "k17", "k18"]);
    assert_eq!(forward.holdout_sha256, "63421ca0bf6e90eeb479326ed981d846fa3bd6e5cae90ef05e7f76892a686de9");

    let mut both = keys(&forward.train);
    assert_eq!(both.len(), 15);
    both.extend(keys(&forward.holdout));
    both.sort();
    let mut all = keys(&pairs((0..20).collect()));
    all.sort();
    assert_eq!(both, all);

    let backward = pairs((0..20).rev().collect()).split(5, 42).unwrap();
    assert_eq!(keys(&backward.holdout), ["k18", "k17", "k15", "k10", "k1"]);
    for pair in 0..5 {
        let row = backward.holdout.caption_rows(0, pair)[0] as usize;
        assert_eq!(backward.holdout.captions(0).key(row), backward.holdout.key(pair).unwrap());
    }
    let other_seed = pairs((0..20).collect()).split(5, 43).unwrap();
    assert_ne!(keys(&other_seed.holdout), keys(&forward.holdout));
}

#[test]
fn rejects_a_holdout_of_all_pairs() {
    let pairs = Pairs::new(numbered(0..4), vec![numbered(0..4)]).unwrap();
    let split = pairs.split(0, 1).unwrap();
    assert!(split.holdout.is_empty() && split.train.len() == 4);
    assert_eq!(split.holdout.batch(&[], 0, 0).unwrap().rows, 0);
    assert!(matches!(pairs.split(4, 1), Err(DataError::Holdout { holdout: 4, pairs: 4 })));
}

#[test]
fn sampled_captions_are_golden_and_independent_of_the_batch() {
    let captions = keyed(&["a", "b", "a", "b", "a", "b"]);
    let pairs = Pairs::new(keyed(&["b", "a"]), vec![captions.clone(), captions]).unwrap();
    // From an independent implementation in Python, after the documentation.
    let a = [1, 2, 2, 2, 2, 0, 0, 2, 1, 2, 1, 2].map(|caption: usize| 2 * caption);
    let b = [0, 0, 0, 0, 1, 1, 1, 1, 2, 0, 2, 0].map(|caption: usize| 2 * caption + 1);
    for epoch in 0..12 {
        let alone = pairs.batch(&[1], epoch as u64, 9).unwrap();
        assert_eq!(alone.texts[0], [1.0 + a[epoch] as f32]);
        let together = pairs.batch(&[0, 1, 0], epoch as u64, 9).unwrap();
        assert_eq!(together.images, [1.0, 2.0, 1.0]);
        assert_eq!(together.texts[0][1], alone.texts[0][0]);
        assert_eq!(together.texts[1][0], 1.0 + b[epoch] as f32);
        assert_eq!(together.texts[1][2], together.texts[1][0]);
    }
}

#[test]
fn every_caption_is_sampled() {
    let pairs = Pairs::new(keyed(&["a"]), vec![keyed(&["a"; 5])]).unwrap();
    let mut counts = [0u32; 5];
    for epoch in 0..2000 {
        counts[pairs.batch(&[0], epoch, 0).unwrap().texts[0][0] as usize - 1] += 1;
    }
    // 4 degrees of freedom: 18.5 is exceeded by chance once in a thousand.
    let statistic: f64 = counts.iter().map(|&count| (f64::from(count) - 400.0).powi(2) / 400.0).sum();
    assert!(statistic < 18.5, "{counts:?}");
}

#[test]
fn batch_rejects_unusable_rows() {
    let values = vec![1.0, 2.0, f32::NAN, 1.0, 0.0, 0.0];
    let texts = MatrixFeatures::new(2, values).unwrap().with_keys(["a", "b", "c"]).unwrap();
    let pairs = Pairs::new(keyed(&["c", "b", "a"]), vec![Arc::new(texts)]).unwrap();
    assert!(pairs.batch(&[2], 0, 0).is_ok());
    let error = pairs.batch(&[0, 1], 0, 0).unwrap_err();
    assert!(matches!(&error, FeatureError::ZeroNorm { row: 2, key } if key == "c"), "{error}");
    let error = pairs.batch(&[2, 1], 0, 0).unwrap_err();
    assert!(matches!(error, FeatureError::NotFinite { row: 1, column: 0, .. }), "{error}");
    assert!(matches!(pairs.batch(&[3], 0, 0), Err(FeatureError::OutOfRange { row: 3, rows: 3 })));
}

#[test]
fn rejects_incompatible_caption_sets() {
    let matrix = |dim: usize, model: &str| {
        let features = MatrixFeatures::new(dim, vec![1.0; 2 * dim]).unwrap();
        Arc::new(features.with_provenance(Provenance::new(model))) as Arc<dyn FeatureSource>
    };
    let join = |other| Pairs::new(matrix(3, "vit"), vec![matrix(4, "bge"), other]);
    assert!(join(matrix(4, "bge")).is_ok());
    let message = |other| join(other).unwrap_err().to_string();
    assert!(message(matrix(5, "bge")).contains("has the dimension 5, expected 4"));
    assert!(message(matrix(4, "e5")).contains("caption set 1 has the model e5, expected bge"));
}
