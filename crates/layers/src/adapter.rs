//! Trained updates of the last blocks of an encoder.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use sail_core::{AdaptedLayer, Adapter, AdapterConfig, AdapterWeights, HeadError, LowRank};
use sail_support::hex;
use sha2::{Digest, Sha256};

use crate::WeightInit;

/// The updates of the adapted layers, in the order of their configuration.
#[derive(Module, Debug)]
pub(crate) struct LowRankUpdates {
    layers: Vec<LowRankLayer>,
    #[module(skip)]
    config: AdapterConfig,
}

/// The update of one layer, `x A B` before the factor. The names and layouts in a file are those of PEFT.
#[derive(Module, Debug)]
struct LowRankLayer {
    lora_a: Linear,
    lora_b: Linear,
}

impl LowRankUpdates {
    /// Creates updates of zero: `A` is uniform on `±1 / sqrt(inputs)`, as a linear layer of PyTorch, and `B` is zero.
    pub(crate) fn new(config: &AdapterConfig, init: &mut WeightInit) -> Self {
        let layer = |&AdaptedLayer { inputs, outputs, .. }: &AdaptedLayer| {
            let a = init.uniform([inputs, config.rank], (inputs as f64).powf(-0.5));
            let b = Tensor::zeros([config.rank, outputs], init.device());
            let [lora_a, lora_b] =
                [a, b].map(|weight| Linear { weight: Param::from_tensor(weight), bias: None });
            LowRankLayer { lora_a, lora_b }
        };
        Self { layers: config.layers.iter().map(layer).collect(), config: config.clone() }
    }

    /// The updates as tensors in the graph.
    pub(crate) fn tensors(&self) -> Vec<(AdaptedLayer, LowRank)> {
        let layers = self.config.layers.iter().zip(&self.layers);
        let update = |(layer, LowRankLayer { lora_a, lora_b }): (&AdaptedLayer, &LowRankLayer)| {
            (*layer, LowRank { a: lora_a.weight.val(), b: lora_b.weight.val(), scale: self.config.scale() })
        };
        layers.map(update).collect()
    }

    /// The updates as plain values.
    pub(crate) fn to_adapter(&self) -> Result<Adapter, HeadError> {
        let format = |reason: String| HeadError::Format { reason };
        let json = serde_json::to_vec(&self.config).map_err(|error| format(error.to_string()))?;
        let mut hash = Sha256::new_with_prefix(json);
        let mut values = |layer: &Linear| {
            let values = layer.weight.val().without_autodiff().try_into_vec_as::<f32>();
            let values: Vec<f32> = values.map_err(|error| format(error.to_string()))?;
            values.iter().for_each(|value| hash.update(value.to_le_bytes()));
            Ok::<_, HeadError>(values)
        };
        let weights = self.layers.iter().map(|layer| {
            Ok::<_, HeadError>(AdapterWeights { a: values(&layer.lora_a)?, b: values(&layer.lora_b)? })
        });
        let weights = weights.collect::<Result<_, _>>()?;
        Ok(Adapter { config: self.config.clone(), weights, sha256: hex(&hash.finalize()) })
    }
}
