//! Pixio, a successor of MAE with several class tokens.

use super::sizes::{Sizes, biases};
use super::{Family, Plan, Source, VisionSide, dinov2, vit};
use crate::config::Fields;
use crate::pretrained::{ModelError, WeightMap};
use crate::spec::{Interpolation, VisionSpec};

pub(super) static PIXIO: Family = Family {
    name: "Pixio",
    model_types: &["pixio"],
    checkpoints: &["facebook/pixio-huge"],
    vision: Some(VisionSide::Transformer(pixio)),
    text: None,
};

fn pixio(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let default = Sizes { width: 1280, layers: 32, heads: 16, image: 256, epsilon: 1e-6, ..Sizes::BASE };
    let mut sizes = Sizes::read(fields, default)?;
    sizes.inner = dinov2::inner_width(fields, sizes.width)?;
    let mut block = sizes.block();
    block.attention.biases = biases(fields)?;
    let class_tokens = fields.size("n_cls_tokens", Some(8), 1..=1024)?;
    let spec = VisionSpec {
        class_tokens,
        positions: sizes.table(class_tokens, Interpolation::Bicubic),
        ..sizes.spec(block)
    };
    Ok(Plan { spec, map: WeightMap { prefixes: &["pixio."], rules: vit::NAMES, ignored: &[] } })
}
