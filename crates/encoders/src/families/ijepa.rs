//! I-JEPA.

use super::sizes::{Sizes, biases};
use super::{Family, Plan, Source, VisionSide, original, vit};
use crate::config::Fields;
use crate::pretrained::{ModelError, WeightMap};
use crate::spec::{Interpolation, VisionHead, VisionSpec};

/// There is no class token; the mean of the patches is the pooled output.
pub(super) static IJEPA: Family = Family {
    name: "I-JEPA",
    model_types: &["ijepa"],
    checkpoints: &[
        "facebook/ijepa_vith14_1k",
        "facebook/ijepa_vith14_22k",
        "facebook/ijepa_vith16_1k",
        "facebook/ijepa_vitg16_22k",
    ],
    vision: Some(VisionSide::Transformer(ijepa)),
    text: None,
};

fn ijepa(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    if original::is_layout_of(source.checkpoint) {
        return original::plan(source);
    }
    let fields = Fields(source.config);
    let sizes = Sizes::read(fields, Sizes::BASE)?;
    let mut block = sizes.block();
    block.attention.biases = biases(fields)?;
    let spec = VisionSpec {
        class_tokens: 0,
        positions: sizes.table(0, Interpolation::Bicubic),
        head: Some(VisionHead::PatchMean),
        ..sizes.spec(block)
    };
    let map = WeightMap { prefixes: &["ijepa."], rules: vit::NAMES, ignored: &["embeddings.mask_token"] };
    Ok(Plan { spec, map })
}
