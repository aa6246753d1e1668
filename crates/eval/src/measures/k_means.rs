//! Spherical k-means.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use sail_core::ensure;
use sail_support::ranges;

use super::k_means_plus_plus::k_means_plus_plus;
use crate::groups::group_sums;
use crate::unit_rows::{UnitRows, product_transposed};
use crate::{BlockSize, EvalError};

/// Options of [`k_means`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KMeansOptions {
    /// Number of clusters, 1 to the number of rows.
    pub clusters: usize,
    /// Number of initialisations, at least 1. The one whose clusters are best after two iterations is continued.
    pub restarts: usize,
    /// Maximum number of iterations, at least 1. Fewer if the clusters stay the same, or the mean distance decreases by less
    /// than one part in 10,000.
    pub iterations: usize,
    /// Seed of the initial centres.
    pub seed: u64,
}

impl KMeansOptions {
    /// Creates options with 4 initialisations and at most 100 iterations.
    pub fn new(clusters: usize) -> Self {
        Self { clusters, restarts: 4, iterations: 100, seed: 0 }
    }
}

/// Clusters rows by spherical k-means (Dhillon and Modha 2001), which assigns each row to the cluster whose mean direction
/// has the highest cosine, with the initialisation of k-means++ (Arthur and Vassilvitskii 2007).
///
/// The result depends on the rows and the options only, not on the number of threads. Memory beyond the features is that of the
/// centres and a few blocks.
///
/// The agreement of clusters with classes, by [`normalized_mutual_information`](crate::normalized_mutual_information) or
/// [`adjusted_rand_index`](crate::adjusted_rand_index), measures how well the features cluster.
///
/// # Shapes
/// - rows: `[n, dim]`
/// - output: for each row, the index of its cluster
///
/// # Errors
/// [`EvalError`] for options out of range, features that are not finite or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{KMeansOptions, k_means};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.1, 1.0], [5.0, 0.2], [0.0, 3.0]], &Device::flex());
/// let clusters = k_means(rows, &KMeansOptions::new(2))?;
/// assert!(clusters[0] == clusters[2] && clusters[1] == clusters[3] && clusters[0] != clusters[1]);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn k_means(rows: Tensor<2>, options: &KMeansOptions) -> Result<Vec<usize>, EvalError> {
    let rows = UnitRows::new(rows, "row")?;
    let n = rows.len();
    let clusters = options.clusters;
    ensure((1..=n).contains(&clusters), "clusters", clusters, format_args!("1 to {n}, the number of rows"))?;
    ensure(options.restarts > 0, "restarts", options.restarts, "at least 1")?;
    ensure(options.iterations > 0, "iterations", options.iterations, "at least 1")?;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let early = EARLY.min(options.iterations);
    let mut best: Option<Run> = None;
    for _ in 0..options.restarts {
        let centres = k_means_plus_plus(&rows, clusters, &mut rng)?;
        let mut run = Run { found: assign(&rows, &centres)?, converged: false };
        run.iterate(&rows, clusters, early)?;
        if best.as_ref().is_none_or(|best| run.found.total() > best.found.total()) {
            best = Some(run);
        }
    }
    let Some(mut best) = best else { return Ok(Vec::new()) };
    best.iterate(&rows, clusters, options.iterations - early)?;
    Ok(best.found.cluster)
}

/// Iterations before initialisations are compared.
const EARLY: usize = 2;
/// Relative decrease of the mean squared distance below which iterations end.
const TOLERANCE: f64 = 1e-4;

struct Run {
    found: Assignment,
    converged: bool,
}

impl Run {
    fn iterate(&mut self, rows: &UnitRows, clusters: usize, iterations: usize) -> Result<(), EvalError> {
        for _ in 0..iterations {
            if self.converged {
                break;
            }
            let next = assign(rows, &means(rows, &self.found, clusters)?)?;
            let distance = |found: &Assignment| rows.len() as f64 - found.total();
            let decrease = distance(&self.found) - distance(&next);
            self.converged =
                next.cluster == self.found.cluster || decrease < TOLERANCE * distance(&self.found);
            self.found = next;
        }
        Ok(())
    }
}

/// The cluster of every row and its cosine with it.
struct Assignment {
    cluster: Vec<usize>,
    score: Vec<f32>,
}

impl Assignment {
    fn total(&self) -> f64 {
        self.score.iter().map(|&score| f64::from(score)).sum()
    }
}

fn assign(rows: &UnitRows, centres: &[f32]) -> Result<Assignment, EvalError> {
    let width = centres.len() / rows.dim();
    let centres = rows.upload_transposed(centres);
    let mut found = Assignment { cluster: Vec::new(), score: Vec::new() };
    for range in ranges(rows.len(), BlockSize::SEARCH.rows) {
        let mut cosines = product_transposed(&rows.upload(rows.read(range)?), &centres)?;
        let best = |cosines: &[f32]| {
            // The first of several equal cosines.
            cosines.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (cluster, &cosine)| {
                if cosine > best.1 { (cluster, cosine) } else { best }
            })
        };
        let (cluster, score): (Vec<usize>, Vec<f32>) =
            cosines.values()?.par_chunks_exact(width).map(best).unzip();
        found.cluster.extend(cluster);
        found.score.extend(score);
    }
    Ok(found)
}

/// The mean direction of every cluster. An empty cluster moves to a row that is farthest from its own centre.
fn means(rows: &UnitRows, found: &Assignment, clusters: usize) -> Result<Vec<f32>, EvalError> {
    let dim = rows.dim();
    let sums = group_sums(rows, clusters, |row| found.cluster[row])?;
    let mut farthest: Vec<usize> = (0..rows.len()).collect();
    farthest.sort_by(|&a, &b| found.score[a].total_cmp(&found.score[b]));
    let mut farthest = farthest.into_iter();
    let mut centres = Vec::with_capacity(sums.len());
    for sum in sums.chunks_exact(dim) {
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        match farthest.as_slice().first() {
            Some(&row) if norm < 1e-6 => {
                farthest.next();
                centres.extend(rows.gather(&[row])?);
            }
            _ => centres.extend(sum.iter().map(|value| (value / norm) as f32)),
        }
    }
    Ok(centres)
}
