//! The initialisation of k-means++.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;
use sail_support::ranges;

use crate::unit_rows::{UnitRows, dot, product_transposed};
use crate::{BlockSize, EvalError};

/// Centres, and rejected draws, between two passes over the rows.
const BATCH: usize = 64;

/// Draws rows as centres, each with a probability proportional to its squared distance from the nearest centre before it.
///
/// A pass over all rows for every centre would take most of the time of k-means. The distances are therefore those from the
/// centres up to the last pass, and a row that is drawn by them is accepted with the probability `distance now / distance then`.
/// By rejection sampling, the distribution is that of k-means++.
///
/// # Shapes
/// - output: `[clusters, dim]`, row-major
pub(super) fn k_means_plus_plus(
    rows: &UnitRows,
    clusters: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<f32>, EvalError> {
    let (n, dim) = (rows.len(), rows.dim());
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let first = ((unit() * n as f64) as usize).min(n - 1);
    let mut centres = rows.gather(&[first])?;
    centres.reserve(clusters * dim);
    let mut distances = vec![f64::INFINITY; n];
    let mut known = 0;
    while centres.len() < clusters * dim {
        nearest(rows, &centres[known..], &mut distances)?;
        known = centres.len();
        let mut total = 0.0;
        let cumulative: Vec<f64> = distances
            .iter()
            .map(|distance| {
                total += distance;
                total
            })
            .collect();
        if total <= 0.0 {
            // Every row equals a centre: more of them are duplicates, whichever rows they are.
            let missing: Vec<usize> = (0..clusters - centres.len() / dim).collect();
            centres.extend(rows.gather(&missing)?);
            break;
        }
        let mut rejected = 0;
        while rejected < BATCH && centres.len() < (clusters * dim).min(known + BATCH * dim) {
            let place = unit() * total;
            let row = cumulative.partition_point(|&sum| sum <= place).min(n - 1);
            let candidate = rows.gather(&[row])?;
            let now = centres[known..]
                .chunks_exact(dim)
                .map(|centre| (2.0 - 2.0 * dot(centre, &candidate)).max(0.0))
                .fold(distances[row], f64::min);
            if unit() * distances[row] < now {
                centres.extend(candidate);
            } else {
                rejected += 1;
            }
        }
    }
    Ok(centres)
}

/// Lowers the squared distance of each row to that from the nearest of these centres.
fn nearest(rows: &UnitRows, centres: &[f32], distances: &mut [f64]) -> Result<(), EvalError> {
    let width = centres.len() / rows.dim();
    if width == 0 {
        return Ok(());
    }
    let centres = rows.upload_transposed(centres);
    for range in ranges(rows.len(), BlockSize::SEARCH.rows) {
        let mut cosines = product_transposed(&rows.upload(rows.read(range.clone())?), &centres)?;
        let cosines = cosines.values()?;
        distances[range].par_iter_mut().zip(cosines.par_chunks_exact(width)).for_each(
            |(distance, cosines)| {
                let highest = cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                // The rounding error of a product, for a row that equals a centre.
                let found = 2.0 - 2.0 * f64::from(highest);
                *distance = distance.min(if found < 1e-6 { 0.0 } else { found });
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn rows(values: Vec<f32>, dim: usize) -> UnitRows {
        let shape = [values.len() / dim, dim];
        UnitRows::new(Tensor::from_data(TensorData::new(values, shape), &Device::flex()), "row").unwrap()
    }

    #[test]
    fn centres_have_the_distribution_of_k_means_plus_plus() {
        // Angles of rows on a circle, with two pairs of close ones.
        let angles = [0.0f64, 0.1, 1.5, 1.7, 3.0];
        let values = angles.iter().flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
        let rows = rows(values, 2);
        let distance = |a: usize, b: usize| 2.0 - 2.0 * (angles[a] - angles[b]).cos();
        // Probabilities of every sequence of three centres, by enumeration.
        let mut expected = std::collections::BTreeMap::new();
        for a in 0..5 {
            let total: f64 = (0..5).map(|row| distance(a, row)).sum();
            for b in (0..5).filter(|&b| b != a) {
                let of = |row: usize| distance(a, row).min(distance(b, row));
                let rest: f64 = (0..5).map(of).sum();
                for c in (0..5).filter(|&c| c != a && c != b) {
                    expected.insert([a, b, c], 0.2 * distance(a, b) / total * of(c) / rest);
                }
            }
        }
        let draws = 20_000;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut found = std::collections::BTreeMap::<[usize; 3], f64>::new();
        for _ in 0..draws {
            let centres = k_means_plus_plus(&rows, 3, &mut rng).unwrap();
            let index = |centre: &[f32]| {
                let angle = f64::from(centre[1]).atan2(f64::from(centre[0]));
                angles.iter().position(|expected| (angle - expected).abs() < 1e-3).unwrap()
            };
            let drawn: Vec<usize> = centres.chunks_exact(2).map(index).collect();
            *found.entry(drawn.try_into().unwrap()).or_default() += 1.0;
        }
        // Pearson's statistic has 59 degrees of freedom; 110 is exceeded with a probability of 6e-5.
        let statistic: f64 = expected
            .iter()
            .map(|(drawn, probability)| {
                let expected = probability * f64::from(draws);
                (found.get(drawn).copied().unwrap_or(0.0) - expected).powi(2) / expected
            })
            .sum();
        assert!(statistic < 110.0, "{statistic}");
        assert_eq!(found.keys().filter(|drawn| !expected.contains_key(*drawn)).count(), 0);
    }

    #[test]
    fn duplicates_fill_up_centres_that_no_distinct_row_is_left_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let same = rows([3.0, 4.0].repeat(9), 2);
        assert_eq!(k_means_plus_plus(&same, 7, &mut rng).unwrap().len(), 14);
        let two = rows([[3.0, 4.0], [1.0, 0.0]].concat().repeat(40), 2);
        let centres = k_means_plus_plus(&two, 2, &mut rng).unwrap();
        assert!((dot(&centres[..2], &centres[2..]) - 0.6).abs() < 1e-6);
    }
}
