//! ConvNeXt and ConvNeXt V2.

use serde_json::{Value, json};

use super::{Family, Plan, Source, VisionSide, stages};
use crate::blocks::Activation;
use crate::config::Fields;
use crate::convolutional::{ConvNextSpec, ConvNextStage, ConvolutionalSpec, MapOutput, NetworkSpec};
use crate::pretrained::{Checkpoint, ModelError, Rule, WeightMap};
use crate::spec::NormSpec;

/// ConvNeXt in the layouts of transformers, and of timm and the authors, whose sizes are those of the tensors.
pub(crate) static CONVNEXT: Family = Family {
    name: "ConvNeXt",
    model_types: &["convnext", "convnextv2"],
    checkpoints: &[
        "facebook/convnext-tiny-224",
        "facebook/convnextv2-tiny-22k-224",
        "timm/convnext_tiny.fb_in22k",
        "timm/convnextv2_tiny.fcmae_ft_in22k_in1k",
    ],
    vision: Some(VisionSide::Convolutional(convnext)),
    text: None,
};

/// The names of transformers and timm.
const MAP: WeightMap = WeightMap {
    prefixes: &["convnext.", "convnextv2."],
    rules: &[
        Rule::Rename("encoder.stages.", "stages."),
        Rule::Rename("embeddings.patch_embeddings.", "stem.0."),
        Rule::Rename("embeddings.layernorm.", "stem.1."),
        Rule::Rename(".downsampling_layer.", ".downsample."),
        Rule::Rename(".blocks.", ".layers."),
        Rule::Rename(".conv_dw.", ".dwconv."),
        Rule::Rename(".pwconv1.", ".mlp.up."),
        Rule::Rename(".pwconv2.", ".mlp.down."),
        Rule::Rename(".mlp.fc1.", ".mlp.up."),
        Rule::Rename(".mlp.fc2.", ".mlp.down."),
        Rule::Rename(".mlp.grn.", ".grn."),
        Rule::Rename(".layer_scale_parameter", ".gamma"),
        Rule::Rename("layernorm.", "norm."),
        Rule::Rename("head.norm.", "norm."),
    ],
    ignored: &["classifier.", "head.fc."],
};

/// The names of the authors, with a classifier, or with a copy of the last norm in DINOv3.
const ORIGINAL: WeightMap = WeightMap {
    prefixes: &[],
    rules: &[
        Rule::Rename("stages.0.", "stages.0.layers."),
        Rule::Rename("stages.1.", "stages.1.layers."),
        Rule::Rename("stages.2.", "stages.2.layers."),
        Rule::Rename("stages.3.", "stages.3.layers."),
        Rule::Rename("downsample_layers.0.", "stem."),
        Rule::Rename("downsample_layers.1.", "stages.1.downsample."),
        Rule::Rename("downsample_layers.2.", "stages.2.downsample."),
        Rule::Rename("downsample_layers.3.", "stages.3.downsample."),
        Rule::Rename(".pwconv1.", ".mlp.up."),
        Rule::Rename(".pwconv2.", ".mlp.down."),
        Rule::Rename(".grn.gamma", ".grn.weight"),
        Rule::Rename(".grn.beta", ".grn.bias"),
    ],
    ignored: &["head.", "norms."],
};

/// The epsilon of all norms but the last.
pub(super) const EPSILON: f64 = 1e-6;

fn convnext(source: &Source<'_>) -> Result<Plan<ConvolutionalSpec>, ModelError> {
    let options = Fields(source.config.get("model_args").unwrap_or(&Value::Null));
    let largest = source.architecture().is_some_and(|name| name.starts_with("convnext_xxlarge"));
    let epsilon = options.epsilon("norm_eps", if largest { 1e-5 } else { EPSILON })?;
    if let Some((spec, map)) = from_tensors(source.checkpoint, epsilon) {
        let output = MapOutput::NormedMean(spec.norm);
        return Ok(plan(spec, output, map));
    }
    let fields = Fields(source.config);
    let second = fields.choice("model_type", None, &[("convnext", false), ("convnextv2", true)])?;
    let spec = ConvNextSpec {
        patch: fields.square("patch_size", 4)?,
        layer_scale: !second && fields.number("layer_scale_init_value", 1e-6, f64::MIN..=f64::MAX)? > 0.0,
        response_norm: second,
        ..from_config(fields, EPSILON)?
    };
    let last = NormSpec::layer(fields.epsilon("layer_norm_eps", 1e-12)?);
    Ok(plan(spec, MapOutput::NormedMean(last), MAP))
}

/// Reads what the configurations of transformers have in common.
pub(super) fn from_config(fields: Fields<'_>, epsilon: f64) -> Result<ConvNextSpec, ModelError> {
    fields.only("num_channels", json!(3))?;
    Ok(ConvNextSpec {
        patch: 4,
        stages: convnext_stages(stages::of_config(&fields, [96, 192, 384, 768], [3, 3, 9, 3])?),
        activation: fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?,
        norm: NormSpec::layer(epsilon),
        layer_scale: true,
        response_norm: false,
    })
}

/// Reads the sizes of the tensors, if they have the names of timm or of the authors.
pub(super) fn from_tensors(checkpoint: &Checkpoint, epsilon: f64) -> Option<(ConvNextSpec, WeightMap)> {
    let layouts = [
        ("stem.0.weight", ".blocks", "conv_dw", "mlp.grn.weight", MAP),
        ("downsample_layers.0.0.weight", "", "dwconv", "grn.gamma", ORIGINAL),
    ];
    layouts.into_iter().find_map(|(stem, blocks, conv, grn, map)| {
        let patch = *checkpoint.shape(stem)?.last().filter(|patch| **patch > 0)?;
        let name = |stage: usize, block: usize, part: &str| format!("stages.{stage}{blocks}.{block}.{part}");
        let has = |part| checkpoint.shape(&name(0, 0, part)).is_some();
        let conv = format!("{conv}.weight");
        let sizes = stages::of_tensors(checkpoint, |stage, block| name(stage, block, &conv))?;
        let spec = ConvNextSpec {
            patch,
            stages: convnext_stages(sizes),
            activation: Activation::Gelu,
            norm: NormSpec::layer(epsilon),
            layer_scale: has("gamma"),
            response_norm: has(grn),
        };
        Some((spec, map))
    })
}

fn convnext_stages(sizes: Vec<(usize, usize)>) -> Vec<ConvNextStage> {
    sizes.into_iter().map(|(channels, blocks)| ConvNextStage { channels, blocks }).collect()
}

pub(super) fn plan(spec: ConvNextSpec, output: MapOutput, map: WeightMap) -> Plan<ConvolutionalSpec> {
    Plan { spec: ConvolutionalSpec { network: NetworkSpec::ConvNext(spec), output }, map }
}
