//! Checkpoints of OpenCLIP: `open_clip_config.json` with the model under `model_cfg`.

use serde_json::Value;

use super::architecture::Architecture;
use super::timm::Tower;
use super::{Family, Plan, Source, VisionSide};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{
    AttentionSpec, BlockSpec, FeedForwardSpec, Interpolation, NormScope, NormSpec, Offset, PatchOrder,
    TextHead, TextPositions, TextSpec, Token, VisionHead, VisionPositions, VisionSpec,
};

/// Vision side: the towers of OpenCLIP and those of timm. The pooled output is the projection into the space of the texts.
pub(super) static OPEN_CLIP: Family = Family {
    name: "OpenCLIP",
    model_types: &["open_clip"],
    checkpoints: &[
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        "apple/DFN5B-CLIP-ViT-H-14-378",
        "timm/vit_base_patch16_clip_224.metaclip_2pt5b",
        "timm/ViT-SO400M-14-SigLIP-384",
        "timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k",
        "timm/PE-Core-L-14-336",
    ],
    vision: Some(VisionSide::Transformer(vision)),
    text: Some(text),
};

/// Fields of a vision tower that are read, or that matter in training only.
const VISION_FIELDS: &[&str] = &[
    "act_kwargs",
    "attn_pooler_heads",
    "attn_pooler_queries",
    "final_ln_after_pool",
    "head_width",
    "image_size",
    "layers",
    "ls_init_value",
    "mlp_ratio",
    "no_ln_pre",
    "norm_kwargs",
    "output_tokens",
    "patch_dropout",
    "patch_size",
    "pool_type",
    "pos_embed_type",
    "timm_drop",
    "timm_drop_path",
    "timm_model_name",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "width",
];
/// The same of a text tower.
const TEXT_FIELDS: &[&str] = &[
    "act_kwargs",
    "context_length",
    "eos_id",
    "heads",
    "hf_tokenizer_name",
    "layers",
    "ls_init_value",
    "mlp_ratio",
    "no_causal_mask",
    "norm_kwargs",
    "output_tokens",
    "pad_id",
    "pool_type",
    "proj_bias",
    "proj_type",
    "tokenizer_kwargs",
    "tokenizer_mode",
    "vocab_size",
    "width",
];

fn vision(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let model = Model::read(source)?;
    let fields = model.tower("vision_cfg", VISION_FIELDS)?;
    match fields.0.get("timm_model_name").and_then(Value::as_str) {
        Some(name) => model.timm(source, fields, name),
        None => model.vision(fields),
    }
}

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let model = Model::read(source)?;
    let fields = model.tower("text_cfg", TEXT_FIELDS)?;
    let (width, activation, norm) =
        (fields.size("width", Some(512), SIZE)?, model.activation(fields)?, norm(fields)?);
    let full = fields.flag("no_causal_mask", false)?;
    let (token, padded) =
        match fields.choice("pool_type", Some("argmax"), &POOLED_TOKENS.map(|name| (name, name)))? {
            "argmax" if !full => (Token::LargestId, false),
            "eos" if !full => (Token::First(fields.size("eos_id", Some(2), 0..=*SIZE.end())? as i64), false),
            "last" if full => (Token::Last, true),
            _ => {
                // Such models look at padding that this one would not have.
                let expected = "argmax or eos of causal towers, last of those with `no_causal_mask`";
                return Err(fields.error("pool_type", expected));
            }
        };
    let heads = fields.heads("heads", Some(8), width)?;
    let attention = AttentionSpec { causal: !full, ..AttentionSpec::plain(width, heads) };
    let blocks = blocks(fields, width, attention, activation, norm)?;
    let length = fields.size("context_length", Some(77), SIZE)?;
    let projects = fields.choice("proj_type", Some(true), &[("linear", true), ("none", false)])?;
    let projection = projects.then_some(model.dimension);
    let bias = projects && fields.flag("proj_bias", false)?;
    let spec = TextSpec {
        positions: TextPositions::Table { count: length, offset: Offset::Zero },
        final_norm: Some(norm),
        head: Some(TextHead::Token { token, projection, bias }),
        padded,
        // Every tokenizer of OpenCLIP does.
        lower_case: true,
        ..TextSpec::new(fields.size("vocab_size", Some(49_408), SIZE)?, width, blocks, length)
    };
    let prefixes: &[&str] = if model.custom { &["text."] } else { &[] };
    Ok(Plan {
        spec,
        map: WeightMap { prefixes, rules: TEXT_NAMES, ignored: &["visual.", "logit_", "attn_mask"] },
    })
}

