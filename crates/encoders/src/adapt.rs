//! The last blocks of a model, to train adapters of them.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{ConfigError, ImagePooling, Layer, Provenance, TokenBlocks, TokenLayout};

use crate::families::{self, Source, VisionSide};
use crate::pretrained::{ModelError, ModelFolder};
use crate::spec::VisionSpec;
use crate::trunk::Placement;
use crate::trunk::vision::{TailConfig, VisionTail};

/// Loads the blocks of a vision transformer behind stored token states, to train adapters of them, or to run them as they are.
///
/// `states` is the provenance of the store: the model, which must be that of the folder, the layer, and the layout of a row.
/// `pooling` is `None` for that of the model, as [`VisionOptions::pooling`](crate::VisionOptions::pooling). Blocks to train
/// compute in f32; blocks that are not trained compute exactly what the encoder does.
///
/// A store has neither registers nor several class tokens, so models with these are refused, and so are convolutional ones.
///
/// # Errors
/// Returns [`ModelError::Option`] if the states are not those of this model, not of an inner layer, or not all that the blocks
/// need, and if the model does not have what the pooling needs; and as [`load_vision`](crate::load_vision).
pub fn load_vision_blocks(
    folder: &ModelFolder,
    states: &Provenance,
    pooling: Option<ImagePooling>,
    is_trained: bool,
    device: &Device,
) -> Result<Arc<dyn TokenBlocks>, ModelError> {
    let VisionSide::Transformer(read) = families::vision(folder.config())? else {
        let expected = "a vision transformer: convolutional networks have no blocks that can be adapted";
        return Err(option("model", folder.name(), expected));
    };
    let checkpoint = folder.checkpoint()?;
    let plan = read(&Source { config: folder.config(), checkpoint: &checkpoint })?;
    let (first, grid) = check_states(&plan.spec, states)?;
    if let Some(contradiction) = states.contradiction(&folder.provenance()?) {
        let expected = format!("{}, the model of the stored token states", contradiction.expected);
        return Err(option(contradiction.field, contradiction.found, expected));
    }
    let pooling = pooling.unwrap_or_else(|| plan.spec.default_pooling());
    if pooling == ImagePooling::Tokens {
        return Err(option("pooling", pooling, "a pooling into one row"));
    }
    let placement = Placement::new(states.precision.unwrap_or_default().into(), device);
    let config = TailConfig { first, is_trained, grid, pooling, provenance: states.clone() };
    Ok(Arc::new(VisionTail::load(plan, &checkpoint, config, &placement)?))
}

/// Returns the first block after the states, and their grid.
fn check_states(spec: &VisionSpec, states: &Provenance) -> Result<(usize, [usize; 2]), ModelError> {
    if spec.class_tokens > 1 || spec.registers > 0 {
        let found = format!("one with {} class tokens and {} registers", spec.class_tokens, spec.registers);
        return Err(option(
            "model",
            found,
            "at most one class token and no registers: others are not stored",
        ));
    }
    let has_class_token = spec.class_tokens == 1;
    let grid = match states.tokens {
        Some(TokenLayout::Image { class_token, grid, dim })
            if (class_token, dim) == (has_class_token, spec.width) =>
        {
            grid
        }
        tokens => {
            let found = tokens.map_or("none".to_owned(), |tokens| tokens.to_string());
            let class_token = if has_class_token { "a class token and " } else { "" };
            let expected = format!(
                "{class_token}patches of {} values: encode images with the pooling `tokens`",
                spec.width
            );
            return Err(option("tokens", found, expected));
        }
    };
    let is_changed = [("quantization", states.quantization.is_some()), ("adapter", states.adapter.is_some())];
    if let Some((field, _)) = is_changed.into_iter().find(|(_, is_set)| *is_set) {
        return Err(option(field, "set", "none: encode the states with the weights as they are"));
    }
    let blocks = spec.blocks.len();
    let layer = states.layer.unwrap_or_default();
    let first = match layer {
        Layer::FromEnd(n) if n >= 2 => (blocks + 1).checked_sub(n),
        _ => None,
    };
    let expected = || format!("-2 to -{}: encode the input of the blocks to adapt", blocks + 1);
    Ok((first.ok_or_else(|| option("layer", layer, expected()))?, grid))
}

fn option(field: &str, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Option(ConfigError {
        field: field.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
    })
}
