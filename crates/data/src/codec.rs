//! The bytes of stored values.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use sail_core::Dtype;

/// Returns the value as a store returns it: rounded to nearest, infinite beyond the range.
pub(crate) fn round(dtype: Dtype, value: f32) -> f32 {
    match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        Dtype::F32 => value,
    }
}

/// Appends values as little-endian bytes.
pub(crate) fn encode(dtype: Dtype, values: &[f32], out: &mut Vec<u8>) {
    match dtype {
        Dtype::F16 => out.extend(values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes())),
        Dtype::BF16 => out.extend(values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes())),
        Dtype::F32 => out.extend(values.iter().flat_map(|x| x.to_le_bytes())),
    }
}

/// Converts little-endian bytes of any alignment to `f32`.
pub(crate) fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    debug_assert_eq!(bytes.len(), out.len() * dtype.size());
    match dtype {
        Dtype::F16 => decode_half(bytes, out, |bits, out| {
            bits.reinterpret_cast::<f16>().convert_to_f32_slice(out);
        }),
        Dtype::BF16 => decode_half(bytes, out, |bits, out| {
            bits.reinterpret_cast::<bf16>().convert_to_f32_slice(out);
        }),
        Dtype::F32 => {
            for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_le_bytes(bytes);
            }
        }
    }
}

/// Returns `None` for a dtype that features are not stored in.
pub(crate) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Dtype> {
    match dtype {
        safetensors::Dtype::F16 => Some(Dtype::F16),
        safetensors::Dtype::BF16 => Some(Dtype::BF16),
        safetensors::Dtype::F32 => Some(Dtype::F32),
        _ => None,
    }
}

pub(crate) fn to_safetensors(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F16 => safetensors::Dtype::F16,
        Dtype::BF16 => safetensors::Dtype::BF16,
        Dtype::F32 => safetensors::Dtype::F32,
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
            (Dtype::F16, f16::to_f32 as fn(f16) -> f32),
            (Dtype::BF16, |half: f16| f32::from_bits(u32::from(half.to_bits()) << 16)),
        ] {
            // The leading byte misaligns every value.
            decode(dtype, &bytes[1..], &mut out);
            for (&bits, &value) in bits.iter().zip(&out) {
                let expected = reference(f16::from_bits(bits));
                assert!(
                    value == expected || (value.is_nan() && expected.is_nan()),
                    "{dtype} {bits:#06x}: {value} instead of {expected}"
                );
            }
        }
    }
}
