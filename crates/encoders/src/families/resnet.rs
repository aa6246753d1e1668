//! ResNet.

use serde_json::json;

use super::{Family, Plan, Source, VisionSide, stages};
use crate::config::{Fields, SIZE};
use crate::convolutional::{ConvolutionalSpec, MapOutput, NetworkSpec, ResNetBlock, ResNetSpec, ResNetStage};
use crate::pretrained::{Checkpoint, ModelError, Rule, WeightMap};

/// ResNet in the layouts of transformers, and of torchvision (also DINO's `dino_resnet50_pretrain.pth`) and timm, whose sizes
/// are those of the tensors.
pub(crate) static RESNET: Family = Family {
    name: "ResNet",
    model_types: &["resnet"],
    checkpoints: &["microsoft/resnet-50", "timm/resnet50.a1_in1k", "dino_resnet50_pretrain.pth (DINO)"],
    vision: Some(VisionSide::Convolutional(plan)),
    text: None,
};

const MAP: WeightMap = WeightMap {
    prefixes: &["resnet."],
    rules: &[
        // transformers
        Rule::Rename("encoder.stages.", "stages."),
        Rule::Rename("embedder.embedder.convolution.", "conv1."),
        Rule::Rename("embedder.embedder.normalization.", "conv1.norm."),
        Rule::Rename("layer.0.convolution.", "conv1."),
        Rule::Rename("layer.0.normalization.", "conv1.norm."),
        Rule::Rename("layer.1.convolution.", "conv2."),
        Rule::Rename("layer.1.normalization.", "conv2.norm."),
        Rule::Rename("layer.2.convolution.", "conv3."),
        Rule::Rename("layer.2.normalization.", "conv3.norm."),
        Rule::Rename("shortcut.convolution.", "shortcut."),
        Rule::Rename("shortcut.normalization.", "shortcut.norm."),
        // torchvision
        Rule::Rename("layer1.", "stages.0.layers."),
        Rule::Rename("layer2.", "stages.1.layers."),
        Rule::Rename("layer3.", "stages.2.layers."),
        Rule::Rename("layer4.", "stages.3.layers."),
        Rule::Rename("bn1.", "conv1.norm."),
        Rule::Rename("bn2.", "conv2.norm."),
        Rule::Rename("bn3.", "conv3.norm."),
        Rule::Rename("downsample.0.", "shortcut."),
        Rule::Rename("downsample.1.", "shortcut.norm."),
    ],
    ignored: &["classifier.", "fc.", ".num_batches_tracked"],
};

fn plan(source: &Source<'_>) -> Result<Plan<ConvolutionalSpec>, ModelError> {
    let spec = match from_tensors(source.checkpoint) {
        Some(spec) => spec,
        None => from_config(source)?,
    };
    let network = NetworkSpec::ResNet(spec);
    Ok(Plan { spec: ConvolutionalSpec { network, output: MapOutput::Mean }, map: MAP })
}

fn from_config(source: &Source<'_>) -> Result<ResNetSpec, ModelError> {
    let fields = Fields(source.config);
    fields.only("num_channels", json!(3))?;
    fields.only("hidden_act", json!("relu"))?;
    let first = if fields.flag("downsample_in_first_stage", false)? { 2 } else { 1 };
    let bottleneck =
        ResNetBlock::Bottleneck { stride_first: fields.flag("downsample_in_bottleneck", false)? };
    let blocks = [("bottleneck", bottleneck), ("basic", ResNetBlock::Basic)];
    let sizes = stages::of_config(&fields, [256, 512, 1024, 2048], [3, 4, 6, 3])?;
    Ok(ResNetSpec {
        stem: fields.size("embedding_size", Some(64), SIZE)?,
        stages: strided(sizes, first),
        block: fields.choice("layer_type", Some(bottleneck), &blocks)?,
    })
}

fn from_tensors(checkpoint: &Checkpoint) -> Option<ResNetSpec> {
    let stem = *checkpoint.shape("conv1.weight")?.first()?;
    let bottleneck = checkpoint.shape("layer1.0.conv3.weight").is_some();
    let last = if bottleneck { "conv3" } else { "conv2" };
    let name = |stage, block| format!("layer{}.{block}.{last}.weight", stage + 1);
    let stages = strided(stages::of_tensors(checkpoint, name)?, 1);
    let block = if bottleneck { ResNetBlock::Bottleneck { stride_first: false } } else { ResNetBlock::Basic };
    Some(ResNetSpec { stem, stages, block })
}

/// Stages of these channels and numbers of blocks: all but the first have stride 2.
fn strided(sizes: Vec<(usize, usize)>, first: usize) -> Vec<ResNetStage> {
    let strides = std::iter::once(first).chain(std::iter::repeat(2));
    let stage = |((channels, blocks), stride)| ResNetStage { channels, blocks, stride };
    sizes.into_iter().zip(strides).map(stage).collect()
}
