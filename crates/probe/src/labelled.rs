//! Measures of one encoder's features by class.

use burn::tensor::Tensor;
use sail_eval::{
    BlockSize, EvalError, KMeansOptions, KnnOptions, LinearProbe, LinearProbeOptions, Measured, Permutations,
    accuracy, adjusted_rand_index, k_means, knn_classify, normalized_mutual_information, silhouette,
};
use serde::{Deserialize, Serialize};

use crate::hits::Hits;

/// How well the features of one encoder cluster and separate by class.
///
/// Accuracies are those of held-out rows, in percent; the other measures are computed on the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Accuracy of k-nearest-neighbour classification.
    pub knn: f64,
    /// Accuracy of linear probing.
    pub linear: f64,
    /// Accuracy of always predicting the most frequent class.
    pub majority: f64,
    /// Mean silhouette of the classes, -1 to 1.
    pub silhouette: f64,
    /// Normalised mutual information of the classes and as many k-means clusters, with its chance level.
    pub nmi: Measured,
    /// Adjusted Rand index of the same partitions; 0 by chance.
    pub ari: f64,
}

/// Options of [`Labelled::measure`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledConfig {
    /// The `k` of k-NN classification; at least 1.
    pub knn_k: usize,
    /// L2 penalty of linear probing; at least 0.
    pub l2: f64,
    /// Number of permutations that estimate the chance level of the mutual information.
    pub permutations: usize,
    /// Seed of the permutations and the initialisation of k-means.
    pub seed: u64,
}

impl Labelled {
    /// Measures the features of one encoder.
    ///
    /// # Shapes
    /// - train: `[n, dim]`, with a label for each row
    /// - holdout: `[m, dim]`, with a label for each row
    ///
    /// # Errors
    /// [`EvalError`] for options out of range, inputs that are empty or differ in dimension, labels that differ in number
    /// from the rows or are not less than `classes`, a single class, features that are not finite or all zeros, and if
    /// the device fails.
    pub fn measure(
        train: Tensor<2>,
        train_labels: &[usize],
        holdout: Tensor<2>,
        holdout_labels: &[usize],
        classes: usize,
        config: &LabelledConfig,
    ) -> Result<Self, EvalError> {
        Ok(measure(train, train_labels, holdout, holdout_labels, classes, config)?.measures)
    }
}

/// The measures, with the predictions behind the accuracies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LabelledHits {
    pub(crate) measures: Labelled,
    pub(crate) knn: Hits,
    pub(crate) linear: Hits,
}

pub(crate) fn measure(
    train: Tensor<2>,
    train_labels: &[usize],
    holdout: Tensor<2>,
    holdout_labels: &[usize],
    classes: usize,
    config: &LabelledConfig,
) -> Result<LabelledHits, EvalError> {
    // Checks the number of labels.
    accuracy(&vec![0; holdout.dims()[0]], holdout_labels)?;
    let options = KnnOptions { k: config.knn_k, ..KnnOptions::default() };
    let block = BlockSize::SEARCH;
    let predictions = knn_classify(train.clone(), train_labels, classes, holdout.clone(), &options, &block)?;
    let knn = Hits::of_classes(&predictions, holdout_labels);
    let options = LinearProbeOptions { l2: config.l2, ..LinearProbeOptions::default() };
    let layer = LinearProbe::fit(train.clone(), train_labels, classes, &options)?;
    let linear = Hits::of_classes(&layer.predict(holdout)?, holdout_labels);
    let mut counts = vec![0usize; classes];
    train_labels.iter().for_each(|&class| counts[class] += 1);
    let occurring = counts.iter().filter(|&&count| count > 0).count();
    // The first of several equally frequent classes.
    let majority = (0..classes).rev().max_by_key(|&class| counts[class]).unwrap_or(0);
    let clusters =
        k_means(train.clone(), &KMeansOptions { seed: config.seed, ..KMeansOptions::new(occurring) })?;
    let nmi = normalized_mutual_information(&clusters, train_labels)?;
    let permutations = Permutations { count: config.permutations, seed: config.seed };
    let nmi = permutations.test(nmi, train_labels.len(), |order| {
        let shuffled: Vec<usize> = order.iter().map(|&row| train_labels[row]).collect();
        normalized_mutual_information(&clusters, &shuffled)
    })?;
    let measures = Labelled {
        knn: knn.mean(),
        linear: linear.mean(),
        majority: Hits::of_classes(&vec![majority; holdout_labels.len()], holdout_labels).mean(),
        silhouette: silhouette(train, train_labels, classes)?,
        nmi,
        ari: adjusted_rand_index(&clusters, train_labels)?,
    };
    Ok(LabelledHits { measures, knn, linear })
}
