//! An auxiliary loss with its weight.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sail_core::{AuxiliaryLoss, AuxiliaryRows, Check, ConfigError, ensure};

use crate::TrainError;

/// A loss that is added to the contrastive loss, multiplied by a weight.
#[derive(Clone)]
pub struct Auxiliary {
    loss: Arc<dyn AuxiliaryLoss>,
    weight: f64,
}

impl Auxiliary {
    /// Creates a term from a loss and its weight, a finite value above 0.
    pub fn new(loss: impl AuxiliaryLoss + 'static, weight: f64) -> Self {
        Self { loss: Arc::new(loss), weight }
    }

    /// Returns the loss.
    pub fn loss(&self) -> &dyn AuxiliaryLoss {
        &*self.loss
    }

    /// Returns the weight.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Describes weight, loss and settings, for the signature of a run.
    pub(crate) fn describe(&self) -> String {
        format!("{} * {}", self.weight, self.loss.describe())
    }
}

impl Check for Auxiliary {
    fn check(&self) -> Result<(), ConfigError> {
        let weight = self.weight;
        ensure(weight.is_finite() && weight > 0.0, self.loss.name(), weight, "a weight above 0")
    }
}

impl fmt::Debug for Auxiliary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// Checks the weights, that names differ, and that what is unpaired is there if and only if a loss uses it.
pub(crate) fn check(terms: &[Auxiliary], has_unpaired: bool) -> Result<(), TrainError> {
    let mut names = BTreeSet::new();
    for term in terms {
        term.check()?;
        ensure(names.insert(term.loss().name()), "auxiliary", term.loss().name(), "names that differ")?;
    }
    let uses = terms.iter().find(|term| term.loss().rows() == AuxiliaryRows::Unpaired);
    match uses {
        Some(term) if !has_unpaired => Err(TrainError::NoUnpaired { name: term.loss().name().to_owned() }),
        None if has_unpaired => Err(TrainError::UnusedUnpaired),
        _ => Ok(()),
    }
}
