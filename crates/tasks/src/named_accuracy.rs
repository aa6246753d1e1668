//! Accuracies of the parts of a task.

use sail_eval::GroupAccuracy;
use serde::{Deserialize, Serialize};

/// The accuracy of a category or a subset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedAccuracy {
    /// Name in the data.
    pub name: String,
    /// Accuracy in percent; `None` (`null`) if everything was skipped.
    pub accuracy: Option<f64>,
    /// Number of scored items.
    pub n: usize,
}

/// Combines the names of groups with their accuracies.
pub(crate) fn named(names: &[String], accuracy: &GroupAccuracy) -> Vec<NamedAccuracy> {
    let groups = accuracy.per_group.iter().zip(&accuracy.counts);
    let named = |(name, (&accuracy, &n)): (&String, _)| NamedAccuracy { name: name.clone(), accuracy, n };
    names.iter().zip(groups).map(named).collect()
}
