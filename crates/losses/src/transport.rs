//! Entropic optimal transport between two sets of embeddings, without the matrix of all pairs.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::tensor::Tensor;
use sail_core::{AuxiliaryError, Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use crate::softmax::{LogSumExp, log_sum_exp};
use crate::tiles::{TILE_SIZE, rows, tiles};

/// Factor of the updates while they shrink: overrelaxation (Thibault et al. 2017, arXiv 1711.01851) saves the more iterations
/// the smaller the entropic regularisation is.
const RELAXATION: f64 = 1.5;

/// The settings of Sinkhorn's iterations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Sinkhorn {
    /// Entropic regularisation, in units of the similarity: a small value makes the plan a matching, a large one makes it
    /// uniform and takes fewer iterations.
    pub epsilon: f64,
    /// Mean absolute deviation of the marginals from one at which the iterations end.
    pub tolerance: f64,
    /// Number of iterations after which a plan that has not converged is an error.
    pub max_iterations: usize,
}

impl Default for Sinkhorn {
    fn default() -> Self {
        Self { epsilon: 0.05, tolerance: 1e-2, max_iterations: 1000 }
    }
}

impl Sinkhorn {
    /// Creates the default settings with another regularisation.
    pub fn new(epsilon: f64) -> Self {
        Self { epsilon, ..Self::default() }
    }

    /// Sets the mean deviation of the marginals at which the iterations end.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the maximum number of iterations.
    #[must_use]
    pub fn with_max_iterations(mut self, max_iterations: usize) -> Self {
        self.max_iterations = max_iterations;
        self
    }
}

impl Check for Sinkhorn {
    fn check(&self) -> Result<(), ConfigError> {
        let Self { epsilon, tolerance, max_iterations } = *self;
        // Cosines divided by a smaller epsilon would leave no digits of f32 for the plan.
        ensure((1e-4..=1e4).contains(&epsilon), "epsilon", epsilon, "0.0001 to 10000")?;
        ensure((1e-6..1.0).contains(&tolerance), "tolerance", tolerance, "0.000001 to 1")?;
        ensure(max_iterations > 0, "max_iterations", max_iterations, "at least 1")
    }
}

/// The plan that transports one set of embeddings to another, with entropic regularisation and unit marginals:
///
/// ```text
/// argmax_P <P, K> - epsilon * sum_ij P_ij log P_ij,   P 1 = 1,   P^T 1 = 1,   K_ij = <row_i, column_j>
/// ```
///
/// It has the form `log P_ij = K_ij / epsilon + u_i + v_j`. Sinkhorn's iterations (Cuturi 2013, arXiv 1306.0895) make the
/// sums of rows and of columns equal to one in turn; the updates are relaxed. Only the potentials `u` and `v` are stored, and
/// `K` if it is a single tile: further tiles are computed again in every iteration, and those of the plan on demand, so that
/// memory grows with the number of rows.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_losses::{Sinkhorn, TransportPlan};
///
/// let rows = Tensor::<2>::eye(3, &Device::flex());
/// let columns = rows.clone().flip([0]);
/// let plan = TransportPlan::solve(rows, columns, &Sinkhorn::new(0.1))?;
/// let plan = plan.log_tile(0..3, 0..3).exp();
/// assert!(plan.slice([0..1, 2..3]).into_scalar::<f32>() > 0.99);
/// # Ok::<(), sail_core::AuxiliaryError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TransportPlan {
    /// The rows, divided by epsilon, `[rows, dim]`.
    scaled: Tensor<2>,
    /// `[rows, dim]`.
    columns: Tensor<2>,
    /// The potentials `u`, `[rows, 1]`.
    row_potentials: Tensor<2>,
    /// The potentials `v`, `[1, rows]`.
    column_potentials: Tensor<2>,
    /// The similarities divided by epsilon, if they are one tile.
    single_tile: Option<Tensor<2>>,
    iterations: usize,
}

impl TransportPlan {
    /// Computes the plan of two sets of as many embeddings, `[rows, dim]` each.
    ///
    /// # Errors
    /// Returns [`AuxiliaryError::NotConverged`] if the marginals are not as close to one as `settings` ask for.
    pub fn solve(rows: Tensor<2>, columns: Tensor<2>, settings: &Sinkhorn) -> Result<Self, AuxiliaryError> {
        Self::solve_in_tiles(rows, columns, settings, TILE_SIZE)
    }

