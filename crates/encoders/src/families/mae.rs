//! MAE: the encoder, for whole images.

use super::sizes::{Sizes, biases};
use super::{Family, Plan, Source, VisionSide, original, vit};
use crate::config::Fields;
use crate::pretrained::{ModelError, WeightMap};
use crate::spec::VisionSpec;

/// Unlike in transformers, no patch is masked and their order is kept. The decoder is not loaded.
pub(super) static MAE: Family = Family {
    name: "MAE",
    model_types: &["vit_mae"],
    checkpoints: &["facebook/vit-mae-base", "facebook/vit-mae-large", "facebook/vit-mae-huge"],
    vision: Some(VisionSide::Transformer(mae)),
    text: None,
};

fn mae(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    if original::is_layout_of(source.checkpoint) {
        return original::plan(source);
    }
    let fields = Fields(source.config);
    let sizes = Sizes::read(fields, Sizes::BASE)?;
    let mut block = sizes.block();
    block.attention.biases = biases(fields)?;
    Ok(Plan {
        spec: sizes.spec(block),
        map: WeightMap { prefixes: &["vit."], rules: vit::NAMES, ignored: &[] },
    })
}
