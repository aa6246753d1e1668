//! Measures of features against NumPy, SciPy and scikit-learn (fixtures/measures.py).

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use sail_eval::{
    Asif, BlockSize, EvalError, KMeansOptions, KnnOptions, LinearProbe, LinearProbeOptions, Permutations,
    RetrievalRanks, Vote, accuracy, adjusted_rand_index, cca, cka, k_means, knn_classify, mutual_knn,
    neighbourhoods, normalized_mutual_information, pearson, silhouette, spearman,
};
use serde_json::Value;

const CLASSES: usize = 7;
const NONE: Permutations = Permutations::NONE;

struct Fixture {
    first: Tensor<2>,
    second: Tensor<2>,
    expected: Value,
    known: usize,
}

fn tensor(values: Vec<f32>, dim: usize) -> Tensor<2> {
    let rows = values.len() / dim;
    Tensor::from_data(TensorData::new(values, [rows, dim]), &Device::flex())
}

impl Fixture {
    fn read() -> Self {
        let bytes = include_bytes!("fixtures/measures.safetensors");
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let read = |name| {
            let view = file.tensor(name).unwrap();
            let (values, _) = view.data().as_chunks::<4>();
            tensor(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(), view.shape()[1])
        };
        let expected: Value = serde_json::from_str(include_str!("fixtures/measures.json")).unwrap();
        let known = expected["known"].as_u64().unwrap() as usize;
        Self { first: read("first"), second: read("second"), expected, known }
    }

    fn value(&self, pointer: &str) -> f64 {
        self.expected.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_f64().unwrap()
    }

    fn classes(&self, pointer: &str) -> Vec<usize> {
        let list = self.expected.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_array().unwrap();
        list.iter().map(|class| class.as_u64().unwrap() as usize).collect()
    }

    fn values(&self, pointer: &str) -> Vec<f64> {
        self.expected
            .pointer(pointer)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    }

    fn known(&self) -> [Tensor<2>; 2] {
        [&self.first, &self.second].map(|rows| rows.clone().slice(0..self.known))
    }

    fn held(&self) -> [Tensor<2>; 2] {
        [&self.first, &self.second].map(|rows| rows.clone().slice(self.known..rows.dims()[0]))
    }
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
}

fn cosines(a: Tensor<2>, b: Tensor<2>) -> Vec<f32> {
    let unit = |x: Tensor<2>| {
        let norm = x.clone().powi_scalar(2).sum_dim(1).sqrt();
        x / norm
    };
    unit(a).matmul(unit(b).transpose()).into_data().try_to_vec().unwrap()
}

#[test]
fn mutual_knn_matches_a_full_sort() {
    let fixture = Fixture::read();
    // Block sizes that do not divide the rows, so a row meets itself at every position of a block.
    for block in [BlockSize::default(), BlockSize { rows: 7, columns: 11 }] {
        for k in [1, 5, 10, 119] {
            let found = mutual_knn(fixture.first.clone(), fixture.second.clone(), k, &NONE, &block).unwrap();
            close(found.value, fixture.value(&format!("/mutual_knn/{k}")), 1e-12);
        }
    }
}

#[test]
fn cka_matches_numpy() {
    let fixture = Fixture::read();
    let found = cka(fixture.first.clone(), fixture.second.clone(), &NONE).unwrap();
    close(found.biased, fixture.value("/cka_biased"), 1e-6);
    close(found.debiased.value, fixture.value("/cka_debiased"), 1e-6);
}

#[test]
fn cca_matches_numpy() {
    let fixture = Fixture::read();
    for (r, name) in [(0.0, "0.0"), (0.1, "0.1")] {
        let found = cca(fixture.first.clone(), fixture.second.clone(), r, &NONE).unwrap();
        close(found.value, fixture.value(&format!("/cca/{name}")), 1e-5);
    }
}

#[test]
fn trustworthiness_and_continuity_match_scikit_learn() {
    let fixture = Fixture::read();
    for block in [BlockSize::default(), BlockSize { rows: 7, columns: 11 }] {
        for k in [1, 5, 10, 59] {
            let found = neighbourhoods(fixture.first.clone(), fixture.second.clone(), k, &block).unwrap();
            close(found.trustworthiness, fixture.value(&format!("/trustworthiness/{k}")), 1e-12);
            close(found.continuity, fixture.value(&format!("/continuity/{k}")), 1e-12);
        }
    }
}

#[test]
fn asif_matches_numpy() {
    let fixture = Fixture::read();
    let [images, texts] = fixture.known();
    let [held_images, held_texts] = fixture.held();
    let asif = Asif::new(images, texts, 20, 4).unwrap();
    let images = asif.embed_images(held_images).unwrap();
    let found = cosines(images, asif.embed_texts(held_texts).unwrap());
    let rows = fixture.expected["asif"].as_array().unwrap().iter();
    let expected: Vec<f64> =
        rows.flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(found.len(), expected.len());
    for (&found, &expected) in found.iter().zip(&expected) {
        close(f64::from(found), expected, 2e-5);
    }
}

