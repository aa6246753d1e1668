//! The layer of CSA: a cosine whose dimensions have weights.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use sail_core::{Side, l2_normalize};

use crate::{WeightInit, linear};

/// Smallest square of a complement: the derivative of the square root at 0 is infinite.
const SMALLEST: f64 = 1e-12;

/// A linear layer to `s` dimensions for a similarity with a weight per dimension, `sum_d w_d x_d y_d` of unit rows `x` and
/// `y`: the similarity of CSA (Li et al. 2024, arXiv 2410.07610), whose weights are the canonical correlations.
///
/// Evaluations compare directions, so the output is a unit row whose cosine with that of the other side is this similarity.
/// With `u` the unit row of the linear layer and `v = sqrt(w) u`, an image is `[v, sqrt(1 - |v|^2), 0]` and a text
/// `[v, 0, sqrt(1 - |v|^2)]`. The weights are in 0 to 1, so `|v|` is at most 1.
///
/// The parameter `weight` is `sqrt(w)`. Each side has its own, which may become different in training; the similarity then
/// has the weights `weight_image * weight_text`.
#[derive(Module, Debug)]
pub struct WeightedCosine {
    linear: Linear,
    weight: Param<Tensor<1>>,
    #[module(skip)]
    side: Side,
}

impl WeightedCosine {
    /// Creates a layer with random linear weights and equal weights of the dimensions, 1. `d_output` is `s + 2`.
    pub fn new(d_input: usize, d_output: usize, side: Side, init: &mut WeightInit) -> Self {
        let dimensions = d_output.saturating_sub(2);
        let linear = linear(d_input, dimensions, init);
        Self { linear, weight: Param::from_tensor(Tensor::ones([dimensions], init.device())), side }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[batch, d_input]`
    /// - output: `[batch, d_output]`, rows of unit length
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val().clamp(0.0, 1.0).unsqueeze::<2>();
        let weighted = l2_normalize(self.linear.forward(x)) * weight;
        let square = (weighted.clone() * weighted.clone()).sum_dim(1);
        let complement = (-square + 1.0).clamp_min(SMALLEST).sqrt();
        let zero = complement.zeros_like();
        Tensor::cat(
            match self.side {
                Side::Image => vec![weighted, complement, zero],
                Side::Text => vec![weighted, zero, complement],
            },
            1,
        )
    }
}
