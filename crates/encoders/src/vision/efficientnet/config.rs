//! Configuration of EfficientNet-Lite.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::config::Fields;
use crate::pretrained::ModelError;

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

/// The configuration, see [`load_image_encoder`](crate::load_image_encoder).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Config {
    width_coefficient: f64,
    depth_coefficient: f64,
}

/// An inverted bottleneck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BlockShape {
    pub(super) input: usize,
    /// Channels after the expansion.
    pub(super) inner: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Whether the block has a residual connection: all blocks of a stage except the first.
    pub(super) skip: bool,
}

impl Config {
    pub(super) fn parse(config: &Value) -> Result<Self, ModelError> {
        let fields = Fields(config);
        let coefficient = |field| fields.number(field, 1.0, COEFFICIENTS);
        Ok(Self {
            width_coefficient: coefficient("width_coefficient")?,
            depth_coefficient: coefficient("depth_coefficient")?,
        })
    }

    pub(super) fn stem(self) -> usize {
        STEM
    }

    pub(super) fn head(self) -> usize {
        HEAD
    }

    /// Returns the blocks in order. Lite models scale neither stem and head nor the repeats of the first and last stage.
    pub(super) fn blocks(self) -> Vec<BlockShape> {
        let mut blocks = Vec::new();
        let mut input = STEM;
        for (stage, (repeats, kernel, stride, expansion, channels)) in STAGES.into_iter().enumerate() {
            let outer = stage == 0 || stage == STAGES.len() - 1;
            let repeats =
                if outer { repeats } else { (repeats as f64 * self.depth_coefficient).ceil() as usize };
            let output = self.channels(channels);
            for repeat in 0..repeats {
                blocks.push(BlockShape {
                    input,
                    inner: input * expansion,
                    output,
                    kernel,
                    stride: if repeat == 0 { stride } else { 1 },
                    skip: repeat > 0,
                });
                input = output;
            }
        }
        blocks
    }

    /// Scales channels and rounds to the nearest multiple of 8 that is at least 90 % of the result.
    fn channels(self, channels: usize) -> usize {
        let scaled = channels as f64 * self.width_coefficient;
        let rounded = ((scaled + 4.0) as usize / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The kernel shapes of Lite0 to Lite4 in the reference implementation, by width and depth coefficient.
    const KERNELS: &str = include_str!("../../../tests/fixtures/vision/efficientnet_lite_kernels.json");

    #[test]
    fn kernel_shapes_match_the_reference() {
        let cases: BTreeMap<String, Vec<[usize; 4]>> = serde_json::from_str(KERNELS).unwrap();
        assert_eq!(cases.len(), 5);
        for (coefficients, expected) in cases {
            let (width, depth) = coefficients.split_once(' ').unwrap();
            let [width_coefficient, depth_coefficient] = [width, depth].map(|text| text.parse().unwrap());
            let config = Config { width_coefficient, depth_coefficient };
            let mut kernels = vec![[config.stem(), 3, 3, 3]];
            for BlockShape { input, inner, output, kernel, .. } in config.blocks() {
                if inner != input {
                    kernels.push([inner, input, 1, 1]);
                }
                kernels.extend([[inner, 1, kernel, kernel], [output, inner, 1, 1]]);
            }
            let last = config.blocks().last().unwrap().output;
            kernels.push([config.head(), last, 1, 1]);
            assert_eq!(kernels, expected, "width {width}, depth {depth}");
        }
    }
}
