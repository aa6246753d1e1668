//! Activations of feed-forward networks.

use burn::tensor::{Tensor, activation};
use rayon::prelude::*;
use sail_support::cpu::is_host_f32;

use super::Linear;

/// Rows per parallel task of the fused GELU.
const ROWS: usize = 16;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// GELU (arXiv 1606.08415), `x * Phi(x)`, with the error function.
    Gelu,
    /// GELU with the tanh approximation.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, the GELU of OpenAI's CLIP.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)` (arXiv 1702.03118), also known as Swish.
    Silu,
}

impl Activation {
    /// The names in `config.json`.
    pub(crate) const NAMES: &[(&str, Self)] = &[
        ("gelu", Self::Gelu),
        ("gelu_new", Self::GeluTanh),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("quick_gelu", Self::QuickGelu),
        ("relu", Self::Relu),
        ("silu", Self::Silu),
        ("swish", Self::Silu),
    ];

    /// Applies a linear layer and the activation: `activation(x W + b)`.
    ///
    /// # Shapes
    /// - x: `[rows, in]`
    /// - result: `[rows, out]`
    pub(crate) fn linear(self, x: Tensor<2>, layer: &Linear) -> Tensor<2> {
        match self {
            // burn's CPU backend computes GELU with scalar calls of `erf`, which takes as long as the matrix product.
            Self::Gelu if is_host_f32(&x) => bias_gelu(layer.product(x), layer.bias.clone()),
            _ => self.apply(layer.forward(x)),
        }
    }

    /// Applies the activation to every element.
    pub(crate) fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Gelu if is_host_f32(&x) => bias_gelu(x, None),
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => activation::gelu_approximate(x),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
        }
    }
}

/// `gelu(x + bias)` of an `f32` tensor in host memory, in one vectorized pass.
///
/// # Shapes
/// - x and result: `[rows, width]`, bias: `[width]`
fn bias_gelu(x: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let device = x.device();
    let width = x.dims()[1];
    let mut x = x.into_data();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([width], &device)).into_data();
    if let (Ok(values), Ok(bias)) = (x.as_mut_slice::<f32>(), bias.as_slice::<f32>()) {
        values.par_chunks_mut(ROWS * width.max(1)).for_each(|rows| {
            for row in rows.chunks_exact_mut(width.max(1)) {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x = gelu(*x + bias));
            }
        });
    }
    Tensor::from_data(x, &device)
}

/// Beyond this, `Phi` is 0 or 1 in `f32`.
const EDGE: f32 = 5.4;

/// `x * Phi(x)`, with a relative error of 2e-7 and an absolute error of at most 1e-6 up to `EDGE`.
///
/// `Phi(x) = 1/2 + x * P(x^2) / Q(x^2)` with polynomials of degree five: a minimax fit on `[0, EDGE]` by iteratively
/// reweighted least squares, with a maximum error of 5.5e-9.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    const P: [f32; 6] =
        [0.398_942_23, 0.033_372_242, 0.004_650_851_7, 0.000_164_321_81, 6.360_018e-6, 2.338_671e-8];
    const Q: [f32; 6] = [1.0, 0.250_317_9, 0.028_378_695, 0.001_858_982_1, 7.240_021e-5, 1.216_59e-6];
    let z = x.clamp(-EDGE, EDGE);
    let polynomial = |terms: [f32; 6]| terms.iter().rev().fold(0.0, |sum, &term| sum * (z * z) + term);
    x.max(-EDGE) * (0.5 + z * polynomial(P) / polynomial(Q))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, module};

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn fused_gelu_matches_burn() {
        let inputs: Vec<f32> = (-16_000..=16_000).map(|i| i as f32 * 1e-3).collect();
        let x = Tensor::<1>::from_floats(inputs.as_slice(), &Device::flex()).reshape([1, inputs.len()]);
        let expected = values(activation::gelu(x.clone()));
        for ((x, found), expected) in inputs.iter().zip(values(bias_gelu(x, None))).zip(expected) {
            assert!((found - expected).abs() <= 1.5e-6 + 2e-7 * expected.abs(), "{x}: {found}, {expected}");
        }
    }

    #[test]
    fn linear_adds_the_bias_before_the_activation() {
        let device = Device::flex();
        let x = Tensor::<2>::from_floats([[0.5, -1.0], [2.0, 0.0]], &device);
        let weight = Tensor::<2>::from_floats([[1.0, -0.5, 0.25], [2.0, 0.5, -1.0]], &device);
        let bias = Tensor::<1>::from_floats([0.25, -0.5, 0.125], &device);
        for bias in [Some(bias), None] {
            let inner = module::linear(x.clone(), weight.clone(), bias.clone());
            for (activation, expected) in [
                (Activation::Gelu, activation::gelu(inner.clone())),
                (Activation::GeluTanh, activation::gelu_approximate(inner.clone())),
                (Activation::Relu, activation::relu(inner.clone())),
            ] {
                let layer = Linear::new(weight.clone(), bias.clone());
                let found = values(activation.linear(x.clone(), &layer));
                for (found, expected) in found.into_iter().zip(values(expected)) {
                    assert!((found - expected).abs() < 2e-6, "{activation:?}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn gelu_of_extreme_values() {
        assert_eq!(gelu(0.0), 0.0);
        assert!((gelu(1e30) / 1e30 - 1.0).abs() < 2e-7);
        assert_eq!(gelu(f32::INFINITY), f32::INFINITY);
        assert!(gelu(-1e30).abs() < 1e-6);
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn other_dtypes_use_burn() {
        let x = Tensor::<2>::from_floats([[1.0, -2.0]], &Device::flex()).cast(DType::F16);
        let weight = Tensor::<2>::from_floats([[1.0, 0.5], [-0.25, 2.0]], &Device::flex()).cast(DType::F16);
        let expected = activation::gelu(module::linear(x.clone(), weight.clone(), None));
        assert_eq!(Activation::Gelu.linear(x, &Linear::new(weight, None)).into_data(), expected.into_data());
    }
}
