//! The regularization of a fit.

use serde::Serialize;

/// The regularization of a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Regularization {
    /// The multiple of the mean variance that is added to every variance.
    pub value: f64,
    /// Whether generalized cross-validation chose it; it was given otherwise.
    pub cross_validated: bool,
}

impl Regularization {
    pub(crate) fn or_choose(given: Option<f64>, choose: impl FnOnce() -> f64) -> Self {
        Self { value: given.unwrap_or_else(choose), cross_validated: given.is_none() }
    }
}
