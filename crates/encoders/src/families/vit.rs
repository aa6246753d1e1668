//! The plain ViT, as in DINO and iBOT, also in the files of their authors.

use serde_json::json;

use super::original;
use super::sizes::{MAX_WIDTH, Sizes, biases};
use super::{Family, Plan, Source, VisionSide};
use crate::config::Fields;
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{Interpolation, VisionHead, VisionPositions, VisionSpec};

pub(super) static VIT: Family = Family {
    name: "ViT, DINO, iBOT",
    model_types: &["vit", "dino", "ibot"],
    checkpoints: &[
        "facebook/dino-vits16",
        "facebook/dino-vits8",
        "facebook/dino-vitb16",
        "facebook/dino-vitb8",
        "google/vit-base-patch16-224-in21k",
    ],
    vision: Some(VisionSide::Transformer(vit)),
    text: None,
};

fn vit(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    if original::is_layout_of(source.checkpoint) {
        let mut plan = original::plan(source)?;
        if let VisionPositions::Table { interpolation, .. } = &mut plan.spec.positions {
            *interpolation = Interpolation::BicubicOffset;
        }
        return Ok(plan);
    }
    let sizes = Sizes::read(fields, Sizes::BASE)?;
    let mut block = sizes.block();
    block.attention.biases = biases(fields)?;
    let mut spec = sizes.spec(block);
    if source.checkpoint.names().any(|name| name.ends_with("pooler.dense.weight")) {
        fields.only("pooler_act", json!("tanh"))?;
        // 0 stands for the hidden size, as in transformers.
        let size = fields.size("pooler_output_size", Some(0), 0..=MAX_WIDTH)?;
        spec.head = Some(VisionHead::Tanh { width: if size == 0 { sizes.width } else { size } });
    }
    Ok(Plan {
        spec,
        map: WeightMap { prefixes: &["vit."], rules: NAMES, ignored: &["embeddings.mask_token"] },
    })
}

/// The names of transformers before version 5, which it still writes, and those in its memory.
pub(super) const NAMES: &[Rule] = &[
    Rule::Rename("embeddings.cls_token", "class_token"),
    Rule::Rename("embeddings.register_tokens", "registers"),
    Rule::Rename("embeddings.position_embeddings", "positions"),
    Rule::Rename("embeddings.patch_embeddings.projection.", "patch."),
    Rule::Rename("encoder.layer.", "blocks."),
    Rule::Rename("layers.", "blocks."),
    Rule::Rename("attention.attention.", "attention."),
    Rule::Rename("attention.output.dense.", "attention.output."),
    Rule::Rename("attention.q_proj.", "attention.query."),
    Rule::Rename("attention.k_proj.", "attention.key."),
    Rule::Rename("attention.v_proj.", "attention.value."),
    Rule::Rename("attention.o_proj.", "attention.output."),
    Rule::Rename("layernorm_before.", "norm1."),
    Rule::Rename("layernorm_after.", "norm2."),
    Rule::Rename("layer_scale1.lambda1", "scale1"),
    Rule::Rename("layer_scale2.lambda1", "scale2"),
    Rule::Rename("intermediate.dense.", "mlp.up."),
    Rule::Rename(".output.dense.", ".mlp.down."),
    Rule::Split("mlp.weights_in.", &["mlp.gate.", "mlp.up."]),
    Rule::Rename("mlp.weights_out.", "mlp.down."),
    Rule::Rename("mlp.gate_proj.", "mlp.gate."),
    Rule::Rename("mlp.up_proj.", "mlp.up."),
    Rule::Rename("mlp.down_proj.", "mlp.down."),
    Rule::Rename("mlp.fc1.", "mlp.up."),
    Rule::Rename("mlp.fc2.", "mlp.down."),
    Rule::Rename("layernorm.", "norm."),
    Rule::Rename("pooler.dense.", "pooler."),
];
