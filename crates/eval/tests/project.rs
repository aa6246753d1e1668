//! Projection with a head that is implemented outside the workspace's crates.

use std::borrow::Cow;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use sail_core::{AlignmentHead, FeatureError, FeatureSource, HeadError, Provenance, Side};
use sail_eval::{EvalError, project_images, project_texts};

/// `x * weight` for images; no text side.
#[derive(Module, Debug)]
struct ImageOnly {
    weight: Param<Tensor<2>>,
}

impl AlignmentHead for ImageOnly {
    fn project_images(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        Ok(features.matmul(self.weight.val()))
    }
    fn project_texts(&self, _: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        Err(HeadError::MissingSide { side: Side::Text })
    }
    fn log_scale(&self) -> Tensor<1> {
        Tensor::zeros([1], &self.weight.device())
    }
    fn bias(&self) -> Tensor<1> {
        Tensor::zeros([1], &self.weight.device())
    }
    fn clamp_parameters(self) -> Self {
        self
    }
    fn to_bytes(&self) -> Result<Vec<u8>, HeadError> {
        Ok(Vec::new())
    }
}

/// Row `r` is `[r, 1]`; the last row is all zeros.
struct Counting(usize);

impl FeatureSource for Counting {
    fn rows(&self) -> usize {
        self.0
    }
    fn dim(&self) -> usize {
        2
    }
    fn key(&self, row: usize) -> Cow<'_, str> {
        row.to_string().into()
    }
    fn provenance(&self) -> Option<&Provenance> {
        None
    }
    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(2)) {
            if row >= self.0 {
                return Err(FeatureError::OutOfRange { row, rows: self.0 });
            }
            let last = row + 1 == self.0;
            out.copy_from_slice(if last { &[0.0, 0.0] } else { &[0.0, 1.0] });
            if !last {
                out[0] = row as f32;
            }
        }
        Ok(())
    }
}

fn head(device: &Device) -> ImageOnly {
    let weight = TensorData::new(vec![1f32, 10.0, 0.5, 0.0, 1.0, 0.25], [2, 3]);
    ImageOnly { weight: Param::from_tensor(Tensor::from_data(weight, device)) }
}

#[test]
fn rows_keep_their_order_for_every_chunk_size() {
    // A head in training is on an autodiff device.
    for device in [Device::flex(), Device::flex().autodiff()] {
        for chunk in [1, 2, 3, 100] {
            let rows = [4, 0, 2, 2, 7];
            let found = project_images(&head(&device), &Counting(9), &rows, chunk).unwrap();
            assert!(!found.is_autodiff(), "the result has no graph");
            let expected: Vec<f32> = rows
                .iter()
                .flat_map(|&row| [row as f32, 10.0 * row as f32 + 1.0, 0.5 * row as f32 + 0.25])
                .collect();
            assert_eq!(found.dims(), [5, 3]);
            assert_eq!(found.into_data().try_to_vec::<f32>().unwrap(), expected);
        }
    }
}

#[test]
fn rejects_invalid_rows_and_missing_sides() {
    let device = Device::flex();
    let run = |rows: &[usize], chunk| project_images(&head(&device), &Counting(3), rows, chunk).unwrap_err();
    assert!(matches!(run(&[], 1), EvalError::Empty { .. }));
    assert!(matches!(run(&[0], 0), EvalError::Config(error) if error.field == "chunk"));
    assert!(matches!(run(&[0, 3], 1), EvalError::Features(FeatureError::OutOfRange { row: 3, rows: 3 })));
    assert!(matches!(run(&[0, 2], 2), EvalError::Features(FeatureError::ZeroNorm { row: 2, .. })));
    let error = project_texts(&head(&device), &Counting(3), &[0], 1).unwrap_err();
    assert!(matches!(error, EvalError::Head(HeadError::MissingSide { side: Side::Text })));
}
