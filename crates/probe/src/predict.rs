//! Does a number that is known before the training predict what the training gives?

use sail_eval::{Bootstrap, Interval, pearson, spearman};
use serde::{Deserialize, Serialize};

use crate::hits::Hits;

/// What a predictor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The features of a pair as they are.
    Pair,
    /// The classes of the images, and the image features alone.
    ImageClasses,
    /// The classes of the images, and the text features alone.
    TextClasses,
    /// An aligner in closed form.
    ClosedForm,
}

/// A number that every pair has before it is trained, and how it goes with the trained score over all pairs.
///
/// Intervals come from samples of the held-out pairs: they say how sure the scores are, not how other encoders would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictor {
    /// What it is.
    pub name: String,
    /// What it takes.
    pub basis: Basis,
    /// Its value for every pair, in their order.
    pub values: Vec<f64>,
    /// Pearson's correlation with the trained score; `None` where all values are the same or there is one pair.
    pub pearson: Option<f64>,
    /// Its interval.
    pub pearson_interval: Option<Interval>,
    /// Spearman's correlation: 1 where it ranks the pairs as training does.
    pub spearman: Option<f64>,
    /// Its interval.
    pub spearman_interval: Option<Interval>,
}

/// A predictor before it is judged: a number for each pair, or what it is the mean of.
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'static str,
    pub(crate) basis: Basis,
    pub(crate) values: Values<'a>,
}

pub(crate) enum Values<'a> {
    /// Measured on other rows than the held-out ones.
    Fixed(Vec<f64>),
    /// Measured on the held-out pairs, with which they are resampled.
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

/// The intervals of the trained scores, and every predictor with its correlations.
pub(crate) fn judge(
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
        // A sample in which all scores come out the same has no correlation and says nothing.
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
