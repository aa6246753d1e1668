//! GELU, fast on the CPU too.

use burn::tensor::{DType, Device, Tensor, activation};
use rayon::prelude::*;

/// Rows that one task handles: enough work to hide its cost, few enough to share a layer among cores.
const ROWS: usize = 16;

/// `x * Phi(x)`, with `Phi` the distribution function of the normal distribution (arXiv 1606.08415).
///
/// burn's CPU backend calls a library's error function number by number, which takes about as long as the
/// matrix product before it. In the CPU's memory this is one pass that the compiler vectorises, on other
/// devices and in other precisions it is burn's.
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !in_memory(&x) {
        return activation::gelu(x);
    }
    let device = x.device();
    let mut data = x.into_data();
    // Plain numbers in memory, as was just asked: there is nothing that could fail.
    if let Ok(values) = data.as_mut_slice::<f32>() {
        values.iter_mut().for_each(|value| *value = gelu_of(*value));
    }
    Tensor::from_data(data, &device)
}

/// The GELU of a linear layer's output before its bias: `gelu(x + bias)` in one pass.
///
/// # Shapes
/// - x and result: `[rows, width]`, bias: `[width]`
pub(crate) fn bias_gelu(x: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    if !in_memory(&x) {
        return activation::gelu(match bias {
            Some(bias) => x + bias.unsqueeze(),
            None => x,
        });
    }
    let device = x.device();
    let width = x.dims()[1];
    let mut x = x.into_data();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([width], &device)).into_data();
    if let (Ok(values), Ok(bias)) = (x.as_mut_slice::<f32>(), bias.as_slice::<f32>()) {
        values.par_chunks_mut(ROWS * width.max(1)).for_each(|rows| {
            for row in rows.chunks_exact_mut(width.max(1)) {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x = gelu_of(*x + bias));
            }
        });
    }
    Tensor::from_data(x, &device)
}

/// Whether the numbers are plain ones in the CPU's memory.
fn in_memory<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    device == Device::flex() && !device.is_autodiff() && x.dtype() == DType::F32
}

/// Where `Phi` is 1, or 0, as far as 32 bits tell.
const EDGE: f32 = 5.4;

/// `x * Phi(x)`, within 2e-7 of its size and 1e-6 at most up to `EDGE`.
///
/// `Phi(x) = 1/2 + x * P(x * x) / Q(x * x)` with polynomials of degree five, fitted on `[0, EDGE]` by least squares
/// with weights renewed until the largest error, 5.5e-9, no longer fell.
#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    const P: [f32; 6] =
        [0.398_942_23, 0.033_372_242, 0.004_650_851_7, 0.000_164_321_81, 6.360_018e-6, 2.338_671e-8];
    const Q: [f32; 6] = [1.0, 0.250_317_9, 0.028_378_695, 0.001_858_982_1, 7.240_021e-5, 1.216_59e-6];
    let z = x.clamp(-EDGE, EDGE);
    let of = |terms: [f32; 6]| terms.iter().rev().fold(0.0, |sum, &term| sum * (z * z) + term);
    x.max(-EDGE) * (0.5 + z * of(P) / of(Q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_burns_gelu() {
        let values: Vec<f32> = (-16_000..=16_000).map(|i| i as f32 * 1e-3).collect();
        let x = Tensor::<1>::from_floats(values.as_slice(), &Device::flex());
        let numbers = |x: Tensor<1>| x.into_data().try_to_vec::<f32>().unwrap();
        let expected = numbers(activation::gelu(x.clone()));
        for ((x, found), expected) in values.iter().zip(numbers(gelu(x))).zip(expected) {
            assert!((found - expected).abs() <= 1.5e-6 + 2e-7 * expected.abs(), "{x}: {found}, {expected}");
        }
    }

    #[test]
    fn a_bias_is_added_first() {
        let device = Device::flex();
        let x = Tensor::<2>::from_floats([[0.5, -1.0], [2.0, 0.0]], &device);
        let bias = Tensor::<1>::from_floats([0.25, -0.5], &device);
        let expected = gelu(x.clone() + bias.clone().unsqueeze());
        assert_eq!(bias_gelu(x.clone(), Some(bias)).into_data(), expected.into_data());
        assert_eq!(bias_gelu(x.clone(), None).into_data(), gelu(x).into_data());
    }

    #[test]
    fn extremes_stay_what_they_are() {
        assert_eq!(gelu_of(0.0), 0.0);
        assert!((gelu_of(1e30) / 1e30 - 1.0).abs() < 2e-7);
        assert_eq!(gelu_of(f32::INFINITY), f32::INFINITY);
        assert!(gelu_of(-1e30).abs() < 1e-6);
        assert!(gelu_of(f32::NAN).is_nan());
    }

    #[test]
    fn other_precisions_are_burns() {
        let x = Tensor::<1>::from_floats([1.0, -2.0], &Device::flex()).cast(burn::tensor::FloatDType::F16);
        assert_eq!(gelu(x.clone()).into_data(), activation::gelu(x).into_data());
    }
}
