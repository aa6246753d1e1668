//! Differences between the values of a grid.

use serde::{Deserialize, Serialize};

use super::calibration::{Measured, check_same_length, p_value};
use super::permutations::Permutations;
use crate::EvalError;

/// How much of a grid of values of one measure, such as that of pairs of encoders, is more than chance.
///
/// Raw values of encoders of different widths differ by chance alone. Each value is therefore compared by its excess over
/// its mean over the pairings, the true one and the random ones. A difference survives if the two excesses differ in the same
/// direction as the values, by more than any two cells of the grid do in all but a share `alpha` of the pairings: the
/// distribution of the largest difference of a permutation. So with probability `1 - alpha` no difference of unrelated
/// features survives, however large the grid is (Westfall and Young 1993, single-step).
///
/// That chance does not explain a difference does not say that it is the same on other images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// Number of values.
    pub cells: usize,
    /// Number of values above their own critical value.
    pub above_chance: usize,
    /// Number of pairs of cells whose values differ.
    pub differences: usize,
    /// Number of these differences that chance does not explain.
    pub surviving: usize,
}

impl Differences {
    /// Compares the values of a grid at the significance level `alpha`; `None` without permutations or cells.
    ///
    /// # Errors
    /// [`EvalError::Config`] for an `alpha` out of range or out of reach of the permutations, [`EvalError::Length`] for
    /// measures with different numbers of permutations, [`EvalError::Undefined`] for values that are not finite.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::{Differences, Measured};
    /// let null: Vec<f64> = (0..99).map(|k| 0.001 * f64::from(k)).collect();
    /// let wide = null.iter().map(|value| value + 0.5).collect();
    /// // The second is higher because its features are wide, the third because it is similar.
    /// let grid = [(0.05, null.clone()), (0.55, wide), (0.4, null)].map(|(value, null)| Measured { value, null });
    /// let found = Differences::of(&grid, 0.05)?.ok_or("no permutations")?;
    /// assert_eq!((found.above_chance, found.differences, found.surviving), (1, 3, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(grid: &[Measured], alpha: f64) -> Result<Option<Self>, EvalError> {
        let permutations = grid.first().map_or(0, |cell| cell.null.len());
        Permutations { count: permutations, seed: 0 }.check_level(alpha)?;
        if permutations == 0 {
            return Ok(None);
        }
        let mut above_chance = 0;
        let mut excess = Vec::with_capacity(grid.len());
        let mut range = vec![(f64::INFINITY, f64::NEG_INFINITY); permutations];
        for cell in grid {
            check_same_length(&cell.null, &grid[0].null)?;
            above_chance += usize::from(cell.calibrate(alpha, 1.0)?.is_above_chance() == Some(true));
            let mean = (cell.null.iter().sum::<f64>() + cell.value) / (permutations + 1) as f64;
            excess.push(cell.value - mean);
            for ((low, high), value) in range.iter_mut().zip(&cell.null) {
                (*low, *high) = (low.min(value - mean), high.max(value - mean));
            }
        }
        let largest: Vec<f64> = range.iter().map(|(low, high)| high - low).collect();
        let mut found = Self { cells: grid.len(), above_chance, differences: 0, surviving: 0 };
        for (second, cell) in grid.iter().enumerate() {
            for first in 0..second {
                let difference = cell.value - grid[first].value;
                let excess = excess[second] - excess[first];
                found.differences += usize::from(difference != 0.0);
                let survives = difference * excess > 0.0 && p_value(excess.abs(), &largest) <= alpha + 1e-12;
                found.surviving += usize::from(survives);
            }
        }
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    /// Grids of nine cells of unrelated features.
    #[test]
    fn differences_of_unrelated_features_survive_in_a_share_alpha_of_the_grids() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut unit = || (rng.next_u32() >> 8) as f64 / f64::from(1 << 24);
        let grids = 1000;
        let survivors = (0..grids)
            .filter(|_| {
                let mut cell = || Measured { value: unit(), null: (0..59).map(|_| unit()).collect() };
                let grid: Vec<Measured> = (0..9).map(|_| cell()).collect();
                Differences::of(&grid, 0.1).unwrap().unwrap().surviving > 0
            })
            .count();
        let share = survivors as f64 / f64::from(grids);
        assert!((0.07..=0.13).contains(&share), "{share}");
    }

    #[test]
    fn no_permutations_and_different_permutations() {
        let of = |nulls: &[usize]| {
            let cells: Vec<_> = nulls.iter().map(|&n| Measured { value: 0.5, null: vec![0.0; n] }).collect();
            Differences::of(&cells, 0.05)
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[0, 0]).unwrap(), None);
        assert!(matches!(of(&[20, 19]), Err(EvalError::Length { .. })));
        let one = of(&[20]).unwrap().unwrap();
        assert_eq!((one.cells, one.above_chance, one.differences, one.surviving), (1, 1, 0, 0));
    }
}
