//! Mutual k-nearest neighbours.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{Check, ensure};

use super::calibration::Measured;
use super::moments::check_varied;
use super::permutations::Permutations;
use crate::top_k::search;
use crate::unit_rows::UnitRows;
use crate::{BlockSize, EvalError};

/// Computes the mutual k-nearest-neighbour alignment (Huh et al. 2024, arXiv 2405.07987): the mean share of the `k` nearest
/// rows, by cosine and without the row itself, that are common to both sets.
///
/// In 0 to 1, with an expectation of `k / (n - 1)` for unrelated rows. The paper uses `k = 10`. Memory beyond the features
/// is `2 n k` indices and a few blocks; permutations reuse the lists of neighbours, and [`Neighbours`] those of one set for
/// several others.
///
/// # Shapes
/// - first: `[n, first_dim]`
/// - second: `[n, second_dim]`, row `i` paired with row `i` of the first
///
/// # Errors
/// [`EvalError`] for sets of different lengths, if `k` is 0 or not less than the number of rows, for features that are not
/// finite, all zeros or all in one direction, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, Permutations, mutual_knn};
/// let device = Device::flex();
/// let first = Tensor::<2>::from_floats([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], &device);
/// let second = Tensor::<2>::from_floats([[3.0, 0.1], [2.0, 0.0], [0.2, 2.0], [5.0, 1.0]], &device);
/// let found = mutual_knn(first, second, 1, &Permutations::NONE, &BlockSize::default())?;
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
    let first = Neighbours::of(UnitRows::new(first, "first row")?, k, block)?;
    first.mutual(&Neighbours::of(UnitRows::new(second, "second row")?, k, block)?, permutations)
}

/// The `k` nearest other rows of each row of a set, by cosine, for [`mutual_knn`] with several other sets.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, Neighbours, Permutations};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], &Device::flex());
/// let neighbours = Neighbours::new(rows, 1, &BlockSize::SEARCH)?;
/// assert_eq!(neighbours.mutual(&neighbours, &Permutations::NONE)?.value, 1.0);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// The indices of the neighbours of each row, `[n, k]`.
    lists: Vec<u32>,
    k: usize,
}

impl Neighbours {
    /// Searches the neighbours of all rows.
    ///
    /// # Shapes
    /// - rows: `[n, dim]`
    ///
    /// # Errors
    /// [`EvalError`] if `k` is 0 or not less than the number of rows, for features that are not finite, all zeros or all in one
    /// direction, and if the device fails.
    pub fn new(rows: Tensor<2>, k: usize, block: &BlockSize) -> Result<Self, EvalError> {
        Self::of(UnitRows::new(rows, "row")?, k, block)
    }

    fn of(rows: UnitRows, k: usize, block: &BlockSize) -> Result<Self, EvalError> {
        block.check()?;
        check_neighbours(k, rows.len())?;
        check_varied(&rows)?;
        let mut lists = Vec::with_capacity(rows.len() * k);
        search(&rows, &rows, k, true, block, |found| lists.push(found.index as u32))?;
        Ok(Self { lists, k })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.lists.len() / self.k
    }

    /// Computes [`mutual_knn`] with another set, whose row `i` is paired with row `i` of this one.
    ///
    /// # Errors
    /// [`EvalError`] for sets of different lengths or with different `k`.
    pub fn mutual(&self, other: &Self, permutations: &Permutations) -> Result<Measured, EvalError> {
        let n = self.rows();
        if other.rows() != n {
            return Err(EvalError::Length {
                what: "second row",
                found: other.rows(),
                expected: n,
                of: "first row",
            });
        }
        ensure(other.k == self.k, "k", other.k, format_args!("{}, that of the first rows", self.k))?;
        let identity: Vec<usize> = (0..n).collect();
        permutations.test(self.agreement(other, &identity), n, |order| Ok(self.agreement(other, order)))
    }

    /// The mean share of common neighbours, with row `i` of this set paired with row `order[i]` of the other.
    fn agreement(&self, other: &Self, order: &[usize]) -> f64 {
        let k = self.k;
        let common: usize = self
            .lists
            .par_chunks_exact(k)
            .zip(order)
            .map(|(first, &paired)| {
                let second = &other.lists[paired * k..][..k];
                first
                    .iter()
                    .filter(|&&neighbour| second.contains(&(order[neighbour as usize] as u32)))
                    .count()
            })
            .sum();
        common as f64 / self.lists.len() as f64
    }
}

/// Fails unless each of `rows` rows has `k` neighbours.
pub(super) fn check_neighbours(k: usize, rows: usize) -> Result<(), EvalError> {
    let expected = format_args!("1 to {}, less than the number of rows", rows.saturating_sub(1));
    Ok(ensure((1..rows).contains(&k), "k", k, expected)?)
}
