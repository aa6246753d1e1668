//! Canonical correlation analysis.

use burn::tensor::Tensor;
use faer::Mat;
use sail_core::ensure;

use super::calibration::Measured;
use super::centred::CentredRows;
use super::cka::{Cka, CkaTerms};
use super::moments::{Covariance, check_pairs};
use super::permutations::Permutations;
use crate::EvalError;
use crate::unit_rows::UnitRows;

/// Computes the mean squared canonical correlation of paired rows, `R²_CCA` (Kornblith et al. 2019, arXiv 1905.00414,
/// table 1), with both covariances regularised.
///
/// It is `|Cx^-1/2 Cxy Cy^-1/2|² / min(first_dim, second_dim)`, with `C + r (tr C / d) I` for each covariance `C` of
/// unit rows. In 0 to 1. With few rows per dimension it is close to 1 for unrelated rows as well, unless `r` is
/// large; the chance level shows how close.
///
/// # Shapes
/// - first: `[n, first_dim]`
/// - second: `[n, second_dim]`, row `i` paired with row `i` of the first
///
/// # Errors
/// [`EvalError`] for sets of different lengths, fewer than 2 rows, a negative `regularization`, rows that are all equal or
/// have a singular covariance (increase the regularisation), features that are not finite or all zeros, and if the device
/// fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{Permutations, cca};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0], [1.0, 1.0]], &Device::flex());
/// let found = cca(rows.clone(), rows, 0.0, &Permutations::NONE)?;
/// assert!((found.value - 1.0).abs() < 1e-6);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn cca(
    first: Tensor<2>,
    second: Tensor<2>,
    regularization: f64,
    permutations: &Permutations,
) -> Result<Measured, EvalError> {
    let pair = Whitened::new(first, second, ["first row", "second row"], regularization)?;
    let [first, second] = [CentredRows::new(&pair.first)?, CentredRows::new(&pair.second)?];
    let measure = |order: Option<&[usize]>| Ok(pair.mean_squared_correlation(first.cross(&second, order)?));
    permutations.test(measure(None)?, pair.first.len(), |order| measure(Some(order)))
}

/// Computes [`cka`](crate::cka) and [`cca`] of the same pairs, which share the products of the rows: for many permutations in
/// half the time of both.
///
/// # Errors
/// Those of both.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{Permutations, cka_and_cca};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0], [1.0, 1.0]], &Device::flex());
/// let (cka, cca) = cka_and_cca(rows.clone(), rows, 0.0, &Permutations { count: 3, seed: 0 })?;
/// assert!((cka.debiased.value - 1.0).abs() < 1e-6 && (cca.value - 1.0).abs() < 1e-6);
/// assert_eq!((cka.debiased.null.len(), cca.null.len()), (3, 3));
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn cka_and_cca(
    first: Tensor<2>,
    second: Tensor<2>,
    regularization: f64,
    permutations: &Permutations,
) -> Result<(Cka, Measured), EvalError> {
    let whats = ["first row", "second row"];
    let pair = Whitened::new(first, second, whats, regularization)?;
    check_pairs(&pair.first, &pair.second, 4)?;
    let [first, second] = [CentredRows::new(&pair.first)?, CentredRows::new(&pair.second)?];
    let terms = CkaTerms::new([&first, &second], whats)?;
    let measure = |order: Option<&[usize]>| {
        let cross = first.cross(&second, order)?;
        let [biased, debiased] = terms.of(&cross, order);
        Ok::<_, EvalError>((biased, debiased, pair.mean_squared_correlation(cross)))
    };
    let (biased, cka, cca) = measure(None)?;
    let permuted = permutations.each(pair.first.len(), |order| measure(Some(order)))?;
    let (cka_null, cca_null) = permuted.into_iter().map(|(_, cka, cca)| (cka, cca)).unzip();
    let debiased = Measured { value: cka, null: cka_null }.finite()?;
    Ok((Cka { biased, debiased }, Measured { value: cca, null: cca_null }.finite()?))
}

/// Two sets with the factors that whiten them.
struct Whitened {
    first: UnitRows,
    second: UnitRows,
    covariances: [Covariance; 2],
}

impl Whitened {
    fn new(
        first: Tensor<2>,
        second: Tensor<2>,
        [first_what, second_what]: [&'static str; 2],
        regularization: f64,
    ) -> Result<Self, EvalError> {
        check_regularization(regularization)?;
        let first = UnitRows::new(first, first_what)?;
        let second = UnitRows::new(second, second_what)?;
        check_pairs(&first, &second, 2)?;
        let covariances =
            [Covariance::new(&first, regularization)?, Covariance::new(&second, regularization)?];
        Ok(Self { first, second, covariances })
    }

    /// The measure of [`cca`] from the products of centred rows.
    fn mean_squared_correlation(&self, cross: Mat<f64>) -> f64 {
        let [x, y] = &self.covariances;
        let n = self.first.len() as f64;
        let whitened = y.whiten(x.whiten(cross).transpose().to_owned());
        whitened.squared_norm_l2() / (n * n * self.first.dim().min(self.second.dim()) as f64)
    }
}

fn check_regularization(value: f64) -> Result<(), EvalError> {
    Ok(ensure(value >= 0.0 && value.is_finite(), "regularization", value, "a finite value of at least 0")?)
}
