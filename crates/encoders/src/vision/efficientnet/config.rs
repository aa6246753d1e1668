//! The sizes of an EfficientNet-Lite.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;

use crate::pretrained::ModelError;

/// Channels of the first and of the last convolution, the same in every Lite model.
const STEM: usize = 32;
const HEAD: usize = 1280;

/// Far beyond Lite4 (1.4 and 1.8), so that a configuration cannot ask for absurd work.
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

/// What `config.json` says of an EfficientNet-Lite; [`load_image_encoder`](crate::load_image_encoder) documents it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Config {
    #[serde(default = "one")]
    width_coefficient: f64,
    #[serde(default = "one")]
    depth_coefficient: f64,
}

/// An inverted bottleneck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BlockShape {
    pub(super) input: usize,
    /// Channels between expansion and projection.
    pub(super) inner: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Whether the input is added to the output: in every block of a stage but its first.
    pub(super) skip: bool,
}

impl Config {
    pub(super) fn parse(config: &Value) -> Result<Self, ModelError> {
        let parsed = Self::deserialize(config).map_err(|error| ModelError::Config {
            field: "config.json",
            found: error.to_string(),
            expected: "an EfficientNet-Lite's configuration".to_owned(),
        })?;
        let fields = [
            ("width_coefficient", parsed.width_coefficient),
            ("depth_coefficient", parsed.depth_coefficient),
        ];
        for (field, value) in fields {
            if !COEFFICIENTS.contains(&value) {
                let expected = format!("{} to {}", COEFFICIENTS.start(), COEFFICIENTS.end());
                return Err(ModelError::Config { field, found: value.to_string(), expected });
            }
        }
        Ok(parsed)
    }

    pub(super) fn stem(self) -> usize {
        STEM
    }

    pub(super) fn head(self) -> usize {
        HEAD
    }

    /// The blocks, first to last. Lite models scale neither stem and head nor the repeats of the outer stages.
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

    /// Channels scaled, to the nearest multiple of 8 that is not less than nine tenths.
    fn channels(self, channels: usize) -> usize {
        let scaled = channels as f64 * self.width_coefficient;
        let rounded = ((scaled + 4.0) as usize / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    }
}

fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The kernels that the reference builds for Lite0 to Lite4, by width and depth.
    const KERNELS: &str = include_str!("../../../tests/fixtures/vision/efficientnet_lite_kernels.json");

    #[test]
    fn kernels_are_the_references() {
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
