//! What a training adapts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AdaptedLayer, AdapterConfig, LoraLayer};
use crate::named::{Named, parse_named};
use crate::{Check, ConfigError, ensure};

/// The low-rank adapters that a training adds to the last blocks of an encoder: `x W + alpha / rank * x A B` in the place of
/// `x W`, where only `A` and `B` are trained (LoRA, arXiv 2106.09685).
///
/// As text, it is `RANK[:BLOCKS[:LAYERS]]`, with layers separated by commas.
///
/// # Examples
/// ```
/// use sail_core::{LoraConfig, LoraLayer};
/// let lora: LoraConfig = "8:2:query,value,output".parse()?;
/// assert_eq!((lora.rank, lora.blocks), (8, Some(2)));
/// assert_eq!(lora.layers, [LoraLayer::Query, LoraLayer::Value, LoraLayer::Output]);
/// assert_eq!("8".parse(), Ok(LoraConfig::new(8)));
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LoraConfig {
    /// Rank of the updates. With 0, the blocks stay frozen.
    pub rank: usize,
    /// Scale of the updates, `alpha / rank` times `A B`; `None` is the rank, a factor of 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Number of blocks from the end that are adapted; `None` is all those after the stored token states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
    /// The adapted layers of each of these blocks.
    #[serde(default = "LoraConfig::paper_layers")]
    pub layers: Vec<LoraLayer>,
}

impl LoraConfig {
    /// Creates a configuration with the queries and values of all blocks, as in the paper.
    pub fn new(rank: usize) -> Self {
        Self { rank, alpha: None, blocks: None, layers: Self::paper_layers() }
    }

    /// Sets the scale.
    #[must_use]
    pub fn with_alpha(mut self, alpha: impl Into<Option<f64>>) -> Self {
        self.alpha = alpha.into();
        self
    }

    /// Sets the number of blocks from the end.
    #[must_use]
    pub fn with_blocks(mut self, blocks: impl Into<Option<usize>>) -> Self {
        self.blocks = blocks.into();
        self
    }

    /// Sets the layers of each block.
    #[must_use]
    pub fn with_layers(mut self, layers: Vec<LoraLayer>) -> Self {
        self.layers = layers;
        self
    }

    fn paper_layers() -> Vec<LoraLayer> {
        vec![LoraLayer::Query, LoraLayer::Value]
    }

    /// Chooses among the layers that the blocks of an encoder have. `None` for rank 0.
    ///
    /// # Errors
    /// [`ConfigError`] if there are fewer blocks, the blocks do not have a layer, or the rank exceeds a side of a layer.
    pub fn resolve(&self, available: &[AdaptedLayer]) -> Result<Option<AdapterConfig>, ConfigError> {
        self.check()?;
        let mut blocks: Vec<usize> = available.iter().map(|layer| layer.block).collect();
        blocks.dedup();
        let count = self.blocks.unwrap_or(blocks.len());
        let expected = || {
            format!(
                "at most {}, the blocks after the stored token states: encode an earlier layer",
                blocks.len()
            )
        };
        ensure(count <= blocks.len(), "blocks", count, expected())?;
        let adapted = &blocks[blocks.len() - count..];
        let chosen: Vec<AdaptedLayer> = available
            .iter()
            .filter(|found| adapted.contains(&found.block) && self.layers.contains(&found.layer))
            .copied()
            .collect();
        for layer in &self.layers {
            let missing = adapted
                .iter()
                .any(|block| !chosen.iter().any(|found| (found.block, found.layer) == (*block, *layer)));
            if missing {
                let mut names: Vec<&str> = available.iter().map(|found| found.layer.name()).collect();
                names.sort_unstable();
                names.dedup();
                let expected = format!("layers that the blocks of the encoder have: {}", names.join(", "));
                ensure(false, "layers", layer, expected)?;
            }
        }
        if self.rank == 0 {
            return Ok(None);
        }
        let alpha = self.alpha.unwrap_or(self.rank as f64);
        let config = AdapterConfig { rank: self.rank, alpha, layers: chosen };
        config.check()?;
        Ok(Some(config))
    }
}

