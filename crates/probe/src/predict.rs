//! How well values known before training predict the trained score.

use sail_eval::{Bootstrap, Interval, pearson, spearman};
use serde::{Deserialize, Serialize};

use crate::hits::Hits;

/// What a predictor is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The unaligned features of a pair.
    Pair,
    /// Image features and class labels.
    ImageClasses,
    /// Text features and class labels.
    TextClasses,
    /// A closed-form aligner.
    ClosedForm,
}

/// A value of every pair that is known before training, and its correlation with the trained score over the pairs.
///
/// Intervals are bootstrapped over the held-out pairs: they reflect the uncertainty of the scores, not the choice of
/// encoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictor {
    /// Name of the measure.
    pub name: String,
    /// What it is computed from.
    pub basis: Basis,
    /// Its value for every pair, in the order of the pairs.
    pub values: Vec<f64>,
    /// Pearson correlation with the trained score; `None` if all values are equal or there is a single pair.
    pub pearson: Option<f64>,
    /// Bootstrap interval of the Pearson correlation.
    pub pearson_interval: Option<Interval>,
    /// Spearman correlation: 1 if it ranks the pairs like the trained score.
    pub spearman: Option<f64>,
    /// Bootstrap interval of the Spearman correlation.
    pub spearman_interval: Option<Interval>,
}

/// A predictor without its correlations.
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'static str,
    pub(crate) basis: Basis,
    pub(crate) values: Values<'a>,
}

pub(crate) enum Values<'a> {
    /// A value for each pair of encoders, not computed on the held-out pairs.
    Fixed(Vec<f64>),
    /// Means over the held-out pairs, which are resampled with them.
    Means(Vec<&'a Hits>),
}

impl Values<'_> {
    fn of(&self, mean: impl Fn(&Hits) -> f64) -> Vec<f64> {
        match self {
            Self::Fixed(values) => values.clone(),
            Self::Means(hits) => hits.iter().map(|hits| mean(hits)).collect(),
        }
    }
}

/// Returns the intervals of the trained scores, and every predictor with its correlations.
pub(crate) fn evaluate(
    trained: &[&Hits],
    candidates: &[Candidate<'_>],
    bootstrap: &Bootstrap,
) -> Result<(Vec<Interval>, Vec<Predictor>), sail_eval::EvalError> {
    let rows = trained.first().map_or(0, |hits| hits.len());
    let samples = bootstrap.samples(rows, |sample| {
        let scores: Vec<f64> = trained.iter().map(|hits| hits.mean_of(sample)).collect();
        let correlations: Vec<[Option<f64>; 2]> = candidates
            .iter()
            .map(|candidate| {
                let values = candidate.values.of(|hits| hits.mean_of(sample));
                [pearson(&values, &scores), spearman(&values, &scores)]
            })
            .collect();
        (scores, correlations)
    })?;
    let intervals = (0..trained.len())
        .filter_map(|pair| Interval::of(samples.iter().map(|(scores, _)| scores[pair]).collect()))
        .collect();
    let scores: Vec<f64> = trained.iter().map(|hits| hits.mean()).collect();
    let predictor = |(index, candidate): (usize, &Candidate<'_>)| {
        let values = candidate.values.of(Hits::mean);
        let correlation = pearson(&values, &scores);
        // A sample in which all scores are equal has no correlation and is left out.
        let interval = |which: usize| {
            let found = samples.iter().filter_map(|(_, correlations)| correlations[index][which]).collect();
            correlation.and(Interval::of(found))
        };
        Predictor {
            name: candidate.name.to_owned(),
            basis: candidate.basis,
            pearson: correlation,
            pearson_interval: interval(0),
            spearman: spearman(&values, &scores),
            spearman_interval: interval(1),
            values,
        }
    };
    Ok((intervals, candidates.iter().enumerate().map(predictor).collect()))
}
