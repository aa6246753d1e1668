//! The bytes of stored values.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use sail_core::{StoreDtype, TokenLayout};

/// The largest integer of `int8`.
const MAX: f32 = 127.0;
/// Bytes of the scale before the integers of a token.
const SCALE: usize = 4;

/// How rows become bytes, of any number of rows that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Codec {
    pub(crate) dtype: StoreDtype,
    /// Values of a row.
    pub(crate) dim: usize,
    /// How the row divides into tokens; it is one without token states.
    tokens: Option<TokenLayout>,
}

impl Codec {
    /// Returns the codec of rows of `dim` values, with this layout if they are token states.
    pub(crate) fn new(dtype: StoreDtype, dim: usize, tokens: Option<TokenLayout>) -> Self {
        Self { dtype, dim, tokens }
    }

    /// Returns the bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.dtype.row_bytes(self.dim, self.tokens)
    }

    /// Returns the values of a token.
    fn token(&self) -> usize {
        // Stores check that a layout has the values of a row.
        self.tokens.map_or(self.dim, |layout| layout.dim())
    }

    /// Returns the type and the width of the tensor that holds the rows.
    pub(crate) fn tensor(&self) -> (safetensors::Dtype, usize) {
        match self.dtype {
            StoreDtype::F16 => (safetensors::Dtype::F16, self.dim),
            StoreDtype::BF16 => (safetensors::Dtype::BF16, self.dim),
            StoreDtype::F32 => (safetensors::Dtype::F32, self.dim),
            StoreDtype::Int8 => (safetensors::Dtype::U8, self.row_bytes()),
        }
    }

    /// Appends values as little-endian bytes, rounded to nearest and infinite beyond the range. Those of `int8` are finite.
    pub(crate) fn encode(&self, values: &[f32], out: &mut Vec<u8>) {
        match self.dtype {
            StoreDtype::F16 => out.extend(values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes())),
            StoreDtype::BF16 => out.extend(values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes())),
            StoreDtype::F32 => out.extend(values.iter().flat_map(|x| x.to_le_bytes())),
            StoreDtype::Int8 => values.chunks_exact(self.token()).for_each(|token| encode_token(token, out)),
        }
    }

    /// Converts little-endian bytes of any alignment to `f32`.
    pub(crate) fn decode(&self, bytes: &[u8], out: &mut [f32]) {
        debug_assert_eq!(bytes.len() / self.row_bytes(), out.len() / self.dim);
        match self.dtype {
            StoreDtype::F16 => decode_half(bytes, out, |bits, out| {
                bits.reinterpret_cast::<f16>().convert_to_f32_slice(out);
            }),
            StoreDtype::BF16 => decode_half(bytes, out, |bits, out| {
                bits.reinterpret_cast::<bf16>().convert_to_f32_slice(out);
            }),
            StoreDtype::F32 => {
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(bytes);
                }
            }
            StoreDtype::Int8 => {
                let tokens = bytes.chunks_exact(SCALE + self.token());
                tokens
                    .zip(out.chunks_exact_mut(self.token()))
                    .for_each(|(token, out)| decode_token(token, out));
            }
        }
    }
}

/// Appends the scale of a token and its values as multiples of it.
fn encode_token(token: &[f32], out: &mut Vec<u8>) {
    let largest = token.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    // Rounded up to 17 significant bits: the product with an integer of 7 bits is exact, so what was read is stored again
    // as the same bytes.
    let scale = f32::from_bits((largest / MAX).to_bits().next_multiple_of(1 << 7));
    out.extend(scale.to_le_bytes());
    let scale = if scale == 0.0 { 1.0 } else { scale };
    out.extend(token.iter().map(|x| (x / scale).round() as i8 as u8));
}

fn decode_token(token: &[u8], out: &mut [f32]) {
    let Some((scale, integers)) = token.split_first_chunk() else { return };
    let scale = f32::from_le_bytes(*scale);
    for (value, &integer) in out.iter_mut().zip(integers) {
        *value = scale * f32::from(integer as i8);
    }
}

/// Returns `None` for a dtype that features of other programs are not stored in.
pub(crate) fn from_safetensors(dtype: safetensors::Dtype) -> Option<StoreDtype> {
    match dtype {
        safetensors::Dtype::F16 => Some(StoreDtype::F16),
        safetensors::Dtype::BF16 => Some(StoreDtype::BF16),
        safetensors::Dtype::F32 => Some(StoreDtype::F32),
        _ => None,
    }
}

/// Copies the bits through an aligned buffer that fits in the L1 cache, because the vectorized conversion needs aligned
/// slices and the bytes of a file need not be aligned.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_matches_the_scalar_conversion_for_every_bit_pattern() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let mut bytes = vec![0u8];
        bytes.extend(bits.iter().flat_map(|bits| bits.to_le_bytes()));
        let mut out = vec![0.0; bits.len()];
        for (dtype, reference) in [
            (StoreDtype::F16, f16::to_f32 as fn(f16) -> f32),
            (StoreDtype::BF16, |half: f16| f32::from_bits(u32::from(half.to_bits()) << 16)),
        ] {
            // The leading byte misaligns every value.
            Codec::new(dtype, out.len(), None).decode(&bytes[1..], &mut out);
            for (&bits, &value) in bits.iter().zip(&out) {
                let expected = reference(f16::from_bits(bits));
                assert!(
                    value == expected || (value.is_nan() && expected.is_nan()),
                    "{dtype} {bits:#06x}: {value} instead of {expected}"
                );
            }
        }
    }

    /// Normal values by the sum of 12 uniform ones.
    fn normal(values: usize) -> Vec<f32> {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..values).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn integers_are_within_half_a_scale_and_are_stored_again_as_the_same_bytes() {
        let layout = TokenLayout::Image { class_token: false, grid: [5, 40], dim: 384 };
        let codec = Codec::new(StoreDtype::Int8, layout.row_values(), Some(layout));
        let mut values = normal(layout.row_values());
        // Tokens of every magnitude, one of zeros, and one with a value far above all others.
        for (place, token) in values.chunks_exact_mut(384).enumerate() {
            token.iter_mut().for_each(|value| *value *= 10_f32.powi(place as i32 % 60 - 30));
        }
        values[..384].fill(0.0);
        values[384] *= 1000.0;
        let mut bytes = Vec::new();
        codec.encode(&values, &mut bytes);
        assert_eq!((bytes.len(), codec.row_bytes()), (200 * 388, 200 * 388));
        let mut read = vec![0.0; values.len()];
        codec.decode(&bytes, &mut read);
        let tokens = values.chunks_exact(384).zip(read.chunks_exact(384));
        for (place, (token, read)) in tokens.enumerate() {
            let largest = token.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let most = largest / 127.0 * 0.5001;
            assert!(token.iter().zip(read).all(|(x, y)| (x - y).abs() <= most), "token {place}");
            if place > 1 {
                assert!(cosine(token, read) > 0.9999, "token {place}: {}", cosine(token, read));
            }
        }
        assert_eq!(read[..384], [0.0; 384]);
        let mut again = Vec::new();
        codec.encode(&read, &mut again);
        assert!(bytes == again);
    }
}
