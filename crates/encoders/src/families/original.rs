//! Files of the authors of DINO, iBOT, MAE and I-JEPA, which have the names of timm, as those of TIPSv2 have.
//!
//! Such files have no configuration. A `config.json` beside them needs no more than the `model_type`: the sizes are those of
//! the tensors, and heads have 64 features, as in all published models, unless `num_attention_heads` says otherwise.

use super::sizes::Sizes;
use super::{Plan, Source};
use crate::config::Fields;
use crate::pretrained::{Checkpoint, ModelError, Rule, WeightMap};
use crate::spec::{Biases, Interpolation, VisionHead, VisionSpec};

const HEAD_WIDTH: usize = 64;

/// Returns whether a checkpoint has the names of these files.
pub(super) fn is_layout_of(checkpoint: &Checkpoint) -> bool {
    shape(checkpoint, "patch_embed.proj.weight").is_some()
}

/// Reads a plain ViT with the sizes of the tensors; without a class token if there is none.
pub(super) fn plan(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let checkpoint = source.checkpoint;
    let fields = Fields(source.config);
    let has = |name| shape(checkpoint, name).is_some();
    let class_tokens = usize::from(has("cls_token"));
    let stored = stored(checkpoint, class_tokens);
    if stored.heads == 0 && fields.get("num_attention_heads").is_none() {
        let expected = format!(
            "the number of heads, because heads of {HEAD_WIDTH} do not divide a width of {}",
            stored.width
        );
        return Err(fields.error("num_attention_heads", expected));
    }
    let sizes = Sizes::read(fields, stored)?;
    let mut block = sizes.block();
    block.layer_scale = has("blocks.0.gamma_1") || has("blocks.0.ls1.gamma");
    block.attention.biases = Biases::new(has("blocks.0.attn.qkv.bias"), true);
    let spec = VisionSpec {
        class_tokens,
        positions: sizes.table(class_tokens, Interpolation::Bicubic),
        head: (class_tokens == 0).then_some(VisionHead::PatchMean),
        ..sizes.spec(block)
    };
    Ok(Plan { spec, map: MAP })
}

/// Returns the sizes of the tensors. Where they have an unexpected shape, loading fails with their names.
fn stored(checkpoint: &Checkpoint, class_tokens: usize) -> Sizes {
    let size = |name, dimension: usize| shape(checkpoint, name)?.get(dimension).copied();
    let base = Sizes { epsilon: 1e-6, ..Sizes::BASE };
    let width = size("patch_embed.proj.weight", 0).unwrap_or(base.width);
    let patch = size("patch_embed.proj.weight", 2).unwrap_or(base.patch);
    let tokens = size("pos_embed", 1).unwrap_or(0).saturating_sub(class_tokens);
    let layers =
        (0..).take_while(|index| shape(checkpoint, &format!("blocks.{index}.norm1.weight")).is_some());
    Sizes {
        width,
        layers: layers.count(),
        heads: if width.is_multiple_of(HEAD_WIDTH) { width / HEAD_WIDTH } else { 0 },
        inner: size("blocks.0.mlp.fc1.weight", 0).unwrap_or(4 * width),
        patch,
        image: tokens.isqrt() * patch,
        ..base
    }
}

/// Returns the shape of a tensor, whatever the prefix of its name.
fn shape<'a>(checkpoint: &'a Checkpoint, name: &str) -> Option<&'a [usize]> {
    let prefix = PREFIXES.iter().find(|prefix| checkpoint.shape(&format!("{prefix}{name}")).is_some());
    checkpoint.shape(&format!("{}{name}", prefix.unwrap_or(&"")))
}

/// The places of the encoder in a checkpoint of training: the teacher, if there is one.
const PREFIXES: &[&str] = &[
    "teacher.module.backbone.",
    "teacher.backbone.",
    "student.module.backbone.",
    "student.backbone.",
    "encoder.module.",
    "encoder.",
    "model.",
    "module.",
];

/// The names of timm, and those of the descendants of DINOv2.
pub(super) const NAMES: &[Rule] = &[
    Rule::Rename("patch_embed.proj.", "patch."),
    Rule::Rename("cls_token", "class_token"),
    Rule::Rename("register_tokens", "registers"),
    Rule::Rename("pos_embed", "positions"),
    Rule::Split("attn.qkv.", &["attention.query.", "attention.key.", "attention.value."]),
    Rule::Rename("attn.proj.", "attention.output."),
    Rule::Rename("gamma_1", "scale1"),
    Rule::Rename("gamma_2", "scale2"),
    Rule::Rename("ls1.gamma", "scale1"),
    Rule::Rename("ls2.gamma", "scale2"),
    Rule::Rename("mlp.fc1.", "mlp.up."),
    Rule::Rename("mlp.fc2.", "mlp.down."),
    Rule::Rename("mlp.c_fc.", "mlp.up."),
    Rule::Rename("mlp.c_proj.", "mlp.down."),
    Rule::Split("mlp.w12.", &["mlp.gate.", "mlp.up."]),
    Rule::Rename("mlp.w3.", "mlp.down."),
];

const MAP: WeightMap = WeightMap {
    prefixes: PREFIXES,
    rules: NAMES,
    // The heads of training, the decoder of MAE, and tokens in the place of masked patches.
    ignored: &["head.", "decoder", "mask_token", "masked_embed"],
};
