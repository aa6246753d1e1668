//! TIPSv2: a DINOv2 with registers of its own, and a text side with fixed positions, trained together.
//!
//! Its registers are class tokens of other captions, which are no output here either.

use super::clip::TextTower;
use super::sizes::Sizes;
use super::{Family, Plan, Source, VisionSide, dinov2, open_clip, original};
use crate::blocks::Activation;
use crate::config::Fields;
use crate::pretrained::{ModelError, WeightMap};
use crate::spec::{Interpolation, TextPositions, TextSpec, VisionHead, VisionSpec};

pub(super) static TIPSV2: Family = Family {
    name: "TIPSv2",
    model_types: &["tipsv2", "tipsv2_vision_model", "tipsv2_text_model"],
    checkpoints: &["google/tipsv2-b14"],
    vision: Some(VisionSide::Transformer(vision)),
    text: Some(text),
};

fn vision(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let tower = fields.object("vision_config")?.unwrap_or(fields);
    let (sizes, spec) = dinov2::read(tower, Sizes { patch: 14, image: 448, epsilon: 1e-6, ..Sizes::BASE })?;
    let spec = VisionSpec {
        registers: tower.size("num_register_tokens", Some(1), 0..=1024)?,
        positions: sizes.table(1, Interpolation::BilinearAntialias),
        head: Some(VisionHead::ClassToken),
        ..spec
    };
    let (prefixes, ignored) = (&["vision_encoder."], &["mask_token", "text_encoder.", "temperature"]);
    Ok(Plan { spec, map: WeightMap { prefixes, rules: original::NAMES, ignored } })
}

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let tower = fields.object("text_config")?.unwrap_or(fields);
    let defaults = TextTower {
        vocabulary: 32_000,
        width: 768,
        inner: 3072,
        heads: 12,
        length: 64,
        activation: Activation::Relu,
        epsilon: 1e-5,
        causal: false,
    };
    let mut spec = defaults.read(tower)?;
    if spec.width < 4 {
        return Err(tower.error("hidden_size", "at least 4, for sines and cosines of positions"));
    }
    let count = tower.size("max_position_embeddings", Some(64), 1..=4096)?;
    spec.positions = TextPositions::SinCos { count };
    if tower.flag("scale_sqrt_depth", true)? {
        spec.embedding_scale = Some((spec.width as f64).sqrt());
    }
    // Its tokenizer class does so, whatever the files say.
    spec.lower_case = true;
    let (prefixes, ignored) = (&["text_encoder."], &["vision_encoder.", "temperature"]);
    Ok(Plan { spec, map: WeightMap { prefixes, rules: open_clip::TEXT_NAMES, ignored } })
}
