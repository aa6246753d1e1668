//! The STRUCTURE regularizer of a recipe.

use std::fmt;
use std::str::FromStr;

use sail_core::{Check, ConfigError, ensure};
use sail_losses::Structure;
use sail_train::Auxiliary;
use serde::{Deserialize, Serialize};

/// Adds [`Structure`] on the pairs to the loss.
///
/// As text, it is `WEIGHT[:LEVELS[:TEMPERATURE]]`.
///
/// # Examples
/// ```
/// use sail_vl::recipe::StructureRecipe;
/// let structure: StructureRecipe = "10:2".parse()?;
/// assert_eq!(structure, StructureRecipe::new(10.0).with_levels(2));
/// # Ok::<(), sail_vl::core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StructureRecipe {
    /// Weight, above 0.
    pub weight: f64,
    /// Number of levels, see [`Structure`].
    #[serde(default = "levels")]
    pub levels: usize,
    /// Temperature, see [`Structure`].
    #[serde(default = "temperature")]
    pub temperature: f64,
}

fn levels() -> usize {
    Structure::default().levels
}

fn temperature() -> f64 {
    Structure::default().temperature
}

impl StructureRecipe {
    /// Creates the regularizer with a weight and the defaults of [`Structure`].
    pub fn new(weight: f64) -> Self {
        Self { weight, levels: levels(), temperature: temperature() }
    }

    /// Sets the number of levels.
    #[must_use]
    pub fn with_levels(mut self, levels: usize) -> Self {
        self.levels = levels;
        self
    }

    /// Sets the temperature.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    pub(super) fn build(&self) -> Auxiliary {
        Auxiliary::new(self.loss(), self.weight)
    }

    fn loss(&self) -> Structure {
        Structure::default().with_levels(self.levels).with_temperature(self.temperature)
    }
}

impl Check for StructureRecipe {
    fn check(&self) -> Result<(), ConfigError> {
        let weight = self.weight;
        ensure(weight.is_finite() && weight > 0.0, "structure", weight, "a weight above 0")?;
        self.loss().check()
    }
}

impl fmt::Display for StructureRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.weight, self.levels, self.temperature)
    }
}

impl FromStr for StructureRecipe {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let parsed = || {
            let mut parts = text.split(':');
            let mut structure = Self::new(parts.next()?.parse().ok()?);
            if let Some(levels) = parts.next() {
                structure.levels = levels.parse().ok()?;
            }
            if let Some(temperature) = parts.next() {
                structure.temperature = temperature.parse().ok()?;
            }
            parts.next().is_none().then_some(structure)
        };
        parsed().ok_or_else(|| ConfigError {
            field: "structure".to_owned(),
            found: text.to_owned(),
            expected: "WEIGHT[:LEVELS[:TEMPERATURE]], such as `10`, `10:2` or `10:2:0.05`".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_what_it_leaves_out_by_default() {
        let parse = |text: &str| text.parse::<StructureRecipe>();
        let structure = StructureRecipe::new(0.5).with_levels(3).with_temperature(0.2);
        assert_eq!(parse(&structure.to_string()), Ok(structure));
        assert_eq!(parse("4"), Ok(StructureRecipe::new(4.0)));
        for text in ["", "a", "1:", "1:1.5", "1:2:x", "1:2:0.1:4"] {
            assert_eq!(parse(text).unwrap_err().found, text);
        }
        for (structure, field) in [
            (StructureRecipe::new(0.0), "structure"),
            (StructureRecipe::new(f64::INFINITY), "structure"),
            (StructureRecipe::new(1.0).with_levels(0), "levels"),
            (StructureRecipe::new(1.0).with_temperature(-1.0), "temperature"),
        ] {
            assert_eq!(structure.check().unwrap_err().field, field);
        }
    }
}