#[test]
fn asif_rows_without_a_positive_similarity_are_misses() {
    let anchors = tensor(vec![1.0, 0.1, 0.0, 0.1, 1.0, 0.0, 0.5, 0.5, 0.1], 3);
    let asif = Asif::new(anchors.clone(), anchors, 2, 8).unwrap();
    // The second image is opposite to all anchors, and so is the third text.
    let images = tensor(vec![1.0, 0.0, 0.0, -1.0, -1.0, -1.0, 0.4, 0.5, 0.0], 3);
    let texts = tensor(vec![1.0, 0.1, 0.0, 0.0, 1.0, 0.1, -1.0, -1.0, 0.0], 3);
    let (images, texts) = (asif.embed_images(images).unwrap(), asif.embed_texts(texts).unwrap());
    assert_eq!(images.dims(), [3, 5]);
    let scores = cosines(images.clone(), texts.clone());
    assert!(scores[3..6].iter().chain([&scores[2], &scores[8]]).all(|&score| score == 0.0), "{scores:?}");
    let ranks = RetrievalRanks::new(images, texts, &[0, 1, 2], &BlockSize::default()).unwrap();
    assert_eq!((ranks.i2t, ranks.t2i), (vec![1, 3, 3], vec![1, 3, 3]));
}

#[test]
fn knn_matches_scikit_learn() {
    let fixture = Fixture::read();
    let labels = &fixture.classes("/labels")[..fixture.known];
    let ([known, _], [held, _]) = (fixture.known(), fixture.held());
    for k in [1, 5, 20] {
        for (name, vote) in [("uniform", Vote::Uniform), ("softmax", Vote::Softmax { temperature: 0.07 })] {
            let options = KnnOptions { k, vote };
            let block = BlockSize { rows: 8, columns: 32 };
            let found = knn_classify(known.clone(), labels, CLASSES, held.clone(), &options, &block).unwrap();
            assert_eq!(found, fixture.classes(&format!("/knn/{name} {k}")), "{name} {k}");
        }
    }
}

#[test]
fn ties_of_votes_and_k_above_the_number_of_rows() {
    let known = tensor(vec![1.0, 0.0, 0.0, 1.0], 2);
    let query = tensor(vec![1.0, 1.0], 2);
    let options = KnnOptions { k: 50, vote: Vote::Uniform };
    let found = knn_classify(known, &[4, 2], 5, query, &options, &BlockSize::default()).unwrap();
    assert_eq!(found, [2]);
}

#[test]
fn linear_probe_matches_scikit_learn() {
    let fixture = Fixture::read();
    let labels = &fixture.classes("/labels")[..fixture.known];
    let ([known, _], [held, _]) = (fixture.known(), fixture.held());
    for (l2, name) in [(1e-3, "0.001"), (1e-1, "0.1")] {
        let options = LinearProbeOptions { l2, iterations: 500 };
        let probe = LinearProbe::fit(known.clone(), labels, CLASSES, &options).unwrap();
        assert_eq!(
            probe.predict(held.clone()).unwrap(),
            fixture.classes(&format!("/logistic/{name}")),
            "{l2}"
        );
    }
}

#[test]
fn partition_scores_and_correlations_match_scikit_learn_and_scipy() {
    let fixture = Fixture::read();
    let (labels, other) = (fixture.classes("/labels"), fixture.classes("/other"));
    close(normalized_mutual_information(&labels, &other).unwrap(), fixture.value("/nmi"), 1e-12);
    close(adjusted_rand_index(&labels, &other).unwrap(), fixture.value("/ari"), 1e-12);
    close(silhouette(fixture.first.clone(), &labels, CLASSES).unwrap(), fixture.value("/silhouette"), 1e-5);
    let (values, paired) = (fixture.values("/values"), fixture.values("/paired"));
    close(pearson(&values, &paired).unwrap(), fixture.value("/pearson"), 1e-12);
    close(spearman(&values, &paired).unwrap(), fixture.value("/spearman"), 1e-12);
}

#[test]
fn k_means_finds_separated_clusters_for_every_seed() {
    // Five directions with a little noise.
    let labels: Vec<usize> = (0..100).map(|row| row % 5).collect();
    let row = |&class: &usize, i: usize| {
        (0..8).map(move |c| if c == class { 1.0 } else { 0.02 * ((i * c) % 7) as f32 })
    };
    let values = labels.iter().enumerate().flat_map(|(i, class)| row(class, i).collect::<Vec<_>>()).collect();
    let rows = tensor(values, 8);
    for seed in 0..10 {
        let options = KMeansOptions { seed, ..KMeansOptions::new(5) };
        let clusters = k_means(rows.clone(), &options).unwrap();
        assert_eq!(adjusted_rand_index(&clusters, &labels).unwrap(), 1.0, "seed {seed}");
    }
    // The number of threads does not change the clusters.
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| k_means(rows.clone(), &KMeansOptions::new(23)).unwrap())
    };
    assert_eq!(on(1), on(4));
    // As many clusters as rows, and equal rows.
    assert_eq!(k_means(rows.clone(), &KMeansOptions::new(100)).unwrap().len(), 100);
    let same = tensor(vec![1.0; 12], 3);
    assert_eq!(k_means(same, &KMeansOptions::new(3)).unwrap().len(), 4);
}

