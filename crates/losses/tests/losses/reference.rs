//! Values and gradients against PyTorch, from the fixture that `fixtures/generate.py` writes.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use sail_core::{ContrastiveLoss, EmbeddingBatch};
use sail_losses::{BarlowTwinsLoss, Blocks, Direction, LossConfig, Normalization};

use crate::{Differentiated, assert_close, floats, parts};

/// Tensors of the fixture by name. Taking one removes it, so that unused tensors are detected.
struct Fixture(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Fixture {
    fn open() -> Self {
        let bytes = include_bytes!("../fixtures/losses.safetensors");
        let file = SafeTensors::deserialize(bytes).unwrap();
        let entries = file.iter().map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => view.data().chunks_exact(4).map(f32_at).collect(),
                Dtype::F64 => view.data().chunks_exact(8).map(f64_at).collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name.to_owned(), (view.shape().to_vec(), values))
        });
        Self(entries.collect())
    }

    fn take(&mut self, name: &str) -> Vec<f64> {
        self.0.remove(name).unwrap_or_else(|| panic!("no {name}")).1
    }

    fn take_tensor<const D: usize>(&mut self, name: &str) -> Tensor<D> {
        let (shape, values) = self.0.remove(name).unwrap_or_else(|| panic!("no {name}"));
        let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn take_batch(&mut self, case: &str, sets: usize) -> EmbeddingBatch {
        EmbeddingBatch {
            images: self.take_tensor(&format!("{case}/images")),
            texts: (0..sets).map(|k| self.take_tensor(&format!("{case}/texts.{k}"))).collect(),
            log_scale: self.take_tensor(&format!("{case}/log_scale")),
            bias: self.take_tensor(&format!("{case}/bias")),
            groups: None,
        }
    }
}

fn f32_at(bytes: &[u8]) -> f64 {
    f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))
}

fn f64_at(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(bytes.try_into().unwrap())
}

fn configs() -> Vec<(&'static str, LossConfig)> {
    let sigmoid = |normalization, blocks| LossConfig::Sigmoid { normalization, blocks };
    let info_nce = |direction| LossConfig::InfoNce { direction };
    let lambda = BarlowTwinsLoss::LAMBDA;
    vec![
        ("sigmoid-pair-count-mean", sigmoid(Normalization::PairCount, Blocks::Mean)),
        ("sigmoid-pair-count-sum", sigmoid(Normalization::PairCount, Blocks::Sum)),
        ("sigmoid-batch-mean", sigmoid(Normalization::Batch, Blocks::Mean)),
        ("sigmoid-batch-sum", sigmoid(Normalization::Batch, Blocks::Sum)),
        ("info-nce-both", info_nce(Direction::Both)),
        ("info-nce-image-to-text", info_nce(Direction::ImageToText)),
        ("info-nce-text-to-image", info_nce(Direction::TextToImage)),
        ("barlow-twins", LossConfig::BarlowTwins { lambda }),
    ]
}

#[test]
fn values_and_gradients_match_pytorch() {
    let mut fixture = Fixture::open();
    for (case, sets) in [("loose", 3), ("aligned", 2)] {
        let batch = fixture.take_batch(case, sets);
        for (name, config) in configs() {
            let expected_value = fixture.take(&format!("{case}/{name}/value"));
            let mut expected = vec![fixture.take(&format!("{case}/{name}/d_images"))];
            for k in 0..sets {
                expected.push(fixture.take(&format!("{case}/{name}/d_texts.{k}")));
            }
            for scalar in ["log_scale", "bias"] {
                expected.push(fixture.take(&format!("{case}/{name}/d_{scalar}")));
            }

            let closed_form = config.build().unwrap();
            let differentiated = Differentiated(config.build().unwrap());
            let losses: [(&str, &dyn ContrastiveLoss); 2] =
                [("closed form", closed_form.as_ref()), ("differentiated", &differentiated)];
            for (path, loss) in losses {
                let found = loss.gradients(batch.clone()).unwrap();
                let what = format!("{case}, {name}, {path}");
                let value = floats(found.value.clone());
                assert_close(&value, &expected_value, 1e-5, 0.0, &what);
                let found = parts(found);
                assert_eq!(found.len(), expected.len());
                for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    // PyTorch's gradient of an unused or cancelling bias is 0 up to rounding.
                    assert_close(found, expected, 2e-5, 1e-9, &format!("{what}, part {part}"));
                }
            }
        }
    }
    fixture.0.retain(|name, _| !name.starts_with("first/"));
    assert_eq!(fixture.0.into_keys().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_initial_loss_matches_pytorch_to_single_precision() {
    let mut fixture = Fixture::open();
    let device = Device::flex();
    let batch = EmbeddingBatch {
        images: fixture.take_tensor("first/images"),
        texts: vec![fixture.take_tensor("first/texts.0")],
        log_scale: Tensor::from_floats([20f32.ln()], &device),
        bias: Tensor::from_floats([-10.0], &device),
        groups: None,
    };
    let loss = LossConfig::default().build().unwrap();
    let forward = floats(loss.forward(batch.clone()).unwrap());
    let closed_form = floats(loss.gradients(batch).unwrap().value);
    for precision in ["f32", "f64"] {
        let expected = fixture.take(&format!("first/value.{precision}"));
        assert_close(&forward, &expected, 1e-6, 0.0, precision);
        assert_close(&closed_form, &expected, 1e-6, 0.0, precision);
    }
}
