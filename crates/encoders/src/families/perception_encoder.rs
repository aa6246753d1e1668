//! Perception Encoder (arXiv 2504.13181) in the files of its authors.
//!
//! Such files have no configuration. A `config.json` beside them needs no more than the `model_type`: the sizes are those of
//! the tensors, and numbers of heads those of the published models unless `heads`, `attn_pooler_heads` and `text_heads` say
//! otherwise. The text side needs the `tokenizer.json` of CLIP beside them, too.

use super::open_clip::{TEXT_NAMES, VISION_NAMES};
use super::{Family, Plan, Source, VisionSide};
use crate::blocks::Activation;
use crate::config::Fields;
use crate::pretrained::{Checkpoint, ModelError, WeightMap};
use crate::spec::{
    AttentionSpec, BlockSpec, FeedForwardSpec, Interpolation, MapSpec, NormScope, NormSpec, Offset, Pairs,
    PatchOrder, RotaryGrid, RotarySpec, Scaling, TextHead, TextPositions, TextSpec, Token, VisionHead,
    VisionPositions, VisionSpec,
};

/// The pooled output is that of attention pooling after the projection. Models for dense features have none.
pub(super) static PERCEPTION_ENCODER: Family = Family {
    name: "Perception Encoder",
    model_types: &["perception_encoder"],
    checkpoints: &[
        "facebook/PE-Core-B16-224",
        "facebook/PE-Core-L14-336",
        "facebook/PE-Core-G14-448",
        "facebook/PE-Spatial-G14-448",
    ],
    vision: Some(VisionSide::Transformer(vision)),
    text: Some(text),
};

/// Numbers of heads by width.
const HEADS: [(usize, usize); 5] = [(192, 3), (384, 6), (768, 12), (1024, 16), (1536, 16)];

/// The places of the vision tower in a file.
const PREFIXES: &[&str] =
    &["weights.module.visual.", "weights.visual.", "module.visual.", "visual.", "weights.", "module."];

/// The places of the text tower, beside the vision tower.
const TEXT_PREFIXES: &[&str] = &["weights.module.", "weights.", "module."];

/// The width of a head of all published text towers.
const TEXT_HEAD_WIDTH: usize = 64;

fn vision(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let shape = |name: &str| shape(source.checkpoint, PREFIXES, name);
    let Some(&[width, _, patch, _]) = shape("conv1.weight") else {
        return Err(fields.error("model_type", "that of the checkpoint, which has no kernel `conv1.weight`"));
    };
    let size = |name: &str, dimension: usize| shape(name).and_then(|shape| shape.get(dimension)).copied();
    let has = |name: &str| shape(name).is_some();
    let published = HEADS.iter().find(|(known, _)| *known == width).map(|(_, heads)| *heads);
    let norm = NormSpec::layer(1e-5);
    let class_tokens = usize::from(has("class_embedding"));
    let side = size("positional_embedding", 0).unwrap_or(0).saturating_sub(class_tokens).isqrt();
    let feed_forward = |inner: Option<usize>| FeedForwardSpec::plain(inner.unwrap_or(0), Activation::Gelu);
    let mut attention = AttentionSpec::plain(width, fields.heads("heads", published, width)?);
    attention.rotary = Some(RotarySpec { theta: 1e4, scaling: Scaling::None, pairs: Pairs::Neighbors });
    let inner = size("transformer.resblocks.0.mlp.c_fc.weight", 0);
    let mut block = BlockSpec::pre_norm(width, attention, feed_forward(inner), norm);
    block.layer_scale = has("transformer.resblocks.0.ls_1.gamma");
    let depth = depth(has);
    let head = if has("attn_pool.probe") {
        Some(VisionHead::Map(MapSpec {
            heads: fields.heads("attn_pooler_heads", Some(8), width)?,
            prefix: true,
            query: true,
            bias: true,
            norm: Some(norm),
            feed_forward: Some(feed_forward(size("attn_pool.mlp.c_fc.weight", 0))),
        }))
    } else {
        None
    };
    let spec = VisionSpec {
        patch,
        width,
        patch_bias: false,
        patch_norm: None,
        patch_order: PatchOrder::ChannelFirst,
        class_tokens,
        registers: 0,
        positions: if has("positional_embedding") {
            let interpolation = Interpolation::Bilinear;
            VisionPositions::Table { grid: [side; 2], prefix: class_tokens, interpolation }
        } else {
            VisionPositions::None
        },
        rotary_grid: Some(RotaryGrid::ColumnsFirst { reference: None, first: class_tokens as f64 }),
        pre_norm: has("ln_pre.weight").then_some(norm),
        blocks: vec![block; depth],
        final_norm: has("ln_post.weight").then_some(norm),
        norm_scope: NormScope::All,
        head,
        projection: size("proj", 1),
        projection_bias: false,
    };
    Ok(Plan { spec, map: WeightMap { prefixes: PREFIXES, rules: VISION_NAMES, ignored: &["logit_scale"] } })
}

/// The text tower of CLIP with the GELU of its vision tower.
fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let shape = |name: &str| shape(source.checkpoint, TEXT_PREFIXES, name);
    let Some(&[vocabulary, width]) = shape("token_embedding.weight") else {
        let expected = "that of a checkpoint with a text side: this one has no `token_embedding.weight`";
        return Err(fields.error("model_type", expected));
    };
    let size = |name: &str, dimension: usize| shape(name).and_then(|shape| shape.get(dimension)).copied();
    let heads = width.is_multiple_of(TEXT_HEAD_WIDTH).then_some(width / TEXT_HEAD_WIDTH);
    let attention = AttentionSpec {
        causal: true,
        ..AttentionSpec::plain(width, fields.heads("text_heads", heads, width)?)
    };
    let inner = size("transformer.resblocks.0.mlp.c_fc.weight", 0).unwrap_or(0);
    let (feed_forward, norm) = (FeedForwardSpec::plain(inner, Activation::Gelu), NormSpec::layer(1e-5));
    let blocks = vec![
        BlockSpec::pre_norm(width, attention, feed_forward, norm);
        depth(|name: &str| shape(name).is_some())
    ];
    let length = size("positional_embedding", 0).unwrap_or(0);
    let projection = size("text_projection", 1);
    let spec = TextSpec {
        positions: TextPositions::Table { count: length, offset: Offset::Zero },
        final_norm: Some(norm),
        head: Some(TextHead::Token { token: Token::LargestId, projection, bias: false }),
        ..TextSpec::new(vocabulary, width, blocks, length)
    };
    let (prefixes, ignored) = (TEXT_PREFIXES, &["visual.", "logit_scale", "attn_mask"]);
    Ok(Plan { spec, map: WeightMap { prefixes, rules: TEXT_NAMES, ignored } })
}

/// Counts the blocks of a tower, given which of its tensors exist.
fn depth(has: impl Fn(&str) -> bool) -> usize {
    (0..).take_while(|index| has(&format!("transformer.resblocks.{index}.ln_1.weight"))).count()
}

/// Returns the shape of a tensor, whatever the prefix of its name.
fn shape<'a>(checkpoint: &'a Checkpoint, prefixes: &[&str], name: &str) -> Option<&'a [usize]> {
    prefixes.iter().chain(&[""]).find_map(|prefix| checkpoint.shape(&format!("{prefix}{name}")))
}
