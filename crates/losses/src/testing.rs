//! Helpers of the unit tests that compare fused passes with tensor operations.

use burn::tensor::{Device, Tensor, TensorData};

use crate::host::values;

/// Logits of both signs up to `7 * size`, the same on every call.
pub(crate) fn tile(shape: [usize; 2], size: f32) -> Tensor<2> {
    let values = (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.7).sin() * size * (1.0 + (i % 7) as f32));
    Tensor::from_data(TensorData::new(values.collect(), shape), &Device::flex())
}

pub(crate) fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, relative: f32) {
    for (f, e) in values(&found).into_iter().zip(values(&expected)) {
        assert!((f - e).abs() <= relative * e.abs().max(1e-30), "{f:e}, expected {e:e}");
    }
}
