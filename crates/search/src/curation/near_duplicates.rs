//! Near-duplicate rows.

use std::collections::BTreeMap;

use sail_core::{Check, ConfigError, FeatureSource, Progress, ensure};
use serde::{Deserialize, Serialize};

use super::CurationError;
use super::nearest::Near;
use super::visit::visit;

/// Rounding of unit vectors in f32, so that equal rows have a cosine of 1.
pub(super) const ROUNDING: f64 = 1e-6;

/// What counts as a near-duplicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuplicateConfig {
    /// The cosine similarity from which on two rows are near-duplicates, above 0 and at most 1.
    pub threshold: f64,
}

impl Default for DuplicateConfig {
    fn default() -> Self {
        Self { threshold: 0.95 }
    }
}

impl Check for DuplicateConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let valid = self.threshold > 0.0 && self.threshold <= 1.0;
        ensure(valid, "threshold", self.threshold, "above 0 and at most 1")
    }
}

/// A row that has a near-duplicate among the rows that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Duplicate {
    /// Index of the row.
    pub row: usize,
    /// Index of the kept row.
    pub kept: usize,
    /// Their cosine similarity; of pairs, that of the images.
    pub similarity: f64,
    /// Of pairs, the cosine similarity of the captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_similarity: Option<f64>,
}

/// A row that is kept, with its near-duplicates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// Index of the kept row.
    pub kept: usize,
    /// The near-duplicates, in the order of their rows; at least one.
    pub duplicates: Vec<Duplicate>,
}

/// The near-duplicates of a set of rows; the other rows are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NearDuplicates {
    rows: usize,
    duplicates: Vec<Duplicate>,
}

impl NearDuplicates {
    /// `duplicates` are in the order of their rows.
    pub(super) fn new(rows: usize, duplicates: impl Iterator<Item = Duplicate>) -> Self {
        Self { rows, duplicates: duplicates.collect() }
    }

    /// Returns the near-duplicates in the order of their rows.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// Returns whether a row is kept.
    #[must_use]
    pub fn keeps(&self, row: usize) -> bool {
        row < self.rows && self.duplicates.binary_search_by_key(&row, |found| found.row).is_err()
    }

    /// Returns the number of rows that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.rows - self.duplicates.len()
    }

    /// Returns the clusters of at least two rows, the largest first, and of equally large ones the one whose kept row comes
    /// first.
    #[must_use]
    pub fn clusters(&self) -> Vec<Cluster> {
        let mut by_kept: BTreeMap<usize, Vec<Duplicate>> = BTreeMap::new();
        self.duplicates.iter().for_each(|found| by_kept.entry(found.kept).or_default().push(*found));
        let mut clusters: Vec<Cluster> =
            by_kept.into_iter().map(|(kept, duplicates)| Cluster { kept, duplicates }).collect();
        // Stable, so equally large clusters stay in the order of the kept rows.
        clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.duplicates.len()));
        clusters
    }
}

/// Finds the near-duplicates of a set of rows.
///
/// Rows are visited in order. A row with a cosine of at least `threshold` to a row that was kept before is a near-duplicate,
/// of the most similar of them; any other row is kept. So each near-duplicate has one that is kept, no two rows that are kept
/// are near-duplicates, and the first row of a cluster is the one that is kept. (Connected components, the alternative, chain:
/// the ends of a chain of similar rows may have nothing in common, and only one of them would remain.)
///
/// The result does not depend on the number of threads: products in f32 are a filter, and cosines close to the threshold are
/// those of f64 arithmetic on unit rows, with a tolerance of 1e-6. The time is that of comparing all rows with those that are
/// kept. `progress` counts rows.
///
/// # Errors
/// [`CurationError::Config`] for an invalid threshold, [`CurationError::Features`] for rows that cannot be read or have no
/// direction.
///
/// # Examples
/// ```
/// use sail_data::MatrixFeatures;
/// use sail_search::curation::{DuplicateConfig, near_duplicates};
/// let rows = MatrixFeatures::new(2, vec![1.0, 0.0, 0.0, 1.0, 2.0, 0.1])?;
/// let found = near_duplicates(&rows, &DuplicateConfig::default(), |_| {})?;
/// assert_eq!((found.duplicates()[0].row, found.duplicates()[0].kept), (2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn near_duplicates(
    source: &dyn FeatureSource,
    config: &DuplicateConfig,
    progress: impl FnMut(Progress) + Send,
) -> Result<NearDuplicates, CurationError> {
    blockwise(source, config, None, progress)
}

