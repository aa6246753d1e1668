//! What the classes of the images say of one encoder's features.

use burn::tensor::Tensor;
use sail_eval::{
    BlockSize, EvalError, KMeansOptions, KnnOptions, LinearProbe, LinearProbeOptions, Measured, Permutations,
    accuracy, adjusted_rand_index, k_means, knn_classify, normalized_mutual_information, silhouette,
};
use serde::{Deserialize, Serialize};

use crate::hits::Hits;

/// How well the features of one encoder cluster and separate by class.
///
/// Accuracies are of held-out rows, in percent, by rows that were not held out; the rest is of the latter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Accuracy of k-nearest-neighbour classification.
    pub knn: f64,
    /// Accuracy of a linear layer.
    pub linear: f64,
    /// Accuracy of always saying the most frequent class.
    pub majority: f64,
    /// How well classes keep apart, -1 to 1.
    pub silhouette: f64,
    /// Normalised mutual information of classes and as many clusters, with what random classes give.
    pub nmi: Measured,
    /// Adjusted Rand index of the same; 0 by chance.
    pub ari: f64,
}

/// How [`Labelled`] is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledConfig {
    /// The `k` of k-NN classification; at least 1.
    pub knn_k: usize,
    /// The penalty of linear probing; 0 or more.
    pub l2: f64,
    /// Random classes that the mutual information is held against.
    pub permutations: usize,
    /// Where these and the starts of k-means come from.
    pub seed: u64,
}

impl Labelled {
    /// Measures the features of one encoder.
    ///
    /// # Shapes
    /// - known: `[n, dim]`, with a label each
    /// - held: `[m, dim]`, with a label each, to be classified
    ///
    /// # Errors
    /// [`EvalError`] for settings out of their range, sides that are empty or differ in dimension, labels of another
    /// number or not less than `classes`, a single class, embeddings that are not finite or all zeros, and when the
    /// device fails.
    pub fn measure(
        known: Tensor<2>,
        known_labels: &[usize],
        held: Tensor<2>,
        held_labels: &[usize],
        classes: usize,
        config: &LabelledConfig,
    ) -> Result<Self, EvalError> {
        Ok(measure(known, known_labels, held, held_labels, classes, config)?.measures)
    }
}

/// The measures, and the hits that two of them are means of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LabelledHits {
    pub(crate) measures: Labelled,
    pub(crate) knn: Hits,
    pub(crate) linear: Hits,
}

pub(crate) fn measure(
    known: Tensor<2>,
    known_labels: &[usize],
    held: Tensor<2>,
    held_labels: &[usize],
    classes: usize,
    config: &LabelledConfig,
) -> Result<LabelledHits, EvalError> {
    // Predictions are compared with these; they are checked as the known ones are.
    accuracy(&vec![0; held.dims()[0]], held_labels)?;
    let options = KnnOptions { k: config.knn_k, ..KnnOptions::default() };
    let block = BlockSize::SEARCH;
    let found = knn_classify(known.clone(), known_labels, classes, held.clone(), &options, &block)?;
    let knn = Hits::of_classes(&found, held_labels);
    let options = LinearProbeOptions { l2: config.l2, ..LinearProbeOptions::default() };
    let layer = LinearProbe::fit(known.clone(), known_labels, classes, &options)?;
    let linear = Hits::of_classes(&layer.predict(held)?, held_labels);
    let mut counts = vec![0usize; classes];
    known_labels.iter().for_each(|&class| counts[class] += 1);
    let occurring = counts.iter().filter(|&&count| count > 0).count();
    // The first of several that are as frequent.
    let most = (0..classes).rev().max_by_key(|&class| counts[class]).unwrap_or(0);
    let clusters =
        k_means(known.clone(), &KMeansOptions { seed: config.seed, ..KMeansOptions::new(occurring) })?;
    let nmi = normalized_mutual_information(&clusters, known_labels)?;
    let permutations = Permutations { count: config.permutations, seed: config.seed };
    let nmi = permutations.test(nmi, known_labels.len(), |order| {
        let shuffled: Vec<usize> = order.iter().map(|&row| known_labels[row]).collect();
        normalized_mutual_information(&clusters, &shuffled)
    })?;
    let measures = Labelled {
        knn: knn.mean(),
        linear: linear.mean(),
        majority: Hits::of_classes(&vec![most; held_labels.len()], held_labels).mean(),
        silhouette: silhouette(known, known_labels, classes)?,
        nmi,
        ari: adjusted_rand_index(&clusters, known_labels)?,
    };
    Ok(LabelledHits { measures, knn, linear })
}
