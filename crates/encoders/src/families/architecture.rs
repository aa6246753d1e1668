//! What timm's names of architectures say that tensors do not show.

use serde_json::Value;

use crate::blocks::Activation;
use crate::config::{Fields, SIZE};
use crate::pretrained::ModelError;
use crate::spec::{Order, Pairs, RotaryGrid, RotarySpec, Scaling};

/// Numbers of heads: that of the first part which a name contains.
const HEADS: &[(&str, usize)] = &[
    ("base_patch16_gap", 16),
    ("base_patch16_plus", 14),
    ("base_patch32_plus", 14),
    ("huge_plus", 20),
    ("vit_giant_patch14_dinov2", 24),
    ("vit_giant_patch14_reg", 24),
    ("giant_patch16_lingbot", 24),
    ("_7b_", 32),
    ("_tiny_", 3),
    ("_wee_", 4),
    ("_xsmall_", 4),
    ("_little_", 5),
    ("_small_", 6),
    ("_medium_", 8),
    ("_mediumd_", 8),
    ("_betwixt_", 10),
    ("_base_", 12),
    ("_so150m2_", 13),
    ("_so150m_", 14),
    ("_so400m_", 16),
    ("_large_", 16),
    ("_intern300m_", 16),
    ("_huge_", 16),
    ("_giant_", 16),
    ("_giantopt_", 16),
    ("_gigantic_", 16),
    ("_enormous_", 16),
];

/// Towers of SigLIP 2 with the approximation of GELU by tanh, which timm uses for those that came after SigLIP.
const TANH: &[&str] = &[
    "base_patch32_siglip",
    "giantopt_patch16_siglip",
    "large_patch16_siglip_512",
    "large_patch16_siglip_gap_512",
    "so400m_patch16_siglip",
];

/// Architectures whose blocks are computed in another way without tensors of other shapes.
const UNSUPPORTED: &[&str] = &["_rope_224", "_rope_ape_", "_rope_mixed_", "_sapiens2", "_radio_"];

/// Arguments that tensors show, or that matter in training only.
const ARGUMENTS: &[&str] = &[
    "attn_pool_mlp_ratio",
    "class_token",
    "depth",
    "drop_path_rate",
    "drop_rate",
    "dynamic_img_pad",
    "dynamic_img_size",
    "embed_dim",
    "fc_norm",
    "final_norm",
    "global_pool",
    "head_init_scale",
    "in_chans",
    "init_values",
    "mlp_ratio",
    "no_embed_class",
    "num_classes",
    "num_reg_tokens",
    "patch_size",
    "pre_norm",
    "qkv_bias",
    "qkv_fused",
    "reg_tokens",
    "scale_attn_inner",
    "scale_mlp",
    "strict_img_size",
    "swiglu_align_to",
    "swiglu_mlp",
    "use_fc_norm",
    "use_post_transformer_norm",
    "use_pre_transformer_norm",
    "weight_init",
];
/// Arguments that are read.
const READ: &[&str] = &["act_layer", "attn_pool_num_heads", "img_size", "num_heads", "ref_feat_shape"];

/// An architecture of timm with the arguments of a checkpoint.
#[derive(Clone, Copy)]
pub(super) struct Architecture<'a> {
    pub(super) name: &'a str,
    /// `model_args`
    arguments: Fields<'a>,
    /// `pretrained_cfg`
    settings: Fields<'a>,
}

impl<'a> Architecture<'a> {
    /// Reads the configuration of a checkpoint of timm.
    ///
    /// # Errors
    /// Returns [`ModelError::Config`] for an architecture or argument that is not supported.
    pub(super) fn read(fields: Fields<'a>) -> Result<Self, ModelError> {
        let name = fields.0.get("architecture").and_then(Value::as_str);
        let name = name.ok_or_else(|| fields.error("architecture", "the name of an architecture of timm"))?;
        let object = |field| fields.0.get(field).map(Fields);
        let arguments = object("model_args").unwrap_or(Fields(&Value::Null));
        // In the first files on the hub, the settings are at the root.
        let settings = object("pretrained_cfg").unwrap_or(fields);
        Self { name, arguments, settings }.checked(fields, "architecture")
    }

    /// An architecture of this name without arguments, from another field.
    ///
    /// # Errors
    /// Returns [`ModelError::Config`] if it is not supported.
    pub(super) fn named(name: &'a str, fields: Fields<'a>, field: &'static str) -> Result<Self, ModelError> {
        Self { name, arguments: Fields(&Value::Null), settings: Fields(&Value::Null) }.checked(fields, field)
    }

    fn checked(self, fields: Fields<'_>, field: &'static str) -> Result<Self, ModelError> {
        if UNSUPPORTED.iter().any(|part| self.name.contains(part)) {
            return Err(fields.error(field, "an architecture of timm that is supported"));
        }
        let arguments = self.arguments.0.as_object().into_iter().flatten();
        for (name, value) in arguments {
            let known = [ARGUMENTS, READ].concat().contains(&name.as_str());
            if !known && !value.is_null() {
                return Err(
                    fields.error("model_args", format!("no argument `{name}`, which is not supported"))
                );
            }
        }
        Ok(self)
    }

    /// Returns the error for a field of `pretrained_cfg`.
    pub(super) fn error(&self, field: &'static str, expected: String) -> ModelError {
        self.settings.error(field, expected)
    }

    /// The number of heads of the attention.
    pub(super) fn heads(&self, width: usize) -> Result<usize, ModelError> {
        let named = HEADS.iter().find(|(part, _)| self.name.contains(part)).map(|(_, heads)| *heads);
        self.arguments.heads("num_heads", named, width)
    }