impl Check for LoraConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(alpha) = self.alpha {
            ensure(alpha.is_finite() && alpha > 0.0, "alpha", alpha, "a number above 0")?;
        }
        ensure(self.blocks != Some(0), "blocks", 0, "at least 1")?;
        let layers = &self.layers;
        ensure(
            !layers.is_empty(),
            "layers",
            "empty",
            "at least one of `query`, `key`, `value`, `output`, `gate`, `up`, `down`",
        )?;
        let repeated = layers.iter().enumerate().find(|(index, layer)| layers[..*index].contains(layer));
        repeated.map_or(Ok(()), |(_, layer)| {
            ensure(false, "layers", format_args!("`{layer}` twice"), "each layer once")
        })
    }
}

impl fmt::Display for LoraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {}", self.rank)?;
        if let Some(blocks) = self.blocks {
            write!(f, " on the last {blocks} blocks")?;
        }
        let names: Vec<&str> = self.layers.iter().map(|layer| layer.name()).collect();
        write!(f, " ({})", names.join(", "))
    }
}

impl FromStr for LoraConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let error = || ConfigError {
            field: "lora".to_owned(),
            found: format!("`{text}`"),
            expected: "RANK[:BLOCKS[:LAYERS]], such as `8`, `8:2` or `8:2:query,value`".to_owned(),
        };
        let mut parts = text.split(':');
        let mut number = || parts.next().map(|part| part.parse::<usize>().map_err(|_| error())).transpose();
        let mut config = Self::new(number()?.ok_or_else(error)?);
        config.blocks = number()?;
        if let Some(layers) = parts.next() {
            config.layers =
                layers.split(',').map(|name| parse_named("layers", name)).collect::<Result<_, _>>()?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available() -> Vec<AdaptedLayer> {
        let layer = |block, layer| AdaptedLayer { block, layer, inputs: 8, outputs: 4 };
        (10..12)
            .flat_map(|block| {
                [LoraLayer::Query, LoraLayer::Value, LoraLayer::Down].map(|name| layer(block, name))
            })
            .collect()
    }

    #[test]
    fn layers_are_chosen_in_the_order_of_the_encoder() {
        let config: LoraConfig = "4:1:value,query".parse().unwrap();
        let adapter = config.resolve(&available()).unwrap().unwrap();
        assert_eq!((adapter.rank, adapter.alpha), (4, 4.0));
        let names: Vec<String> = adapter.layers.iter().map(AdaptedLayer::to_string).collect();
        assert_eq!(names, ["blocks.11.query", "blocks.11.value"]);
        assert_eq!(LoraConfig::new(2).resolve(&available()).unwrap().unwrap().layers.len(), 4);
        assert_eq!(LoraConfig::new(0).resolve(&available()), Ok(None));
    }

    #[test]
    fn what_the_encoder_does_not_have_is_refused() {
        for (text, expected) in [
            ("4:3", "`blocks` is 3, expected at most 2, the blocks after the stored token states"),
            ("0:3", "`blocks` is 3"),
            (
                "4:1:gate",
                "`layers` is gate, expected layers that the blocks of the encoder have: down, query, value",
            ),
            ("5:2", "`rank` is 5, expected 1 to 4, the smaller side of blocks.10.query"),
        ] {
            let error = text.parse::<LoraConfig>().unwrap().resolve(&available()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn texts_that_are_no_configuration_are_refused() {
        for text in ["", "a", "8:", "8:0", "8:2:", "8:2:query,queries", "8:2:query,query", "8:2:query:1"] {
            assert!(text.parse::<LoraConfig>().is_err(), "{text}");
        }
        let alpha = |alpha| LoraConfig::new(2).with_alpha(alpha).check();
        assert!(alpha(0.0).is_err() && alpha(f64::NAN).is_err() && alpha(0.5).is_ok());
    }
}
