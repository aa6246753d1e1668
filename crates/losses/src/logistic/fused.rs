//! The logistic loss of a tile in host memory, in one vectorised, parallel pass.
//!
//! As tensor operations it takes a dozen passes on one core, as long as all three matrix products together; fused it
//! takes a tenth of them. The compiler vectorises the loops, and `pulp` selects the widest instructions of the CPU.

use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use super::terms::LogisticTerms;
use crate::host::{LANES, modify, values};
use crate::positives::TilePositives;
use crate::vector_math::softplus_and_sigmoid;

/// Logits per task: large enough to hide its overhead, small enough to spread a tile over the cores.
const CHUNK: usize = 1 << 14;
/// Values that are summed in f32 before the sum is added to an f64.
const RUN: usize = 64 * LANES;

/// See [`super::logistic_terms`].
pub(super) fn logistic_terms(logits: Tensor<2>, bias: &Tensor<1>, positives: TilePositives) -> LogisticTerms {
    let device = logits.device();
    let bias = values(bias).first().copied().unwrap_or_default();
    let ([loss, d_bias], d_logits) = modify(logits, |logits, shape| {
        let positives = positives.listed(shape);
        let mut reweighted = 0.0;
        for &(index, weight) in &positives {
            let logit = &mut logits[index as usize];
            // Flips the sign of `logit + bias`.
            let flipped = -(*logit + bias);
            if weight != 1.0 {
                reweighted += f64::from(weight - 1.0) * f64::from(softplus_and_sigmoid(flipped).0);
            }
            *logit = flipped - bias;
        }
        let arch = Arch::new();
        let differentiate = |chunk: &mut [f32]| arch.dispatch(|| differentiate(chunk, bias));
        let sums = logits.par_chunks_mut(CHUNK).map(differentiate).reduce(Default::default, |a, b| {
            let [(a, c), (b, d)] = [a.into(), b.into()];
            [a + b, c + d]
        });
        let mut flipped = 0.0;
        for &(index, weight) in &positives {
            let gradient = &mut logits[index as usize];
            flipped += f64::from(*gradient) * (1.0 + f64::from(weight));
            *gradient *= -weight;
        }
        [sums[0] + reweighted, sums[1] - flipped]
    });
    let scalar = |x: f64| Tensor::from_data([x as f32], &device);
    LogisticTerms { loss: scalar(loss), d_logits, d_bias: scalar(d_bias) }
}

/// Replaces logits by gradients; returns the sums of the losses and of the gradients.
#[inline(always)]
fn differentiate(logits: &mut [f32], bias: f32) -> [f64; 2] {
    let mut totals = [0.0; 2];
    for run in logits.chunks_mut(RUN) {
        let mut sums = [[0f32; LANES]; 2];
        let (whole, rest) = run.as_chunks_mut::<LANES>();
        for lanes in whole {
            for (lane, logit) in lanes.iter_mut().enumerate() {
                let (loss, gradient) = softplus_and_sigmoid(*logit + bias);
                *logit = gradient;
                sums[0][lane] += loss;
                sums[1][lane] += gradient;
            }
        }
        for logit in rest {
            let (loss, gradient) = softplus_and_sigmoid(*logit + bias);
            *logit = gradient;
            sums[0][0] += loss;
            sums[1][0] += gradient;
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
    }
    totals
}
