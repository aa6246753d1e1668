//! Mutual k-nearest neighbours.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{Check, ensure};

use super::chance::{Measured, Permutations};
use super::moments::check_pairs;
use crate::top_k::search;
use crate::unit_rows::UnitRows;
use crate::{BlockSize, EvalError};

/// Computes the mutual k-nearest-neighbour alignment (Huh et al. 2024, arXiv 2405.07987): the mean share of the `k` nearest
/// rows, by cosine and without the row itself, that are common to both sets.
///
/// In 0 to 1, with an expectation of `k / (n - 1)` for unrelated rows. The paper uses `k = 10`. Memory beyond the features
/// is `2 n k` indices and a few blocks; permutations reuse the lists of neighbours.
///
/// # Shapes
/// - first: `[n, first_dim]`
/// - second: `[n, second_dim]`, row `i` paired with row `i` of the first
///
/// # Errors
/// [`EvalError`] for sets of different lengths, if `k` is 0 or not less than the number of rows, for features that are not
/// finite or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, Permutations, mutual_knn};
/// let device = Device::flex();
/// let first = Tensor::<2>::from_floats([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], &device);
/// let second = Tensor::<2>::from_floats([[3.0, 0.1], [2.0, 0.0], [0.2, 2.0], [5.0, 1.0]], &device);
/// let found = mutual_knn(first, second, 1, &Permutations { count: 0, seed: 0 }, &BlockSize::default())?;
/// assert_eq!(found.value, 0.75); // the neighbour of the fourth row differs
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn mutual_knn(
    first: Tensor<2>,
    second: Tensor<2>,
    k: usize,
    permutations: &Permutations,
    block: &BlockSize,
) -> Result<Measured, EvalError> {
    block.check()?;
    let first = UnitRows::new(first, "first row")?;
    let second = UnitRows::new(second, "second row")?;
    check_pairs(&first, &second, 2)?;
    let n = first.len();
    ensure((1..n).contains(&k), "k", k, format_args!("1 to {}, less than the number of rows", n - 1))?;
    let lists = [neighbours(&first, k, block)?, neighbours(&second, k, block)?];
    let identity: Vec<usize> = (0..n).collect();
    let value = agreement(&lists, k, &identity);
    permutations.test(value, n, |order| Ok(agreement(&lists, k, order)))
}

/// The indices of the `k` nearest other rows of each row.
fn neighbours(rows: &UnitRows, k: usize, block: &BlockSize) -> Result<Vec<u32>, EvalError> {
    let mut lists = Vec::with_capacity(rows.len() * k);
    search(rows, rows, k, true, block, |found| lists.push(found.index as u32))?;
    Ok(lists)
}

/// The mean share of common neighbours, with row `i` of the first set paired with row `order[i]` of the second.
fn agreement(lists: &[Vec<u32>; 2], k: usize, order: &[usize]) -> f64 {
    let common: usize = lists[0]
        .par_chunks_exact(k)
        .zip(order)
        .map(|(own, &paired)| {
            let others = &lists[1][paired * k..][..k];
            own.iter().filter(|&&neighbour| others.contains(&(order[neighbour as usize] as u32))).count()
        })
        .sum();
    common as f64 / lists[0].len() as f64
}
