//! The number types of stored features.

use std::fmt;
use std::str::FromStr;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use sail_core::ConfigError;
use serde::{Deserialize, Serialize};

/// How a feature value is stored. Values are `f32` wherever they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 half precision: 11 bits of precision, up to 65,504.
    F16,
    /// The upper half of an `f32`: 8 bits of precision, the range of `f32`.
    BF16,
    /// IEEE 754 single precision.
    F32,
}

impl From<sail_core::Dtype> for Dtype {
    fn from(dtype: sail_core::Dtype) -> Self {
        match dtype {
            sail_core::Dtype::F16 => Self::F16,
            sail_core::Dtype::BF16 => Self::BF16,
            sail_core::Dtype::F32 => Self::F32,
        }
    }
}

impl Dtype {
    /// The name in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// Bytes a number takes.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
        }
    }

    /// The value as it comes back from a store: rounded to nearest, infinite beyond the range.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::BF16 => bf16::from_f32(value).to_f32(),
            Self::F32 => value,
        }
    }

    /// Appends values as little-endian bytes.
    pub(crate) fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::F16 => out.extend(values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes())),
            Self::BF16 => out.extend(values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes())),
            Self::F32 => out.extend(values.iter().flat_map(|x| x.to_le_bytes())),
        }
    }

    /// Converts little-endian bytes, which may lie at any address, to `f32`.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        debug_assert_eq!(bytes.len(), out.len() * self.size());
        match self {
            Self::F16 => decode_half(bytes, out, |bits, out| {
                bits.reinterpret_cast::<f16>().convert_to_f32_slice(out);
            }),
            Self::BF16 => decode_half(bytes, out, |bits, out| {
                bits.reinterpret_cast::<bf16>().convert_to_f32_slice(out);
            }),
            Self::F32 => {
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(bytes);
                }
            }
        }
    }

    pub(crate) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::F16 => Some(Self::F16),
            safetensors::Dtype::BF16 => Some(Self::BF16),
            safetensors::Dtype::F32 => Some(Self::F32),
            _ => None,
        }
    }

    pub(crate) fn to_safetensors(self) -> safetensors::Dtype {
        match self {
            Self::F16 => safetensors::Dtype::F16,
            Self::BF16 => safetensors::Dtype::BF16,
            Self::F32 => safetensors::Dtype::F32,
        }
    }
}

/// Brings the bits through an aligned buffer that stays in the first-level cache, because the
/// conversion works on aligned slices and a mapped tensor need not be aligned.
fn decode_half(bytes: &[u8], out: &mut [f32], convert: impl Fn(&[u16], &mut [f32])) {
    const BLOCK: usize = 1024;
    let mut buffer = [0u16; BLOCK];
    for (bytes, out) in bytes.chunks(2 * BLOCK).zip(out.chunks_mut(BLOCK)) {
        let bits = &mut buffer[..out.len()];
        for (bits, &bytes) in bits.iter_mut().zip(bytes.as_chunks().0) {
            *bits = u16::from_le_bytes(bytes);
        }
        convert(bits, out);
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        [Self::F16, Self::BF16, Self::F32].into_iter().find(|dtype| dtype.name() == name).ok_or_else(|| {
            ConfigError {
                field: "dtype".to_owned(),
                found: format!("`{name}`"),
                expected: "`f16`, `bf16` or `f32`".to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_pattern_decodes_as_the_scalar_conversion_at_any_address() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let mut bytes = vec![0u8];
        bytes.extend(bits.iter().flat_map(|bits| bits.to_le_bytes()));
        let mut out = vec![0.0; bits.len()];
        for (dtype, oracle) in [
            (Dtype::F16, f16::to_f32 as fn(f16) -> f32),
            (Dtype::BF16, |half: f16| f32::from_bits(u32::from(half.to_bits()) << 16)),
        ] {
            // The one leading byte makes every value straddle its natural alignment.
            dtype.decode(&bytes[1..], &mut out);
            for (&bits, &value) in bits.iter().zip(&out) {
                let expected = oracle(f16::from_bits(bits));
                assert!(
                    value == expected || (value.is_nan() && expected.is_nan()),
                    "{dtype} {bits:#06x}: {value} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
        assert_eq!(
            "f64".parse::<Dtype>().unwrap_err().to_string(),
            "`dtype` is `f64`, expected `f16`, `bf16` or `f32`"
        );
    }
}
