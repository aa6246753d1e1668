//! Classification by the classes of the nearest known rows.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use sail_core::{Check, ConfigError, ensure};

use crate::top_k::search;
use crate::unit_rows::{UnitRows, same_dim};
use crate::zero_shot::count_classes;
use crate::{BlockSize, EvalError};

/// What the vote of a neighbour weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Vote {
    /// 1.
    Uniform,
    /// `exp(cosine / temperature)`, as DINO evaluates (Caron et al., 2021, arXiv 2104.14294; 0.07 there).
    Softmax {
        /// Above 0.
        temperature: f64,
    },
}

/// How k-nearest-neighbour classification votes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnOptions {
    /// How many neighbours vote; at least 1. All known rows do where there are fewer.
    pub k: usize,
    /// What a vote weighs.
    pub vote: Vote,
}

impl Default for KnnOptions {
    /// Twenty neighbours, weighted with a temperature of 0.07: the setting of the paper's figure 2 and of DINO.
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
                ensure(valid, "temperature", temperature, "a finite number above 0")
            }
        }
    }
}

/// The class of each query by the vote of its nearest known rows by cosine. Of classes with equal votes the one with
/// the lowest number wins; of known rows at equal distance those with the lowest numbers vote.
///
/// Memory beyond the features is a few blocks. How well features do here says how well they cluster, which the paper
/// found to predict how well they align (arXiv 2412.04616, figure 2).
///
/// # Shapes
/// - known: `[n, dim]`
/// - labels: for each known row, its class
/// - queries: `[n_queries, dim]`
/// - result: for each query, its class
///
/// # Errors
/// [`EvalError`] for options out of their range, sides that are empty or differ in dimension, labels of another length
/// or not less than `n_classes`, embeddings that are not finite or all zeros, and when the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, KnnOptions, knn_classify};
/// let device = Device::flex();
/// let known = Tensor::<2>::from_floats([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], &device);
/// let queries = Tensor::<2>::from_floats([[2.0, 0.3], [0.1, 5.0]], &device);
/// let found = knn_classify(known, &[0, 0, 1], 2, queries, &KnnOptions::default(), &BlockSize::default())?;
/// assert_eq!(found, [0, 1]);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn knn_classify(
    known: Tensor<2>,
    labels: &[usize],
    n_classes: usize,
    queries: Tensor<2>,
    options: &KnnOptions,
    block: &BlockSize,
) -> Result<Vec<usize>, EvalError> {
    options.check()?;
    block.check()?;
    let known = UnitRows::new(known, "known row")?;
    let queries = UnitRows::new(queries, "query")?;
    same_dim(&queries, &known)?;
    count_classes(labels, n_classes, known.len(), "known row")?;
    let k = options.k.min(known.len());
    let mut classes = Vec::with_capacity(queries.len());
    let (mut votes, mut voters) = (BTreeMap::<usize, f64>::new(), 0);
    search(&queries, &known, k, false, block, |found| {
        let weight = match options.vote {
            Vote::Uniform => 1.0,
            // Relative to a cosine of 1, so that nothing overflows.
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

/// The class with the most votes, the lowest of several.
fn winner(votes: &BTreeMap<usize, f64>) -> Option<usize> {
    let most = votes.values().copied().fold(f64::NEG_INFINITY, f64::max);
    votes.iter().find(|(_, votes)| **votes == most).map(|(&class, _)| class)
}

/// The percentage of predictions that are the label.
///
/// # Errors
/// [`EvalError::Empty`] without a prediction, [`EvalError::Length`] unless there is a label for each.
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
    let hits = predictions.iter().zip(labels).filter(|(found, label)| found == label).count();
    Ok(100.0 * hits as f64 / labels.len() as f64)
}