    pub(crate) fn solve_in_tiles(
        rows: Tensor<2>,
        columns: Tensor<2>,
        settings: &Sinkhorn,
        tile_size: NonZeroUsize,
    ) -> Result<Self, AuxiliaryError> {
        let Sinkhorn { epsilon, tolerance, max_iterations } = *settings;
        let ([count, _], device) = (rows.dims(), rows.device());
        let mut plan = Self {
            scaled: rows / epsilon,
            columns,
            row_potentials: Tensor::zeros([count, 1], &device),
            column_potentials: Tensor::zeros([1, count], &device),
            single_tile: None,
            iterations: 0,
        };
        let tiles = tiles(count, tile_size);
        if let [tile] = &tiles[..] {
            plan.single_tile = Some(plan.similarity(tile, tile));
        }
        let mut deviation = f64::INFINITY;
        let mut relaxation = 1.0;
        while plan.iterations < max_iterations {
            let updated = plan.row_potentials(&tiles);
            plan.row_potentials = relaxed(plan.row_potentials, updated, relaxation);
            let updated = plan.column_potentials(&tiles);
            // The sums of the columns before the update.
            let sums = (plan.column_potentials.clone() - updated.clone()).exp();
            let mean = (sums - 1.0).abs().mean().try_into_scalar::<f32>();
            let mean = f64::from(mean.map_err(|error| AuxiliaryError::Device(Box::new(error)))?);
            plan.iterations += 1;
            // NaN comes from the embeddings and shows in the value of the loss.
            if mean <= tolerance || mean.is_nan() {
                plan.column_potentials = updated;
                return Ok(plan);
            }
            relaxation = if mean < deviation { RELAXATION } else { 1.0 };
            deviation = mean;
            plan.column_potentials = relaxed(plan.column_potentials, updated, relaxation);
        }
        Err(AuxiliaryError::NotConverged { epsilon, iterations: max_iterations, deviation, tolerance })
    }

    /// Returns the number of iterations that the plan took.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Returns the logarithm of a tile of the plan, `[rows, columns]`.
    pub fn log_tile(&self, rows: Range<usize>, columns: Range<usize>) -> Tensor<2> {
        let row_potentials = self.row_potentials.clone().slice([rows.clone(), 0..1]);
        self.with_columns(&rows, &columns) + row_potentials
    }

    /// The rows divided by epsilon.
    pub(crate) fn scaled(&self) -> &Tensor<2> {
        &self.scaled
    }

    fn similarity(&self, row: &Range<usize>, column: &Range<usize>) -> Tensor<2> {
        if let Some(tile) = &self.single_tile {
            return tile.clone().slice([row.clone(), column.clone()]);
        }
        rows(&self.scaled, row).matmul(rows(&self.columns, column).transpose())
    }

    fn with_columns(&self, row: &Range<usize>, column: &Range<usize>) -> Tensor<2> {
        self.similarity(row, column) + self.column_potentials.clone().slice([0..1, column.clone()])
    }

    /// The potentials that make the sums of the rows equal to one.
    fn row_potentials(&self, tiles: &[Range<usize>]) -> Tensor<2> {
        let of_row = |row| reduce(tiles.iter().map(|column| log_sum_exp(self.with_columns(row, column), 1)));
        Tensor::cat(tiles.iter().filter_map(of_row).collect(), 0)
    }

    /// The potentials that make the sums of the columns equal to one.
    fn column_potentials(&self, tiles: &[Range<usize>]) -> Tensor<2> {
        let with_rows = |row: &Range<usize>, column| {
            self.similarity(row, column) + self.row_potentials.clone().slice([row.clone(), 0..1])
        };
        let of_column = |column| reduce(tiles.iter().map(|row| log_sum_exp(with_rows(row, column), 0)));
        Tensor::cat(tiles.iter().filter_map(of_column).collect(), 1)
    }
}

/// Moves potentials towards their update, or beyond it.
fn relaxed(potentials: Tensor<2>, updated: Tensor<2>, relaxation: f64) -> Tensor<2> {
    (updated - potentials.clone()) * relaxation + potentials
}

/// The potentials from the normalisers of tiles.
fn reduce(tiles: impl Iterator<Item = LogSumExp>) -> Option<Tensor<2>> {
    tiles.reduce(LogSumExp::merge).map(|LogSumExp { max, log_sum }| -(max + log_sum))
}
