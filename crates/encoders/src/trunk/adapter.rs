//! Adapters of the blocks of an encoder.

use burn::tensor::{DType, Device, Tensor, TensorData};
use sail_core::{AdaptedLayer, Adapter, AdapterWeights, Check, ConfigError, LoraLayer, LowRank, ensure};

use crate::spec::BlockSpec;

/// Checks that an encoder has the layers of adapters.
pub(crate) fn check(adapter: &Adapter, specs: &[BlockSpec]) -> Result<(), ConfigError> {
    adapter.config.check()?;
    let count = adapter.weights.len();
    ensure(
        count == adapter.config.layers.len(),
        "adapter",
        format!("of {count} layers"),
        "as many as it names",
    )?;
    let rank = adapter.config.rank;
    for (layer, AdapterWeights { a, b }) in adapter.config.layers.iter().zip(&adapter.weights) {
        let AdaptedLayer { block, layer: name, inputs, outputs } = *layer;
        let found = specs.get(block).and_then(|spec| spec.linears().find(|(found, _)| *found == name));
        let expected = match found {
            Some((_, [inputs, outputs])) => {
                format!("{inputs} x {outputs}, the size of {layer} in the encoder")
            }
            None => format!("a layer of the {} blocks of the encoder", specs.len()),
        };
        let is_same = found.is_some_and(|(_, shape)| shape == [inputs, outputs]);
        ensure(is_same, "adapter", format!("{layer} of {inputs} x {outputs}"), expected)?;
        let sizes = [a.len(), b.len()];
        let expected = [inputs * rank, rank * outputs];
        ensure(
            sizes == expected,
            "adapter",
            format!("{layer} with {sizes:?} values"),
            format!("{expected:?}"),
        )?;
    }
    Ok(())
}

/// Returns the update of a layer, or `None` if it has none or the update is zero: adapters that were not trained leave the
/// weights as they are, byte for byte.
pub(crate) fn update(adapter: &Adapter, block: usize, layer: LoraLayer, device: &Device) -> Option<LowRank> {
    let (AdaptedLayer { inputs, outputs, .. }, AdapterWeights { a, b }) = adapter.of_layer(block, layer)?;
    if b.iter().all(|value| *value == 0.0) {
        return None;
    }
    let rank = adapter.config.rank;
    let tensor = |values: &Vec<f32>, shape| {
        Tensor::from_data(TensorData::new(values.clone(), shape), (device, DType::F32))
    };
    let (a, b) = (tensor(a, [*inputs, rank]), tensor(b, [rank, *outputs]));
    Some(LowRank { a, b, scale: adapter.config.scale() })
}
