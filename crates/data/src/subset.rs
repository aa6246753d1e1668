//! Random subsets of features by their keys.

use std::collections::BTreeSet;

use sail_core::{FeatureError, FeatureSource};
use sha2::{Digest, Sha256};

use crate::keys::for_each_key;

/// Distinguishes subsets from holdouts, which are chosen by hashes of seed and key as well.
const PREFIX: &[u8] = b"subset";

/// Returns the rows of `count` keys chosen at random, in order; all rows if there are fewer keys. All rows of a chosen key
/// are kept.
///
/// The keys with the lowest hashes of seed and key are chosen, so images and captions with the same keys have the same
/// subset, and a smaller one is a part of a larger one.
///
/// # Errors
/// Those of reading the keys.
///
/// # Examples
/// ```
/// use sail_data::{MatrixFeatures, subset_by_count};
/// let captions = MatrixFeatures::new(1, vec![1.0; 4])?.with_keys(["a", "b", "a", "b"])?;
/// let rows = subset_by_count(&captions, 1, 42)?;
/// assert!(rows == [0, 2] || rows == [1, 3]);
/// # Ok::<(), sail_data::DataError>(())
/// ```
pub fn subset_by_count(
    source: &dyn FeatureSource,
    count: usize,
    seed: u64,
) -> Result<Vec<usize>, FeatureError> {
    let mut lowest = BTreeSet::new();
    for_each_key(
        source,
        source.rows(),
        |row| row,
        |key| hash(seed, key),
        |_, hash| {
            lowest.insert(hash);
            if lowest.len() > count {
                lowest.pop_last();
            }
            Ok(())
        },
    )?;
    match lowest.last() {
        Some(&last) => rows_up_to(source, last, seed),
        None => Ok(Vec::new()),
    }
}

/// Returns the rows of a fraction of all keys, 0 to 1, in order: every key is kept with this probability. Unlike
/// [`subset_by_count`], whether a key is kept does not depend on which others there are.
///
/// # Errors
/// Those of reading the keys.
pub fn subset_by_fraction(
    source: &dyn FeatureSource,
    fraction: f64,
    seed: u64,
) -> Result<Vec<usize>, FeatureError> {
    // Casts from floats saturate.
    let last = (fraction.clamp(0.0, 1.0) * u128::MAX as f64) as u128;
    rows_up_to(source, last, seed)
}

/// The rows whose keys have a hash up to a bound.
fn rows_up_to(source: &dyn FeatureSource, last: u128, seed: u64) -> Result<Vec<usize>, FeatureError> {
    let mut rows = Vec::new();
    for_each_key(
        source,
        source.rows(),
        |row| row,
        |key| hash(seed, key) <= last,
        |row, chosen| {
            if chosen {
                rows.push(row);
            }
            Ok(())
        },
    )?;
    Ok(rows)
}

/// The first half of a SHA-256. Two of a billion keys share it with a probability of about 1e-21.
fn hash(seed: u64, key: &str) -> u128 {
    let mut hash = Sha256::new();
    for part in [PREFIX, &seed.to_le_bytes(), key.as_bytes()] {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().map_or(0, |&bytes| u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    fn features(keys: impl Iterator<Item = usize>) -> MatrixFeatures {
        let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
        MatrixFeatures::new(1, vec![1.0; keys.len()]).unwrap().with_keys(keys).unwrap()
    }

    fn keys(source: &MatrixFeatures, rows: &[usize]) -> BTreeSet<String> {
        source.keys(rows).unwrap().into_iter().collect()
    }

    #[test]
    fn images_and_captions_have_the_same_subset() {
        let (images, captions) = (features(0..1000), features((0..3000).rev().map(|row| row / 3)));
        let chosen = subset_by_count(&images, 100, 7).unwrap();
        assert!(chosen.len() == 100 && chosen.is_sorted());
        let of_captions = subset_by_count(&captions, 100, 7).unwrap();
        assert_eq!((of_captions.len(), keys(&captions, &of_captions)), (300, keys(&images, &chosen)));
        assert!(keys(&images, &subset_by_count(&images, 40, 7).unwrap()).is_subset(&keys(&images, &chosen)));
        assert_ne!(subset_by_count(&images, 100, 8).unwrap(), chosen);
        assert_eq!(subset_by_count(&images, 5000, 7).unwrap().len(), 1000);
        assert_eq!(subset_by_count(&images, 0, 7).unwrap(), [0; 0]);
    }

    #[test]
    fn a_fraction_does_not_depend_on_other_keys() {
        let (all, some) = (features(0..1000), features(0..500));
        let chosen = subset_by_fraction(&all, 0.25, 3).unwrap();
        assert!((200..300).contains(&chosen.len()), "{}", chosen.len());
        let expected: Vec<usize> = chosen.iter().copied().filter(|&row| row < 500).collect();
        assert_eq!(subset_by_fraction(&some, 0.25, 3).unwrap(), expected);
        assert_eq!(subset_by_fraction(&all, 1.0, 3).unwrap().len(), 1000);
        assert_eq!(subset_by_fraction(&all, 0.0, 3).unwrap().len(), 0);
    }
}
