//! Half precision in the head's layers, with f32 weights.
//!
//! bf16 has the range of f32, while f16 is limited to 6e-8 to 65,504. The gradients that enter an f16 layer are
//! therefore multiplied by a power of two that scales the largest to 1/16, and divided again in f32, so that the tiny
//! gradients of a large batch do not underflow.

use burn::tensor::{DType, Device};
use sail_core::{AlignmentHead, Dtype};
use sail_matmul::Products;

use crate::TrainError;
use crate::embeddings::Embeddings;

/// Binary exponent of the largest gradient that enters an f16 layer: far below f16's 65,504, because a weight's
/// gradient is a sum over rows, and far above its smallest value, 2^-24.
const LARGEST_EXPONENT: f32 = -4.0;

/// Checks that the device supports `precision`.
pub(crate) fn check(precision: Dtype, device: &Device) -> Result<(), TrainError> {
    if Products::bf16_on_cpu(precision, device).is_some_and(|products| products.bf16().is_none()) {
        tracing::warn!("this CPU has no instructions for bf16: training in f32");
    }
    if device.supports_dtype(DType::from(precision)) {
        return Ok(());
    }
    Err(TrainError::Precision { precision, part: format!("the device {device:?}") })
}

/// Returns the head cast to `precision`.
pub(crate) fn cast<H: AlignmentHead>(head: &H, precision: Dtype) -> Result<H, TrainError> {
    match precision {
        Dtype::F32 => Ok(head.clone()),
        _ => head
            .computing_in(precision.into())
            .ok_or_else(|| TrainError::Precision { precision, part: "the head".to_owned() }),
    }
}

/// Returns the power of two that scales the largest gradient of the embeddings into the range of f16.
pub(crate) fn loss_scale(gradients: &[Embeddings]) -> Result<f32, TrainError> {
    let mut largest = 0f32;
    for gradient in gradients.iter().flat_map(|(images, texts)| texts.iter().chain([images])) {
        largest = largest.max(gradient.clone().abs().max().try_into_scalar::<f32>()?);
    }
    if !largest.is_normal() {
        return Ok(1.0);
    }
    Ok((LARGEST_EXPONENT - largest.log2().floor()).clamp(-100.0, 100.0).exp2())
}