const POOLED_TOKENS: [&str; 5] = ["argmax", "eos", "last", "first", "none"];

/// `model_cfg`
struct Model<'a> {
    fields: Fields<'a>,
    /// Dimension of the shared space.
    dimension: usize,
    quick_gelu: bool,
    /// Whether the text tower is a model of its own.
    custom: bool,
}

impl<'a> Model<'a> {
    fn read(source: &Source<'a>) -> Result<Self, ModelError> {
        let fields = Fields(source.config);
        let Some(fields) = source.config.get("model_cfg").map(Fields) else {
            return Err(fields.error("model_cfg", "the configuration of a model"));
        };
        if fields.0.get("multimodal_cfg").is_some() {
            return Err(fields.error("multimodal_cfg", "none: CoCa is not supported"));
        }
        let custom = source.checkpoint.names().any(|name| name.starts_with("text."));
        let dimension = fields.size("embed_dim", None, SIZE)?;
        Ok(Self { fields, dimension, quick_gelu: fields.flag("quick_gelu", false)?, custom })
    }

    /// Returns the configuration of a tower. All fields must be `known`: others may change what is computed.
    fn tower(&self, field: &'static str, known: &[&str]) -> Result<Fields<'a>, ModelError> {
        let expected = "the configuration of a tower";
        let tower = self.fields.0.get(field).and_then(Value::as_object);
        let tower = tower.ok_or_else(|| self.fields.error(field, expected))?;
        let is_set = |value: &Value| !value.is_null() && *value != Value::Bool(false);
        match tower.iter().find(|(name, value)| !known.contains(&name.as_str()) && is_set(value)) {
            Some((name, _)) => {
                Err(self.fields.error(field, format!("no option `{name}`, which is not supported")))
            }
            None => Ok(Fields(&self.fields.0[field])),
        }
    }

    fn activation(&self, fields: Fields<'_>) -> Result<Activation, ModelError> {
        let options = Fields(&fields.0["act_kwargs"]);
        let exact = if self.quick_gelu { Activation::QuickGelu } else { Activation::Gelu };
        options.choice("approximate", Some(exact), &[("none", exact), ("tanh", Activation::GeluTanh)])
    }

    /// A tower of OpenCLIP itself.
    fn vision(&self, fields: Fields<'_>) -> Result<Plan<VisionSpec>, ModelError> {
        let width = fields.size("width", Some(768), SIZE)?;
        let head_width = fields.size("head_width", Some(64), 1..=width)?;
        if !width.is_multiple_of(head_width) {
            return Err(fields.error("head_width", format!("a divisor of the width, {width}")));
        }
        let (patch, image) = (fields.square("patch_size", 16)?, fields.square("image_size", 224)?);
        if image < patch {
            return Err(fields.error("image_size", format!("at least the patch size, {patch}")));
        }
        let norm = norm(fields)?;
        let attention = AttentionSpec::plain(width, width / head_width);
        let is_class = fields.choice("pool_type", Some(true), &[("tok", true), ("avg", false)])?;
        let norm_scope = match (fields.flag("final_ln_after_pool", false)?, is_class) {
            (false, _) => NormScope::All,
            (true, true) => NormScope::ClassToken,
            (true, false) => NormScope::PatchMean,
        };
        let interpolation = Interpolation::BicubicAntialias;
        let spec = VisionSpec {
            patch,
            width,
            patch_bias: false,
            patch_norm: None,
            patch_order: PatchOrder::ChannelFirst,
            class_tokens: 1,
            registers: 0,
            positions: VisionPositions::Table { grid: [image / patch; 2], prefix: 1, interpolation },
            rotary_grid: None,
            pre_norm: (!fields.flag("no_ln_pre", false)?).then_some(norm),
            blocks: blocks(fields, width, attention, self.activation(fields)?, norm)?,
            final_norm: Some(norm),
            norm_scope,
            head: Some(if is_class { VisionHead::ClassToken } else { VisionHead::PatchMean }),
            projection: Some(self.dimension),
            projection_bias: false,
        };
        Ok(Plan { spec, map: WeightMap { prefixes: &["visual."], rules: VISION_NAMES, ignored: &[] } })
    }

    /// A tower of timm, whose projection may be its classifier.
    fn timm(
        &self,
        source: &Source<'_>,
        fields: Fields<'_>,
        name: &str,
    ) -> Result<Plan<VisionSpec>, ModelError> {
        let pool = fields.0.get("timm_pool").map_or(Some("avg"), Value::as_str);
        let tower = Tower {
            architecture: Architecture::named(name, fields, "timm_model_name")?,
            pool,
            checkpoint: source.checkpoint,
            prefix: "visual.trunk.",
            fields,
            names: ["timm_model_name", "timm_pool"],
        };
        let mut plan = tower.plan()?;
        if plan.spec.head.is_none() {
            plan.spec.head = Some(VisionHead::ClassToken);
        }
        let classifier = match fields.0.get("timm_proj") {
            Some(Value::Null) => true,
            Some(Value::String(name)) if name.is_empty() => true,
            _ => false,
        };
        let choices = [("linear", true), ("none", false), ("", true)];
        let projects = fields.choice("timm_proj", Some(true), &choices)?;
        let bias = if classifier { tower.has("head.bias") } else { fields.flag("timm_proj_bias", false)? };
        plan.spec.projection = projects.then_some(self.dimension);
        plan.spec.projection_bias = projects && bias;
        plan.map.prefixes = &["visual."];
        plan.map.ignored = &[];
        Ok(plan)
    }
}

/// The epsilon of the norms of a tower.
fn norm(fields: Fields<'_>) -> Result<NormSpec, ModelError> {
    Ok(NormSpec::layer(Fields(&fields.0["norm_kwargs"]).epsilon("eps", 1e-5)?))
}

fn blocks(
    fields: Fields<'_>,
    width: usize,
    attention: AttentionSpec,
    activation: Activation,
    norm: NormSpec,
) -> Result<Vec<BlockSpec>, ModelError> {
    let inner = width as f64 * fields.number("mlp_ratio", 4.0, 0.01..=64.0)?;
    let feed_forward = FeedForwardSpec::plain(inner as usize, activation);
    let mut block = BlockSpec::pre_norm(width, attention, feed_forward, norm);
    block.layer_scale = fields.0.get("ls_init_value").is_some_and(|value| !value.is_null());
    Ok(vec![block; fields.size("layers", Some(12), LAYERS)?])
}

/// The names of a tower of OpenCLIP; also those of Perception Encoder, which has attention pooling.
pub(super) const VISION_NAMES: &[Rule] = &[
    Rule::Rename("transformer.resblocks.", "blocks."),
    Rule::Rename(".ln_1.", ".norm1."),
    Rule::Rename(".ln_2.", ".norm2."),
    Rule::Rename(".ls_1.gamma", ".scale1"),
    Rule::Rename(".ls_2.gamma", ".scale2"),
    Rule::Rename("attn_pool.attn.", "attn_pool."),
    Rule::Split("attn_pool.in_proj_", &["map.query.", "map.key.", "map.value."]),
    Rule::Rename("attn_pool.out_proj.", "map.output."),
    Rule::Rename("attn_pool.layernorm.", "map.norm."),
    Rule::Rename("attn_pool.", "map."),
    Rule::Split(".attn.in_proj_", &[".attention.query.", ".attention.key.", ".attention.value."]),
    Rule::Rename(".attn.out_proj.", ".attention.output."),
    Rule::Rename("mlp.c_fc.", "mlp.up."),
    Rule::Rename("mlp.c_proj.", "mlp.down."),
    Rule::Rename("conv1.", "patch."),
    Rule::Rename("class_embedding", "class_token"),
    Rule::Rename("positional_embedding", "positions"),
    Rule::Rename("ln_pre.", "pre_norm."),
    Rule::Rename("ln_post.", "norm."),
    // What is left of this name is the projection.
    Rule::Transpose("proj"),
    Rule::Rename("proj", "projection.weight"),
];

pub(super) const TEXT_NAMES: &[Rule] = &[
    Rule::Rename("transformer.resblocks.", "blocks."),
    Rule::Rename(".ln_1.", ".norm1."),
    Rule::Rename(".ln_2.", ".norm2."),
    Rule::Rename(".ls_1.gamma", ".scale1"),
    Rule::Rename(".ls_2.gamma", ".scale2"),
    Rule::Split(".attn.in_proj_", &[".attention.query.", ".attention.key.", ".attention.value."]),
    Rule::Rename(".attn.out_proj.", ".attention.output."),
    Rule::Rename(".mlp.c_fc.", ".mlp.up."),
    Rule::Rename(".mlp.c_proj.", ".mlp.down."),
    Rule::Rename("token_embedding.", "embeddings.word."),
    Rule::Rename("positional_embedding", "embeddings.position.weight"),
    Rule::Rename("ln_final.", "norm."),
    // A linear layer, or its transposed matrix alone.
    Rule::Rename("text_projection.", "projection."),
    Rule::Transpose("text_projection"),
    Rule::Rename("text_projection", "projection.weight"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pretrained::Checkpoint;

    /// laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K with a change of one field.
    fn config(pointer: &str, value: Value) -> Value {
        let mut config = json!({
            "model_cfg": {
                "embed_dim": 768,
                "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12}
            },
            "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073]}
        });
        if let Some((parent, field)) = pointer.rsplit_once('/') {
            config.pointer_mut(parent).unwrap()[field] = value;
        }
        config
    }

    fn read<T>(
        side: fn(&Source<'_>) -> Result<Plan<T>, ModelError>,
        pointer: &str,
        value: Value,
    ) -> Result<T, String> {
        let (config, checkpoint) = (config(pointer, value), Checkpoint::default());
        let plan = side(&Source { config: &config, checkpoint: &checkpoint });
        plan.map(|plan| plan.spec).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_both_towers() {
        let spec = read(vision, "", Value::Null).unwrap();
        let norm = NormSpec::layer(1e-5);
        let block = |width, activation| {
            let feed_forward = FeedForwardSpec::plain(4 * width, activation);
            BlockSpec::pre_norm(width, AttentionSpec::plain(width, width / 64), feed_forward, norm)
        };
        assert_eq!(spec.blocks, vec![block(1024, Activation::Gelu); 24]);
        assert_eq!(
            (spec.pre_norm, spec.norm_scope, spec.projection),
            (Some(norm), NormScope::All, Some(768))
        );
        let interpolation = Interpolation::BicubicAntialias;
        assert_eq!(spec.positions, VisionPositions::Table { grid: [16, 16], prefix: 1, interpolation });
        let openai = read(vision, "/model_cfg/quick_gelu", json!(true)).unwrap();
        assert_eq!(openai.blocks, vec![block(1024, Activation::QuickGelu); 24]);
        let huge = read(vision, "/model_cfg/vision_cfg/head_width", json!(128)).unwrap();
        assert_eq!(huge.blocks[0].attention.heads, 8);

        let spec = read(text, "", Value::Null).unwrap();
        let mut causal = block(768, Activation::Gelu);
        causal.attention.causal = true;
        assert_eq!(spec.blocks, vec![causal; 12]);
        let head = TextHead::Token { token: Token::LargestId, projection: Some(768), bias: false };
        assert_eq!((spec.head, spec.max_length, spec.padded), (Some(head), 77, false));
    }

    #[test]
    fn text_towers_that_are_not_supported_are_named() {
        for (field, value) in [
            ("hf_model_name", json!("roberta-base")),
            ("embed_cls", json!(true)),
            ("qk_norm", json!(true)),
            ("pool_type", json!("first")),
            // The pooled token would see padding.
            ("no_causal_mask", json!(true)),
            ("proj_type", json!("mlp")),
            ("heads", json!(7)),
        ] {
            let error = read(text, &format!("/model_cfg/text_cfg/{field}"), value).unwrap_err();
            let named = if field == "no_causal_mask" { "pool_type" } else { field };
            assert!(error.contains(named), "{error}");
        }
        // Options that are off.
        assert!(read(text, "/model_cfg/text_cfg/qk_norm", json!(false)).is_ok());
    }
}