/// [`near_duplicates`] with blocks of a number of rows, or as many as fit.
fn blockwise(
    source: &dyn FeatureSource,
    config: &DuplicateConfig,
    block: Option<usize>,
    progress: impl FnMut(Progress),
) -> Result<NearDuplicates, CurationError> {
    config.check()?;
    let near = Near { floors: [config.threshold - ROUNDING], any: false };
    let _span = tracing::info_span!("near_duplicates", rows = source.rows(), dim = source.dim()).entered();
    let found = visit([source], &near, block, progress)?;
    let duplicate = |(row, kept, [similarity]): (usize, usize, [f64; 1])| Duplicate {
        row,
        kept,
        similarity,
        text_similarity: None,
    };
    Ok(NearDuplicates::new(source.rows(), found.into_iter().map(duplicate)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sail_data::MatrixFeatures;

    use super::*;

    /// Rows around a few centers, so that many are near-duplicates, and some equal.
    fn clustered(rows: usize, dim: usize, centers: usize, noise: f32, seed: u64) -> Vec<f32> {
        let mut state = seed | 1;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        let of_centers: Vec<f32> = (0..centers * dim).map(|_| random()).collect();
        let mut values = Vec::with_capacity(rows * dim);
        for row in 0..rows {
            let center = (row * 7 + row / 3) % centers;
            let noise = if row % 5 == 0 { 0.0 } else { noise };
            let scale = 1.0 + (row % 4) as f32;
            values.extend(
                of_centers[center * dim..][..dim].iter().map(|value| scale * (value + noise * random())),
            );
        }
        values
    }

    /// The definition, in f64 and without blocks.
    fn oracle(values: &[f32], dim: usize, threshold: f64) -> Vec<(usize, usize)> {
        let rows: Vec<Vec<f64>> = values
            .chunks(dim)
            .map(|row| {
                let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                row.iter().map(|&x| f64::from(x) / norm).collect()
            })
            .collect();
        let (mut kept, mut found): (Vec<usize>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
        for (row, values) in rows.iter().enumerate() {
            let cosine = |other: usize| rows[other].iter().zip(values).map(|(a, b)| a * b).sum::<f64>();
            let mut best: Option<(usize, f64)> = None;
            for &other in &kept {
                let cosine = cosine(other);
                if cosine >= threshold - 1e-6 && best.is_none_or(|(_, best)| cosine > best) {
                    best = Some((other, cosine));
                }
            }
            match best {
                Some((other, _)) => found.push((row, other)),
                None => kept.push(row),
            }
        }
        found
    }

    fn found(values: &[f32], dim: usize, threshold: f64, block: usize) -> Vec<(usize, usize)> {
        let source = MatrixFeatures::new(dim, values.to_vec()).unwrap();
        let found = blockwise(&source, &DuplicateConfig { threshold }, Some(block), |_| {}).unwrap();
        assert_eq!(found.kept() + found.duplicates().len(), values.len() / dim);
        found.duplicates().iter().map(|found| (found.row, found.kept)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn blocks_find_what_the_definition_says(
            rows in 1usize..400, dim in 1usize..40, centers in 1usize..60, noise in 0.0f32..0.6,
            threshold in 0.5f64..1.0, block in 1usize..500, seed: u64,
        ) {
            let values = clustered(rows, dim, centers, noise, seed);
            prop_assert_eq!(found(&values, dim, threshold, block), oracle(&values, dim, threshold));
        }
    }

    #[test]
    fn several_groups_and_blocks_find_the_same() {
        let values = clustered(5000, 16, 900, 0.15, 3);
        let expected = oracle(&values, 16, 0.97);
        assert!(expected.len() > 500 && expected.len() < 4500, "{}", expected.len());
        for block in [1024, 1500, 8192] {
            assert_eq!(found(&values, 16, 0.97, block), expected, "{block}");
        }
    }

    #[test]
    fn equal_rows_are_near_duplicates_at_a_threshold_of_one() {
        let row: Vec<f32> = (0..384).map(|x| ((x * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let values = [row.clone(), row.iter().map(|x| x * 3.1).collect(), row].concat();
        assert_eq!(found(&values, 384, 1.0, 1024), [(1, 0), (2, 0)]);
    }

    #[test]
    fn a_chain_keeps_what_is_not_similar_to_the_first() {
        let at = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let values = [at(0.0), at(15.0), at(30.0), at(45.0)].concat();
        let source = MatrixFeatures::new(2, values).unwrap();
        let found = near_duplicates(&source, &DuplicateConfig::default(), |_| {}).unwrap();
        let clusters: Vec<(usize, usize)> =
            found.clusters().iter().map(|cluster| (cluster.kept, cluster.duplicates[0].row)).collect();
        assert_eq!(clusters, [(0, 1), (2, 3)]);
        assert!((found.duplicates()[0].similarity - 15f64.to_radians().cos()).abs() < 1e-6);
        assert!(found.keeps(0) && found.keeps(2) && !found.keeps(3) && !found.keeps(4));
    }

    #[test]
    fn rejects_thresholds_and_rows_without_a_direction() {
        let rows = MatrixFeatures::new(1, vec![1.0, 0.0]).unwrap();
        for threshold in [0.0, 1.1, f64::NAN] {
            let error = near_duplicates(&rows, &DuplicateConfig { threshold }, |_| {}).unwrap_err();
            assert!(error.to_string().starts_with("`threshold` is"), "{error}");
        }
        let error = near_duplicates(&rows, &DuplicateConfig::default(), |_| {}).unwrap_err();
        assert!(error.to_string().contains("row 1 (key `1`) is all zeros"), "{error}");
    }
}