    /// The number of heads of the attention pooling.
    pub(super) fn pool_heads(&self, width: usize) -> Result<usize, ModelError> {
        let default = if self.name.contains("_pe_") { 8 } else { self.heads(width)? };
        self.arguments.heads("attn_pool_num_heads", Some(default), width)
    }

    /// The epsilon of all norms.
    pub(super) fn epsilon(&self) -> f64 {
        let is_clip = self.name.starts_with("vit_") && self.name.contains("_clip_");
        let others = ["_pe_", "_dinov3", "_lingbot", "beit3_"];
        if is_clip || others.iter().any(|part| self.name.contains(part)) { 1e-5 } else { 1e-6 }
    }

    /// The activation of the feed-forward networks.
    pub(super) fn activation(&self, gated: bool) -> Result<Activation, ModelError> {
        let named = match self.name {
            _ if gated => Activation::Silu,
            name if name.contains("_quickgelu") => Activation::QuickGelu,
            name if TANH.iter().any(|part| name.contains(part)) => Activation::GeluTanh,
            _ => Activation::Gelu,
        };
        let choices = [
            ("gelu", Activation::Gelu),
            ("gelu_tanh", Activation::GeluTanh),
            ("quick_gelu", Activation::QuickGelu),
            ("quickgelu", Activation::QuickGelu),
            ("silu", Activation::Silu),
        ];
        self.arguments.choice("act_layer", Some(named), &choices)
    }

    /// The place of the norms.
    pub(super) fn order(&self) -> Order {
        let post = ["eva02_enormous", "_rpn_"].iter().any(|part| self.name.contains(part));
        if post { Order::ResidualPost } else { Order::Pre }
    }

    /// The trained size of images, if it is known.
    pub(super) fn image(&self) -> Result<Option<[usize; 2]>, ModelError> {
        if let Some(sides) = sides(&self.arguments, "img_size")? {
            return Ok(Some(sides));
        }
        let size = self.settings.read::<[usize; 3]>("input_size", "[3, height, width]")?;
        Ok(size.map(|[_, height, width]| [height, width]))
    }

    /// The rotary embedding of a model with so many class tokens and a table of positions for this grid.
    pub(super) fn rotary(
        &self,
        class_tokens: usize,
        grid: Option<[usize; 2]>,
    ) -> Result<Option<(RotarySpec, RotaryGrid)>, ModelError> {
        let spec = |theta, pairs| RotarySpec { theta, scaling: Scaling::None, pairs };
        let contains = |part| self.name.contains(part);
        if contains("_dinov3") || contains("_lingbot") {
            return Ok(Some((spec(100.0, Pairs::Halves), RotaryGrid::Centers)));
        }
        if contains("_pe_") {
            let reference = sides(&self.arguments, "ref_feat_shape")?.or(grid);
            let first = if class_tokens > 0 { 1.0 } else { 0.0 };
            return Ok(Some((spec(1e4, Pairs::Neighbors), RotaryGrid::ColumnsFirst { reference, first })));
        }
        if contains("eva02_") && !contains("_enormous_") || contains("_rope_reg") {
            let reference = sides(&self.arguments, "ref_feat_shape")?.or(Some([16, 16]));
            return Ok(Some((spec(1e4, Pairs::Neighbors), RotaryGrid::Indices { reference, offset: 0.0 })));
        }
        Ok(None)
    }
}

/// Returns height and width, given as one number or as two.
fn sides(fields: &Fields<'_>, field: &'static str) -> Result<Option<[usize; 2]>, ModelError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Sides {
        Square(usize),
        Two([usize; 2]),
    }
    let found = fields.read::<Sides>(field, "an integer, or height and width")?;
    let sides = found.map(|sides| match sides {
        Sides::Square(side) => [side, side],
        Sides::Two(sides) => sides,
    });
    match sides {
        Some(sides) if sides.iter().any(|side| !SIZE.contains(side)) => {
            Err(fields.error(field, "positive height and width"))
        }
        sides => Ok(sides),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// From `generate_timm.py`: width, heads, epsilon, activation and kind of rotary embedding of every architecture.
    const ARCHITECTURES: &str = include_str!("../../tests/fixtures/vision/timm_architectures.json");

    #[test]
    fn names_mean_what_they_mean_in_timm() {
        let all: BTreeMap<String, (usize, usize, f64, String, Option<String>)> =
            serde_json::from_str(ARCHITECTURES).unwrap();
        assert!(all.len() > 150);
        for (name, (width, heads, epsilon, activation, rotary)) in &all {
            let config = serde_json::json!({ "architecture": name });
            let found = Architecture::read(Fields(&config)).unwrap();
            assert_eq!(found.heads(*width).unwrap(), *heads, "{name}");
            assert_eq!(found.epsilon(), *epsilon, "{name}");
            let expected = match activation.as_str() {
                "GELU" => Activation::Gelu,
                "GELUTanh" => Activation::GeluTanh,
                "QuickGELU" => Activation::QuickGelu,
                "SiLU" => Activation::Silu,
                other => panic!("{name}: {other}"),
            };
            assert_eq!(found.activation(activation == "SiLU").unwrap(), expected, "{name}");
            let kind = found.rotary(1, None).unwrap().map(|(_, grid)| match grid {
                RotaryGrid::Centers => "centers",
                RotaryGrid::Indices { .. } => "ij",
                RotaryGrid::ColumnsFirst { .. } => "xy",
            });
            assert_eq!(kind, rotary.as_deref(), "{name}");
        }
    }
}
