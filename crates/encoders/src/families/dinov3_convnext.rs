//! The ConvNeXt models of DINOv3.

use super::{Family, Plan, Source, VisionSide, convnext};
use crate::config::Fields;
use crate::convolutional::{ConvolutionalSpec, MapOutput};
use crate::pretrained::{ModelError, Rule, WeightMap};

/// ConvNeXt of DINOv3 in the layouts of transformers and the authors. The last norm is applied to the map and its mean.
pub(crate) static DINOV3_CONVNEXT: Family = Family {
    name: "DINOv3 ConvNeXt",
    model_types: &["dinov3_convnext"],
    checkpoints: &["facebook/dinov3-convnext-tiny-pretrain-lvd1689m"],
    vision: Some(VisionSide::Convolutional(plan)),
    text: None,
};

/// Some versions of transformers save the stages under `model`.
const MAP: WeightMap = WeightMap {
    prefixes: &[],
    rules: &[
        Rule::Rename("model.stages.", "stages."),
        Rule::Rename("stages.0.downsample_layers.", "stem."),
        Rule::Rename(".downsample_layers.", ".downsample."),
        Rule::Rename(".depthwise_conv.", ".dwconv."),
        Rule::Rename(".pointwise_conv1.", ".mlp.up."),
        Rule::Rename(".pointwise_conv2.", ".mlp.down."),
        Rule::Rename("layer_norm.", "norm."),
    ],
    ignored: &[],
};

fn plan(source: &Source<'_>) -> Result<Plan<ConvolutionalSpec>, ModelError> {
    let fields = Fields(source.config);
    let epsilon = fields.epsilon("layer_norm_eps", convnext::EPSILON)?;
    let (spec, map) = match convnext::from_tensors(source.checkpoint, epsilon) {
        Some(found) => found,
        None => (convnext::from_config(fields, epsilon)?, MAP),
    };
    let output = MapOutput::NormedTokens(spec.norm);
    Ok(convnext::plan(spec, output, map))
}
