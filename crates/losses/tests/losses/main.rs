//! The losses against an f64 oracle, its finite differences, and PyTorch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod gradients;
mod groups;
mod oracle;
mod precision;
mod reference;
mod values;

use burn::tensor::{Device, Tensor, TensorData};
use sail_core::{ContrastiveLoss, EmbeddingBatch, LossError, LossGradients};
use sail_losses::{Blocks, Direction, LossConfig, Normalization};

/// Hides the closed-form `gradients` of a loss, so that the default of the trait differentiates its `forward`.
struct Differentiated(Box<dyn ContrastiveLoss>);

impl ContrastiveLoss for Differentiated {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        self.0.forward(batch)
    }
}

/// Every loss with every setting.
fn every_config() -> Vec<LossConfig> {
    let mut configs = vec![LossConfig::BarlowTwins { lambda: 5e-3 }, LossConfig::BarlowTwins { lambda: 0.7 }];
    for direction in [Direction::Both, Direction::ImageToText, Direction::TextToImage] {
        configs.push(LossConfig::InfoNce { direction });
    }
    for normalization in [Normalization::PairCount, Normalization::Batch] {
        for blocks in [Blocks::Mean, Blocks::Sum] {
            configs.push(LossConfig::Sigmoid { normalization, blocks });
        }
    }
    configs
}

fn tensor<const D: usize>(data: &[f64], shape: [usize; D]) -> Tensor<D> {
    let data: Vec<f32> = data.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(data, shape), &Device::flex())
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    let data = x.into_data().try_to_vec::<f32>().unwrap();
    data.into_iter().map(f64::from).collect()
}

/// The gradients in the order images, caption sets, log scale, bias.
fn parts(gradients: LossGradients) -> Vec<Vec<f64>> {
    let mut parts = vec![floats(gradients.images)];
    parts.extend(gradients.texts.into_iter().map(floats));
    parts.extend([floats(gradients.log_scale), floats(gradients.bias)]);
    parts
}

/// Asserts that no error exceeds `relative` times the largest expected magnitude, plus `absolute`.
fn assert_close(found: &[f64], expected: &[f64], relative: f64, absolute: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    let allowed = relative * largest + absolute;
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        // Not `>`, which is false for a NaN.
        let close = (f - e).abs() <= allowed;
        assert!(close, "{what} [{at}]: {f:e}, expected {e:e} to within {allowed:e}");
    }
}
