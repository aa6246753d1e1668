//! How far two partitions of the same rows agree: pure functions.

use std::collections::HashMap;

use crate::EvalError;

/// Normalised mutual information of two partitions: `2 I(a; b) / (H(a) + H(b))`.
///
/// In 0 to 1, whatever the clusters are called; 1 where both put all rows together. Chance does not give 0, and gives
/// more the more clusters there are.
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
    let entropy = |counts: &HashMap<usize, f64>| -> f64 {
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

/// The adjusted Rand index of two partitions (Hubert and Arabie, 1985): the share of pairs of rows that both treat alike,
/// so scaled that chance gives 0 and equal partitions 1.
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
    let most = (first + second) / 2.0;
    // Both put all rows together, or both each alone.
    Ok(if most == expected { 1.0 } else { (joint - expected) / (most - expected) })
}

struct Contingency {
    n: f64,
    joint: HashMap<(usize, usize), f64>,
    first: HashMap<usize, f64>,
    second: HashMap<usize, f64>,
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
        let mut table =
            Self { n: a.len() as f64, joint: HashMap::new(), first: HashMap::new(), second: HashMap::new() };
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
    fn degenerate_partitions_have_their_limits() {
        let nmi = |a: &[usize], b: &[usize]| normalized_mutual_information(a, b).unwrap();
        let ari = |a: &[usize], b: &[usize]| adjusted_rand_index(a, b).unwrap();
        assert_eq!((nmi(&[0, 0], &[1, 1]), ari(&[0, 0], &[1, 1])), (1.0, 1.0));
        assert_eq!((nmi(&[0, 0, 0], &[0, 1, 2]), ari(&[0, 0, 0], &[0, 1, 2])), (0.0, 0.0));
        assert_eq!(ari(&[0, 1, 2], &[2, 1, 0]), 1.0);
        assert_eq!(ari(&[0], &[0]), 1.0);
        // Crossed halves agree less than by chance.
        assert!((ari(&[0, 0, 1, 1], &[0, 1, 0, 1]) + 0.5).abs() < 1e-12);
        assert!(matches!(normalized_mutual_information(&[0], &[]), Err(EvalError::Length { .. })));
        assert!(matches!(adjusted_rand_index(&[], &[]), Err(EvalError::Empty { .. })));
    }
}