#[test]
fn rejects_invalid_input() {
    let rows = tensor((0..40).map(|i| (i as f32).sin()).collect(), 4);
    let short = rows.clone().slice(0..9);
    let same = tensor(vec![0.5; 40], 4);
    let block = BlockSize::default();
    let length = |error: EvalError| assert!(matches!(error, EvalError::Length { .. }), "{error}");
    length(mutual_knn(rows.clone(), short.clone(), 3, &NONE, &block).unwrap_err());
    length(cka(rows.clone(), short.clone(), &NONE).unwrap_err());
    length(cca(rows.clone(), short.clone(), 0.1, &NONE).unwrap_err());
    length(Asif::new(rows.clone(), short.clone(), 3, 2).unwrap_err());
    length(silhouette(rows.clone(), &[0, 1], 2).unwrap_err());
    length(LinearProbe::fit(rows.clone(), &[0, 1], 2, &LinearProbeOptions::default()).unwrap_err());
    length(accuracy(&[1], &[]).unwrap_err());
    let constant = |error: EvalError| assert!(matches!(error, EvalError::Constant { .. }), "{error}");
    constant(cka(rows.clone(), same.clone(), &NONE).unwrap_err());
    constant(cca(same.clone(), rows.clone(), 0.1, &NONE).unwrap_err());
    constant(mutual_knn(rows.clone(), same.clone(), 3, &NONE, &block).unwrap_err());
    constant(neighbourhoods(same.clone(), rows.clone(), 3, &block).unwrap_err());
    length(neighbourhoods(rows.clone(), short.clone(), 3, &block).unwrap_err());
    constant(LinearProbe::fit(same, &[0; 10], 1, &LinearProbeOptions::default()).unwrap_err());
    let config = |error: EvalError| assert!(matches!(error, EvalError::Config(_)), "{error}");
    for k in [0, 5] {
        config(neighbourhoods(rows.clone(), rows.clone(), k, &block).unwrap_err());
    }
    for k in [0, 10] {
        config(mutual_knn(rows.clone(), rows.clone(), k, &NONE, &block).unwrap_err());
    }
    config(cca(rows.clone(), rows.clone(), -1.0, &NONE).unwrap_err());
    config(k_means(rows.clone(), &KMeansOptions::new(11)).unwrap_err());
    let labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 3];
    let classify = |options: KnnOptions| {
        knn_classify(rows.clone(), &labels, 3, short.clone(), &options, &block).unwrap_err()
    };
    assert!(matches!(classify(KnnOptions::default()), EvalError::OutOfRange { found: 3, .. }));
    config(classify(KnnOptions { k: 1, vote: Vote::Softmax { temperature: 0.0 } }));
    assert!(matches!(silhouette(rows.clone(), &[1; 10], 2), Err(EvalError::TooFew { found: 1, .. })));
    assert!(matches!(cka(rows.clone().slice(0..3), rows.slice(0..3), &NONE), Err(EvalError::TooFew { .. })));
}

proptest! {
    /// Invariance to the norms of rows, to a rotation, and to the order of the pairs.
    #[test]
    fn measures_are_invariant(
        values in prop::collection::vec(-1.0..1.0f32, 24 * 5),
        scales in prop::collection::vec(0.1..10.0f32, 24),
        shift in 0..24usize,
    ) {
        let noise = |i: usize| ((i * 7919) % 101) as f32 / 101.0 - 0.5;
        let rows = tensor(values.iter().map(|value| value + 1e-3).collect(), 5);
        let other = tensor(values.iter().enumerate().map(|(i, value)| value + noise(i)).collect(), 5);
        let scaled = rows.clone() * tensor(scales, 1);
        let turn = |rows: Tensor<2>| Tensor::cat(vec![rows.clone().slice(shift..24), rows.slice(0..shift)], 0);
        let shifted = if shift == 0 { [scaled.flip([1]), other.clone()] } else { [turn(scaled.flip([1])), turn(other.clone())] };
        let measure = |[a, b]: [Tensor<2>; 2]| {
            let mutual = mutual_knn(a.clone(), b.clone(), 5, &NONE, &BlockSize::default()).unwrap().value;
            let cka = cka(a.clone(), b.clone(), &NONE).unwrap();
            [mutual, cka.biased, cka.debiased.value, cca(a, b, 0.1, &NONE).unwrap().value]
        };
        let (found, expected) = (measure(shifted), measure([rows, other]));
        // One of 120 neighbours may change if two are equally close.
        prop_assert!((found[0] - expected[0]).abs() < 0.02);
        for (found, expected) in found.iter().zip(&expected).skip(1) {
            prop_assert!((found - expected).abs() < 1e-3, "{} {}", found, expected);
        }
    }
}
