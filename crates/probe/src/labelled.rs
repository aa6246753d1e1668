//! Measures of one encoder's features by class.

use burn::tensor::Tensor;
use sail_eval::{
    BlockSize, Calibrated, EvalError, KMeansOptions, KnnOptions, LinearProbe, LinearProbeOptions, Measured,
    Permutations, accuracy, adjusted_rand_index, k_means, knn_classify, normalized_mutual_information,
    silhouette_test,
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
    /// Normalised mutual information of the classes and as many k-means clusters.
    pub nmi: Calibrated,
    /// Adjusted Rand index of the same partitions; 0 by chance.
    pub ari: f64,
    /// The values that are numbers above, calibrated; `None` in results of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<LabelledCalibration>,
}

/// Measures by class against random classes.
///
/// The classes of the training rows are permuted for the silhouette and the clusters. For the accuracies those of the held-out
/// rows are, and the classifier is the same: it says whether the predictions depend on the classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelledCalibration {
    /// Accuracy of k-nearest-neighbour classification, in percent.
    pub knn: Calibrated,
    /// Accuracy of linear probing, in percent.
    pub linear: Calibrated,
    /// Mean silhouette.
    pub silhouette: Calibrated,
    /// Adjusted Rand index.
    pub ari: Calibrated,
}

/// Options of [`Labelled::measure`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledConfig {
    /// The `k` of k-NN classification; at least 1.
    pub knn_k: usize,
    /// L2 penalty of linear probing; at least 0.
    pub l2: f64,
    /// Number of permutations that measures are calibrated by: 0 for none, or at least `1 / alpha - 1`.
    pub permutations: usize,
    /// Significance level of the calibration, above 0 and below 1.
    pub alpha: f64,
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
    Permutations { count: config.permutations, seed: config.seed }.check_level(config.alpha)?;
    // Checks the number of labels.
    accuracy(&vec![0; holdout.dims()[0]], holdout_labels)?;
    let options = KnnOptions { k: config.knn_k, ..KnnOptions::default() };
    let block = BlockSize::SEARCH;
    let knn_predictions =
        knn_classify(train.clone(), train_labels, classes, holdout.clone(), &options, &block)?;
    let knn = Hits::of_classes(&knn_predictions, holdout_labels);
    let options = LinearProbeOptions { l2: config.l2, ..LinearProbeOptions::default() };
    let layer = LinearProbe::fit(train.clone(), train_labels, classes, &options)?;
    let linear_predictions = layer.predict(holdout)?;
    let linear = Hits::of_classes(&linear_predictions, holdout_labels);
    let mut counts = vec![0usize; classes];
    train_labels.iter().for_each(|&class| counts[class] += 1);
    let occurring = counts.iter().filter(|&&count| count > 0).count();
    // The first of several equally frequent classes.
    let majority = (0..classes).rev().max_by_key(|&class| counts[class]).unwrap_or(0);
    let clusters =
        k_means(train.clone(), &KMeansOptions { seed: config.seed, ..KMeansOptions::new(occurring) })?;
    let permutations = Permutations { count: config.permutations, seed: config.seed };
    let agreement = |labels: &[usize]| {
        let nmi = normalized_mutual_information(&clusters, labels)?;
        Ok::<_, EvalError>((nmi, adjusted_rand_index(&clusters, labels)?))
    };
    let permuted =
        |labels: &[usize], order: &[usize]| order.iter().map(|&row| labels[row]).collect::<Vec<_>>();
    let (nmi, ari) = agreement(train_labels)?;
    let null = permutations.each(train_labels.len(), |order| agreement(&permuted(train_labels, order)))?;
    let (nmi_null, ari_null) = null.into_iter().unzip();
    let correct = |predictions: &[usize], value: f64| {
        permutations
            .test(value, holdout_labels.len(), |order| {
                accuracy(predictions, &permuted(holdout_labels, order))
            })?
            .calibrate(config.alpha, 100.0)
    };
    let silhouette = silhouette_test(train, train_labels, classes, &permutations)?;
    let calibrate = |measured: Measured| measured.calibrate(config.alpha, 1.0);
    let calibrated = LabelledCalibration {
        knn: correct(&knn_predictions, knn.mean())?,
        linear: correct(&linear_predictions, linear.mean())?,
        silhouette: calibrate(silhouette)?,
        ari: calibrate(Measured { value: ari, null: ari_null })?,
    };
    let measures = Labelled {
        knn: knn.mean(),
        linear: linear.mean(),
        majority: Hits::of_classes(&vec![majority; holdout_labels.len()], holdout_labels).mean(),
        silhouette: calibrated.silhouette.value,
        nmi: calibrate(Measured { value: nmi, null: nmi_null })?,
        ari,
        calibrated: Some(calibrated),
    };
    Ok(LabelledHits { measures, knn, linear })
}
