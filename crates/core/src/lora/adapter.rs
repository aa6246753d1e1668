//! Trained adapters as plain values.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LoraLayer;
use crate::{Check, ConfigError, ensure};

/// More adapted layers are assumed to come from an invalid file.
const MAX_LAYERS: usize = 1 << 14;
/// Wider layers are assumed to come from an invalid file.
const MAX_WIDTH: usize = 1 << 20;

/// A linear layer of an encoder that has an adapter or can have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptedLayer {
    /// Index of the block in the encoder, from 0.
    pub block: usize,
    /// The layer of the block.
    pub layer: LoraLayer,
    /// Number of inputs of the layer.
    pub inputs: usize,
    /// Number of outputs of the layer.
    pub outputs: usize,
}

impl fmt::Display for AdaptedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocks.{}.{}", self.block, self.layer)
    }
}

/// The adapters of an encoder: the layers that have one, and their sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// Rank of the updates, at least 1.
    pub rank: usize,
    /// Scale of the updates, `alpha / rank` times `A B`.
    pub alpha: f64,
    /// The layers, in the order of the encoder.
    pub layers: Vec<AdaptedLayer>,
}

impl AdapterConfig {
    /// The factor of `A B`, `alpha / rank`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// The number of trained values.
    pub fn weights(&self) -> u128 {
        let layers = self.layers.iter().map(|layer| layer.inputs as u128 + layer.outputs as u128);
        self.rank as u128 * layers.sum::<u128>()
    }
}

impl fmt::Display for AdapterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.layers.iter().map(AdaptedLayer::to_string).collect();
        write!(f, "rank {}, alpha {}, of {}", self.rank, self.alpha, names.join(", "))
    }
}

impl Check for AdapterConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let valid = self.alpha.is_finite() && self.alpha > 0.0;
        ensure(valid, "alpha", self.alpha, "a number above 0")?;
        let layers = &self.layers;
        ensure(
            (1..=MAX_LAYERS).contains(&layers.len()),
            "layers",
            layers.len(),
            format!("1 to {MAX_LAYERS} adapted layers"),
        )?;
        let mut last = None;
        for layer in layers {
            let place = (layer.block, layer.layer);
            ensure(last < Some(place), "layers", layer, "each layer once, in the order of the encoder")?;
            last = Some(place);
            let least = layer.inputs.min(layer.outputs);
            ensure(
                layer.inputs.max(layer.outputs) <= MAX_WIDTH,
                "layers",
                layer.inputs.max(layer.outputs),
                format!("a width of at most {MAX_WIDTH}"),
            )?;
            ensure(
                (1..=least).contains(&self.rank),
                "rank",
                self.rank,
                format!("1 to {least}, the smaller side of {layer}"),
            )?;
        }
        Ok(())
    }
}

/// The update of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterWeights {
    /// `A`, `[inputs, rank]`, row-major.
    pub a: Vec<f32>,
    /// `B`, `[rank, outputs]`, row-major.
    pub b: Vec<f32>,
}

/// Trained adapters, to be merged into the weights of an encoder: `W + alpha / rank * A B`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The layers and their sizes.
    pub config: AdapterConfig,
    /// The updates, one for each layer.
    pub weights: Vec<AdapterWeights>,
    /// SHA-256 of the configuration and the values, in hexadecimal: what the provenance of features records.
    pub sha256: String,
}

impl Adapter {
    /// Returns the update of a layer of a block: its `A`, `B` and factor.
    pub fn of_layer(&self, block: usize, layer: LoraLayer) -> Option<(&AdaptedLayer, &AdapterWeights)> {
        let layers = self.config.layers.iter().zip(&self.weights);
        layers.into_iter().find(|(found, _)| (found.block, found.layer) == (block, layer))
    }
}
