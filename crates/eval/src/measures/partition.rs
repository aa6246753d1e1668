//! Agreement of two partitions of the same rows.

use std::collections::BTreeMap;

use crate::EvalError;

/// Returns the normalised mutual information of two partitions, `2 I(a; b) / (H(a) + H(b))`.
///
/// In 0 to 1, invariant to a renaming of clusters; 1 if both partitions have a single cluster. Its expectation for random
/// partitions is above 0 and grows with the number of clusters.
///
/// # Errors
/// [`EvalError::Empty`] without rows, [`EvalError::Length`] for partitions of different lengths.
///
/// # Examples
/// ```
/// let same = sail_eval::normalized_mutual_information(&[0, 0, 1, 1], &[5, 5, 3, 3])?;
/// assert!((same - 1.0).abs() < 1e-12);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn normalized_mutual_information(a: &[usize], b: &[usize]) -> Result<f64, EvalError> {
    let table = Contingency::new(a, b)?;
    let n = table.n;
    let entropy = |counts: &BTreeMap<usize, f64>| -> f64 {
        counts.values().map(|count| -(count / n) * (count / n).ln()).sum()
    };
    let (first, second) = (entropy(&table.first), entropy(&table.second));
    if first + second == 0.0 {
        return Ok(1.0);
    }
    let information: f64 = table
        .joint
        .iter()
        .map(|((a, b), count)| count / n * (count * n / (table.first[a] * table.second[b])).ln())
        .sum();
    Ok((2.0 * information / (first + second)).clamp(0.0, 1.0))
}

/// Returns the adjusted Rand index of two partitions (Hubert and Arabie 1985): the share of pairs of rows that both put
/// together or both separate, scaled so that its expectation for random partitions is 0 and equal partitions have 1.
///
/// # Errors
/// [`EvalError::Empty`] without rows, [`EvalError::Length`] for partitions of different lengths.
///
/// # Examples
/// ```
/// let index = sail_eval::adjusted_rand_index(&[0, 0, 1, 1], &[0, 0, 1, 2])?;
/// assert!((index - 4.0 / 7.0).abs() < 1e-12);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn adjusted_rand_index(a: &[usize], b: &[usize]) -> Result<f64, EvalError> {
    let table = Contingency::new(a, b)?;
    let pairs = |count: &f64| count * (count - 1.0) / 2.0;
    let joint: f64 = table.joint.values().map(pairs).sum();
    let first: f64 = table.first.values().map(pairs).sum();
    let second: f64 = table.second.values().map(pairs).sum();
    let expected = if table.n > 1.0 { first * second / pairs(&table.n) } else { 0.0 };
    let maximum = (first + second) / 2.0;
    // Both have a single cluster, or both only clusters of one row.
    Ok(if maximum == expected { 1.0 } else { (joint - expected) / (maximum - expected) })
}

/// The contingency table. Ordered maps, because the order of a sum of floats affects its last bits.
struct Contingency {
    n: f64,
    joint: BTreeMap<(usize, usize), f64>,
    first: BTreeMap<usize, f64>,
    second: BTreeMap<usize, f64>,
}

impl Contingency {
    fn new(a: &[usize], b: &[usize]) -> Result<Self, EvalError> {
        if a.is_empty() {
            return Err(EvalError::Empty { what: "row" });
        }
        if a.len() != b.len() {
            let (found, expected) = (b.len(), a.len());
            return Err(EvalError::Length { what: "clusters", found, expected, of: "row" });
        }
        let mut table = Self {
            n: a.len() as f64,
            joint: BTreeMap::new(),
            first: BTreeMap::new(),
            second: BTreeMap::new(),
        };
        for (&a, &b) in a.iter().zip(b) {
            *table.joint.entry((a, b)).or_default() += 1.0;
            *table.first.entry(a).or_default() += 1.0;
            *table.second.entry(b).or_default() += 1.0;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_partitions_have_limit_values() {
        let nmi = |a: &[usize], b: &[usize]| normalized_mutual_information(a, b).unwrap();
        let ari = |a: &[usize], b: &[usize]| adjusted_rand_index(a, b).unwrap();
        assert_eq!((nmi(&[0, 0], &[1, 1]), ari(&[0, 0], &[1, 1])), (1.0, 1.0));
        assert_eq!((nmi(&[0, 0, 0], &[0, 1, 2]), ari(&[0, 0, 0], &[0, 1, 2])), (0.0, 0.0));
        assert_eq!(ari(&[0, 1, 2], &[2, 1, 0]), 1.0);
        assert_eq!(ari(&[0], &[0]), 1.0);
        // Less agreement than by chance.
        assert!((ari(&[0, 0, 1, 1], &[0, 1, 0, 1]) + 0.5).abs() < 1e-12);
        assert!(matches!(normalized_mutual_information(&[0], &[]), Err(EvalError::Length { .. })));
        assert!(matches!(adjusted_rand_index(&[], &[]), Err(EvalError::Empty { .. })));
    }

    #[test]
    fn results_are_bit_identical_across_calls() {
        let a: Vec<usize> = (0..500).map(|row| row * 7919 % 61).collect();
        let b: Vec<usize> = (0..500).map(|row| row * row % 47).collect();
        let measure = || {
            let nmi = normalized_mutual_information(&a, &b).unwrap();
            [nmi.to_bits(), adjusted_rand_index(&a, &b).unwrap().to_bits()]
        };
        let first = measure();
        assert!((0..50).all(|_| measure() == first));
    }
}
