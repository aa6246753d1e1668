//! DINOv2, with and without registers.

use super::sizes::{Sizes, biases};
use super::{Family, Plan, Source, VisionSide, vit};
use crate::blocks::Activation;
use crate::config::Fields;
use crate::pretrained::{ModelError, WeightMap};
use crate::spec::{FeedForwardSpec, Interpolation, VisionSpec};

pub(super) static DINOV2: Family = Family {
    name: "DINOv2",
    model_types: &["dinov2", "dinov2_with_registers"],
    checkpoints: &[
        "facebook/dinov2-small",
        "facebook/dinov2-base",
        "facebook/dinov2-large",
        "facebook/dinov2-giant",
        "facebook/dinov2-with-registers-small",
        "facebook/dinov2-with-registers-base",
        "facebook/dinov2-with-registers-large",
        "facebook/dinov2-with-registers-giant",
    ],
    vision: Some(VisionSide::Transformer(dinov2)),
    text: None,
};

fn dinov2(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let has_registers = source.config["model_type"] == "dinov2_with_registers";
    let patch = if has_registers { 16 } else { 14 };
    let (sizes, mut spec) = read(fields, Sizes { patch, epsilon: 1e-6, ..Sizes::BASE })?;
    if has_registers {
        spec.registers = fields.size("num_register_tokens", Some(4), 0..=1024)?;
        spec.positions = sizes.table(1, Interpolation::BicubicAntialias);
    }
    let prefixes = &["dinov2_with_registers.", "dinov2."];
    Ok(Plan { spec, map: WeightMap { prefixes, rules: vit::NAMES, ignored: &["embeddings.mask_token"] } })
}

/// Reads a model without registers, with these sizes by default.
pub(super) fn read(fields: Fields<'_>, default: Sizes) -> Result<(Sizes, VisionSpec), ModelError> {
    let sizes = Sizes::read(fields, default)?;
    let width = inner_width(fields, sizes.width)?;
    let mut block = sizes.block();
    block.layer_scale = true;
    block.attention.biases = biases(fields)?;
    block.feed_forward = if fields.flag("use_swiglu_ffn", false)? {
        // Two thirds of the MLP's width, rounded up to a multiple of 8.
        FeedForwardSpec::gated((width * 2 / 3).next_multiple_of(8), Activation::Silu, true)
    } else {
        FeedForwardSpec::plain(width, sizes.activation)
    };
    Ok((sizes, sizes.spec(block)))
}

/// Reads the width of a feed-forward network that is given by its ratio to that of the states.
pub(super) fn inner_width(fields: Fields<'_>, width: usize) -> Result<usize, ModelError> {
    match (width as f64 * fields.number("mlp_ratio", 4.0, 0.0..=64.0)?) as usize {
        0 => Err(fields.error("mlp_ratio", "a ratio that leaves at least one feature")),
        inner => Ok(inner),
    }
}
