//! Clusters that features fall into by themselves.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sail_core::ensure;
use sail_support::ranges;

use crate::unit_rows::{UnitRows, product};
use crate::{BlockSize, EvalError};

/// How [`k_means`] searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KMeansOptions {
    /// How many clusters; 1 to the number of rows.
    pub clusters: usize,
    /// How often it starts anew, at least 1; the best result counts.
    pub restarts: usize,
    /// Rounds at most, at least 1.
    pub iterations: usize,
    /// Where the starts come from.
    pub seed: u64,
}

impl KMeansOptions {
    /// Four starts of a hundred rounds at most.
    pub fn new(clusters: usize) -> Self {
        Self { clusters, restarts: 4, iterations: 100, seed: 0 }
    }
}

/// Spherical k-means (Dhillon and Modha, 2001): puts each row to the cluster whose mean direction has the highest cosine
/// with it, and starts as k-means++ does (Arthur and Vassilvitskii, 2007).
///
/// How well the clusters agree with classes, by [`normalized_mutual_information`](crate::normalized_mutual_information)
/// or [`adjusted_rand_index`](crate::adjusted_rand_index), says how well the features cluster.
///
/// # Shapes
/// - rows: `[n, dim]`
/// - result: for each row, its cluster, less than `clusters`
///
/// # Errors
/// [`EvalError`] for options out of their range, embeddings that are not finite or all zeros, and when the device fails.
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
    ensure((1..=n).contains(&clusters), "clusters", clusters, format_args!("1 to {n}, the rows"))?;
    ensure(options.restarts > 0, "restarts", options.restarts, "at least 1")?;
    ensure(options.iterations > 0, "iterations", options.iterations, "at least 1")?;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut best = Assignment { cluster: Vec::new(), score: Vec::new() };
    for _ in 0..options.restarts {
        let mut centres = start(&rows, clusters, &mut rng)?;
        let mut found = assign(&rows, &centres)?;
        for _ in 0..options.iterations {
            centres = means(&rows, &found, clusters)?;
            let next = assign(&rows, &centres)?;
            let settled = next.cluster == found.cluster;
            found = next;
            if settled {
                break;
            }
        }
        if best.cluster.is_empty() || found.total() > best.total() {
            best = found;
        }
    }
    Ok(best.cluster)
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
    let centres = rows.upload(centres.to_vec());
    let mut found = Assignment { cluster: Vec::new(), score: Vec::new() };
    for range in ranges(rows.len(), BlockSize::default().rows) {
        let mut cosines = product(&rows.upload(rows.read(range)?), &centres)?;
        let best = |cosines: &[f32]| {
            // The first of several that are equal.
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

/// The mean direction of every cluster. An empty one moves to one of the rows that lie farthest from theirs.
fn means(rows: &UnitRows, found: &Assignment, clusters: usize) -> Result<Vec<f32>, EvalError> {
    let dim = rows.dim();
    let mut sums = vec![0.0f64; clusters * dim];
    for range in ranges(rows.len(), BlockSize::default().rows) {
        for (row, &cluster) in rows.read(range.clone())?.chunks_exact(dim).zip(&found.cluster[range]) {
            for (sum, &value) in sums[cluster * dim..][..dim].iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
    }
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

/// Rows drawn one after the other, each with a chance that grows with its squared distance from those drawn before.
fn start(rows: &UnitRows, clusters: usize, rng: &mut ChaCha8Rng) -> Result<Vec<f32>, EvalError> {
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut distance = vec![1.0f64; rows.len()];
    let mut centres = Vec::with_capacity(clusters * rows.dim());
    for drawn in 0..clusters {
        let total: f64 = distance.iter().sum();
        let mut left = unit() * total;
        // Rows that are all drawn already, or equal to one that is, leave no distance: any will do.
        let row = distance.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        let centre = rows.gather(&[row.unwrap_or(drawn)])?;
        let tensor = rows.upload(centre.clone());
        for range in ranges(rows.len(), BlockSize::default().rows) {
            let mut cosines = product(&rows.upload(rows.read(range.clone())?), &tensor)?;
            for (distance, cosine) in distance[range].iter_mut().zip(cosines.values()?) {
                let found = (2.0 - 2.0 * f64::from(*cosine)).max(0.0);
                *distance = if drawn == 0 { found } else { distance.min(found) };
            }
        }
        centres.extend(centre);
    }
    Ok(centres)
}
