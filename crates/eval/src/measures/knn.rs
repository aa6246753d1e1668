//! k-nearest-neighbour classification.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use sail_core::{Check, ConfigError, ensure};

use crate::groups::count_classes;
use crate::top_k::search;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError};

/// The weight of a neighbour's vote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Vote {
    /// 1.
    Uniform,
    /// `exp(cosine / temperature)`, as in the evaluation of DINO (Caron et al. 2021, arXiv 2104.14294; 0.07 there).
    Softmax {
        /// Above 0.
        temperature: f64,
    },
}

/// Options of [`knn_classify`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnOptions {
    /// Number of neighbours, at least 1. With fewer training rows, all of them vote.
    pub k: usize,
    /// Weight of a vote.
    pub vote: Vote,
}

impl Default for KnnOptions {
    /// Returns 20 neighbours with a temperature of 0.07, the setting of DINO and of figure 2 of the paper.
    fn default() -> Self {
        Self { k: 20, vote: Vote::Softmax { temperature: 0.07 } }
    }
}

impl Check for KnnOptions {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.k > 0, "k", self.k, "at least 1")?;
        match self.vote {
            Vote::Uniform => Ok(()),
            Vote::Softmax { temperature } => {
                let valid = temperature > 0.0 && temperature.is_finite();
                ensure(valid, "temperature", temperature, "a finite value above 0")
            }
        }
    }
}

/// Classifies each query by a vote of its nearest training rows by cosine. Ties between classes and between neighbours go
/// to the lower index.
///
/// Memory beyond the features is a few blocks. The accuracy measures how well features cluster, which predicts how well
/// they align (arXiv 2412.04616, figure 2).
///
/// # Shapes
/// - train: `[n, dim]`
/// - labels: for each training row, the index of its class
/// - queries: `[n_queries, dim]`
/// - output: for each query, the index of its class
///
/// # Errors
/// [`EvalError`] for options out of range, inputs that are empty or differ in dimension, labels that differ in number from
/// the rows or are not less than `n_classes`, features that are not finite or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, KnnOptions, knn_classify};
/// let device = Device::flex();
/// let train = Tensor::<2>::from_floats([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], &device);
/// let queries = Tensor::<2>::from_floats([[2.0, 0.3], [0.1, 5.0]], &device);
/// let found = knn_classify(train, &[0, 0, 1], 2, queries, &KnnOptions::default(), &BlockSize::default())?;
/// assert_eq!(found, [0, 1]);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn knn_classify(
    train: Tensor<2>,
    labels: &[usize],
    n_classes: usize,
    queries: Tensor<2>,
    options: &KnnOptions,
    block: &BlockSize,
) -> Result<Vec<usize>, EvalError> {
    options.check()?;
    block.check()?;
    let train = UnitRows::new(train, "training row")?;
    let queries = UnitRows::new(queries, "query")?;
    same_dim(&queries, &train)?;
    count_classes(labels, n_classes, train.len(), "training row")?;
    let k = options.k.min(train.len());
    let mut classes = Vec::with_capacity(queries.len());
    let (mut votes, mut voters) = (BTreeMap::<usize, f64>::new(), 0);
    search(&queries, &train, k, false, block, |found| {
        let weight = match options.vote {
            Vote::Uniform => 1.0,
            // Relative to a cosine of 1, so the exponential does not overflow.
            Vote::Softmax { temperature } => ((f64::from(found.score) - 1.0) / temperature).exp(),
        };
        *votes.entry(labels[found.index]).or_default() += weight;
        voters += 1;
        if voters == k {
            classes.extend(winner(&votes));
            votes.clear();
            voters = 0;
        }
    })?;
    Ok(classes)
}

/// The class with the most votes, the lowest index of several.
fn winner(votes: &BTreeMap<usize, f64>) -> Option<usize> {
    let most = votes.values().copied().fold(f64::NEG_INFINITY, f64::max);
    votes.iter().find(|(_, votes)| **votes == most).map(|(&class, _)| class)
}

/// Returns the percentage of correct predictions.
///
/// # Errors
/// [`EvalError::Empty`] without predictions, [`EvalError::Length`] if the numbers of predictions and labels differ.
///
/// # Examples
/// ```
/// assert_eq!(sail_eval::accuracy(&[0, 1, 1, 2], &[0, 1, 2, 2])?, 75.0);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn accuracy(predictions: &[usize], labels: &[usize]) -> Result<f64, EvalError> {
    if predictions.is_empty() {
        return Err(EvalError::Empty { what: "prediction" });
    }
    if predictions.len() != labels.len() {
        let (found, expected) = (labels.len(), predictions.len());
        return Err(EvalError::Length { what: "class labels", found, expected, of: "prediction" });
    }
    let hits = predictions.iter().zip(labels).filter(|(prediction, label)| prediction == label).count();
    Ok(100.0 * hits as f64 / labels.len() as f64)
}
