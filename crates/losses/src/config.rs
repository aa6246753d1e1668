//! A loss as configuration.

use sail_core::{Check, ConfigError, ContrastiveLoss, ensure};
use serde::{Deserialize, Serialize};

use crate::{BarlowTwinsLoss, Blocks, Direction, InfoNceLoss, Normalization, SigmoidLoss};

/// The loss to train with, and its settings; missing settings have their defaults.
///
/// The default is SAIL's: the sigmoid loss divided by the number of pairs, with the mean over caption sets.
///
/// # Examples
/// ```
/// use sail_losses::{Blocks, LossConfig, Normalization};
///
/// let config: LossConfig = serde_json::from_str(r#"{"kind": "sigmoid", "blocks": "sum"}"#)?;
/// assert_eq!(
///     config,
///     LossConfig::Sigmoid { normalization: Normalization::PairCount, blocks: Blocks::Sum }
/// );
/// let loss = config.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum LossConfig {
    /// [`SigmoidLoss`].
    Sigmoid {
        /// The divisor of a block of pairs.
        #[serde(default)]
        normalization: Normalization,
        /// The reduction over the blocks of several caption sets.
        #[serde(default)]
        blocks: Blocks,
    },
    /// [`InfoNceLoss`].
    InfoNce {
        /// Which side provides the queries.
        #[serde(default)]
        direction: Direction,
    },
    /// [`BarlowTwinsLoss`].
    BarlowTwins {
        /// The weight of the off-diagonal term, a finite value of at least 0.
        #[serde(default = "default_lambda")]
        lambda: f64,
    },
}

fn default_lambda() -> f64 {
    BarlowTwinsLoss::LAMBDA
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::Sigmoid { normalization: Normalization::default(), blocks: Blocks::default() }
    }
}

impl LossConfig {
    /// Returns the value of `kind` in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sigmoid { .. } => "sigmoid",
            Self::InfoNce { .. } => "info-nce",
            Self::BarlowTwins { .. } => "barlow-twins",
        }
    }

    /// Creates the loss.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range.
    pub fn build(&self) -> Result<Box<dyn ContrastiveLoss>, ConfigError> {
        self.check()?;
        Ok(match *self {
            Self::Sigmoid { normalization, blocks } => {
                Box::new(SigmoidLoss::new().with_normalization(normalization).with_blocks(blocks))
            }
            Self::InfoNce { direction } => Box::new(InfoNceLoss::new().with_direction(direction)),
            Self::BarlowTwins { lambda } => Box::new(BarlowTwinsLoss::new().with_lambda(lambda)),
        })
    }
}

impl Check for LossConfig {
    fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Sigmoid { .. } | Self::InfoNce { .. } => Ok(()),
            Self::BarlowTwins { lambda } => {
                ensure(lambda.is_finite() && lambda >= 0.0, "lambda", lambda, "a finite value of at least 0")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serde_tags_and_configs_round_trip() {
        for config in [
            LossConfig::default(),
            LossConfig::Sigmoid { normalization: Normalization::Batch, blocks: Blocks::Sum },
            LossConfig::InfoNce { direction: Direction::TextToImage },
            LossConfig::BarlowTwins { lambda: 0.01 },
        ] {
            let json = serde_json::to_value(config).unwrap();
            assert_eq!(json["kind"], config.name());
            assert_eq!(serde_json::from_value::<LossConfig>(json).unwrap(), config);
        }
    }

    #[test]
    fn missing_settings_have_defaults() {
        let parse = |json| serde_json::from_str::<LossConfig>(json).unwrap();
        assert_eq!(parse(r#"{"kind": "sigmoid"}"#), LossConfig::default());
        assert_eq!(parse(r#"{"kind": "info-nce"}"#), LossConfig::InfoNce { direction: Direction::Both });
        assert_eq!(parse(r#"{"kind": "barlow-twins"}"#), LossConfig::BarlowTwins { lambda: 5e-3 });
    }

    #[test]
    fn rejects_unknown_settings_and_kinds() {
        for (json, named) in [
            (r#"{"kind": "sigmoid", "lambda": 1.0}"#, "lambda"),
            (r#"{"kind": "info-nce", "blocks": "sum"}"#, "blocks"),
            (r#"{"kind": "barlow-twins", "lamda": 1.0}"#, "lamda"),
            (r#"{"kind": "sigmoid", "blocks": "median"}"#, "median"),
            (r#"{"kind": "triplet"}"#, "triplet"),
        ] {
            let error = serde_json::from_str::<LossConfig>(json).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn build_rejects_settings_out_of_range() {
        for lambda in [-1.0, f64::NAN, f64::INFINITY] {
            let Err(error) = LossConfig::BarlowTwins { lambda }.build() else {
                panic!("built with lambda {lambda}");
            };
            assert_eq!(error.field, "lambda");
        }
    }
}
