//! Every layer against an f64 oracle on the weights of the saved file, which also pins its tensor names and layouts.
//!
//! The oracles follow the papers; that of SAIL's GLU follows the published code, `g(relu6(clamp(f1 x)) * clamp(f2 x))`
//! with both clamps at ±1000.

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::{AlignmentHead, Side, TokenLayout};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig, WeightInit, WeightedCosine};

const ROWS: usize = 3;
const INPUT: usize = 5;
const DIM: usize = 4;

type Matrix = Vec<Vec<f64>>;

struct Weights<'a>(SafeTensors<'a>);

impl Weights<'_> {
    fn vector(&self, name: &str) -> Vec<f64> {
        let tensor = self.0.tensor(name).unwrap_or_else(|_| panic!("no `{name}` in {:?}", self.0.names()));
        let value = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
        tensor.data().chunks_exact(4).map(value).collect()
    }

    /// `x W^T + b` with W `[out, in]`.
    fn linear(&self, name: &str, x: &Matrix) -> Matrix {
        let (weight, bias) = (self.vector(&format!("{name}.weight")), self.vector(&format!("{name}.bias")));
        let neuron = |row: &Vec<f64>, out: usize| {
            let weights = &weight[out * row.len()..(out + 1) * row.len()];
            bias[out] + row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>()
        };
        x.iter().map(|row| (0..bias.len()).map(|out| neuron(row, out)).collect()).collect()
    }

    fn layer_norm(&self, name: &str, x: &Matrix) -> Matrix {
        let (gain, bias) = (self.vector(&format!("{name}.weight")), self.vector(&format!("{name}.bias")));
        let normalise = |row: &Vec<f64>| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
            let unit = |(i, x): (usize, &f64)| (x - mean) / (variance + 1e-5).sqrt() * gain[i] + bias[i];
            row.iter().enumerate().map(unit).collect()
        };
        x.iter().map(normalise).collect()
    }
}

fn zip(a: Matrix, b: Matrix, f: impl Fn(f64, f64) -> f64) -> Matrix {
    let rows = a.into_iter().zip(b);
    rows.map(|(a, b)| a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect()).collect()
}

fn map(a: Matrix, f: impl Fn(f64) -> f64) -> Matrix {
    a.into_iter().map(|row| row.into_iter().map(&f).collect()).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x Phi(x)` with the normal distribution integrated numerically.
fn gelu(x: f64) -> f64 {
    let steps = 20_000;
    let width = x / f64::from(steps);
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let middle = |step: i32| density((f64::from(step) + 0.5) * width) * width;
    x * (0.5 + (0..steps).map(middle).sum::<f64>())
}

/// Large inputs, whose hidden values saturate activations.
fn input() -> Matrix {
    let value = |row: usize, column: usize| ((row * INPUT + column) as f64 * 1.7).sin() * 40.0;
    (0..ROWS).map(|row| (0..INPUT).map(|column| value(row, column)).collect()).collect()
}

/// Compares the image side with `expected`.
fn check(projector: ProjectorConfig, norm: bool, expected: impl Fn(&Weights, Matrix) -> Matrix) {
    check_side(SideConfig { norm, ..SideConfig::new(INPUT, projector) }, expected);
}

fn check_side(side: SideConfig, expected: impl Fn(&Weights, Matrix) -> Matrix) {
    let norm = side.norm;
    let config = HeadConfig { image: Some(side), ..HeadConfig::new(INPUT, INPUT, DIM, ProjectorConfig::MLP) };
    let device = Device::flex();
    let head = Head::new(&config, 3, &device).unwrap();
    let bytes = head.to_bytes().unwrap();
    let weights = Weights(SafeTensors::deserialize(&bytes).unwrap());
    let flat: Vec<f32> = input().concat().iter().map(|&x| x as f32).collect();
    let x = Tensor::<2>::from_data(TensorData::new(flat, [ROWS, INPUT]), &device);
    let found = head.project_images(x).unwrap().into_data().try_to_vec::<f32>().unwrap();
    let normed = if norm { weights.layer_norm("image.norm", &input()) } else { input() };
    let expected = expected(&weights, normed).concat();
    let size = expected.iter().fold(0f64, |size, x| size.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5 * size, "{found}, expected {expected}");
    }
}

#[test]
fn linear() {
    check(ProjectorConfig::Linear {}, true, |w, x| w.linear("image.projector", &x));
}

/// The cosine of both sides is `sum_d w_d x_d y_d` of the unit rows `x` and `y`, for the weights of CSA.
#[test]
fn weighted_cosine() {
    let side = |side| SideConfig::new(INPUT, ProjectorConfig::WeightedCosine { side });
    let config = HeadConfig {
        image: Some(side(Side::Image)),
        text: Some(side(Side::Text)),
        ..HeadConfig::new(INPUT, INPUT, DIM, ProjectorConfig::Linear {})
    };
    let device = Device::flex();
    let head = Head::new(&config, 3, &device).unwrap();
    // Weights that are not all ones, through the file.
    let mut bytes = head.to_bytes().unwrap();
    let roots: [f32; DIM - 2] = [0.9, 0.0];
    for name in ["image.projector.weight", "text.projector.weight"] {
        let (length, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let start = 8 + length + header.info(name).unwrap().data_offsets.0;
        for (index, root) in roots.iter().enumerate() {
            bytes[start + 4 * index..][..4].copy_from_slice(&root.to_le_bytes());
        }
    }
    let head = Head::from_bytes(bytes.clone(), &device).unwrap();
    let weights = Weights(SafeTensors::deserialize(&bytes).unwrap());
    let unit = |side: &str| {
        let normed = weights.layer_norm(&format!("{side}.norm"), &input());
        let rows = weights.linear(&format!("{side}.projector.linear"), &normed);
        let norm = |row: &Vec<f64>| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        rows.into_iter().map(|row| row.iter().map(|x| x / norm(&row)).collect()).collect::<Matrix>()
    };
    let flat: Vec<f32> = input().concat().iter().map(|&x| x as f32).collect();
    let x = Tensor::<2>::from_data(TensorData::new(flat, [ROWS, INPUT]), &device);
    let read = |x: Tensor<2>| -> Matrix {
        x.into_data().iter::<f64>().collect::<Vec<_>>().chunks(DIM).map(<[f64]>::to_vec).collect()
    };
    let images = read(head.project_images(x.clone()).unwrap());
    let texts = read(head.project_texts(x).unwrap());
    let dot = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (image, x) in images.iter().zip(unit("image")) {
        assert!((dot(image, image) - 1.0).abs() < 1e-6, "{image:?}");
        for (text, y) in texts.iter().zip(unit("text")) {
            let terms = roots.iter().zip(x.iter().zip(y));
            let expected: f64 = terms.map(|(root, (x, y))| f64::from(*root).powi(2) * x * y).sum();
            assert!((dot(image, text) - expected).abs() < 1e-6, "{image:?}, {text:?}, expected {expected}");
        }
    }
}

#[test]
fn weighted_cosine_has_finite_gradients() {
    let device = Device::flex().autodiff();
    let layer = WeightedCosine::new(INPUT, DIM, Side::Text, &mut WeightInit::new(0, 0, &device));
    // With weights of one there is no complement, where the derivative of its root is infinite.
    let x = Tensor::<2>::ones([ROWS, INPUT], &device).require_grad();
    let gradients = layer.forward(x.clone()).slice([0..ROWS, 0..1]).sum().backward();
    let gradient = x.grad(&gradients).unwrap();
    assert!(gradient.into_data().iter::<f64>().all(f64::is_finite));
}

#[test]
fn identity_returns_its_input() {
    let mut config = HeadConfig::new(DIM, INPUT, DIM, ProjectorConfig::Linear {});
    config.image = Some(sail_layers::SideConfig::new(DIM, ProjectorConfig::Identity {}));
    let device = Device::flex();
    let head = Head::new(&config, 0, &device).unwrap();
    let x = Tensor::<2>::from_floats([[1.0, -2.0, 3.0, 9.5]], &device);
    let found = head.project_images(x).unwrap().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(found, [1.0, -2.0, 3.0, 9.5]);
}

#[test]
fn mlp() {
    check(ProjectorConfig::MLP, true, |w, x| {
        w.linear("image.projector.output", &map(w.linear("image.projector.hidden", &x), gelu))
    });
}

/// `g(relu6(clamp(f1 x)) * clamp(f2 x))`, with the pre-activations of gate and value.
fn glu(w: &Weights, x: &Matrix) -> (Matrix, [Matrix; 2]) {
    let [f1, f2] = ["gate", "value"].map(|name| w.linear(&format!("image.projector.{name}"), x));
    let clamp = |x: f64| x.clamp(-1e3, 1e3);
    let relu6 = |x: f64| x.clamp(0.0, 6.0);
    let hidden = zip(f1.clone(), f2.clone(), |a, b| relu6(clamp(a)) * clamp(b));
    (w.linear("image.projector.output", &hidden), [f1, f2])
}

#[test]
fn glu_with_norm() {
    check(ProjectorConfig::Glu { width: 3 }, true, |w, x| glu(w, &x).0);
}

/// Rows of increasing magnitude, so that gates and values lie below, within and above all bounds.
#[test]
fn glu_and_its_vjp_at_both_bounds() {
    let x: Matrix = input()
        .into_iter()
        .zip([0.1, 1.0, 100.0])
        .map(|(row, scale)| map(vec![row], |x| x * scale).remove(0))
        .collect();
    let mut config = HeadConfig::new(INPUT, INPUT, DIM, ProjectorConfig::Glu { width: 3 });
    config.image.as_mut().unwrap().norm = false;
    let device = Device::flex().autodiff();
    let head = Head::new(&config, 3, &device).unwrap();
    let bytes = head.to_bytes().unwrap();
    let weights = Weights(SafeTensors::deserialize(&bytes).unwrap());

    let (expected, [gate, value]) = glu(&weights, &x);
    let occurs = |x: &Matrix, range: std::ops::Range<f64>| x.iter().flatten().any(|x| range.contains(x));
    let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
    for range in [low..-1e3, -1e3..0.0, 0.0..6.0, 6.0..1e3, 1e3..high] {
        assert!(occurs(&gate, range.clone()), "no gate in {range:?}");
    }
    for range in [low..-1e3, -1e3..1e3, 1e3..high] {
        assert!(occurs(&value, range.clone()), "no value in {range:?}");
    }

    let cotangent: Matrix = map(expected.clone(), |y| (y * 1.3).sin());
    let tensor = |x: &Matrix| {
        let flat: Vec<f32> = x.iter().flatten().map(|&x| x as f32).collect();
        Tensor::<2>::from_data(TensorData::new(flat, [x.len(), x[0].len()]), &device)
    };
    let features = tensor(&x).require_grad();
    let output = head.project_images(features.clone()).unwrap();
    let gradients = (output.clone() * tensor(&cotangent)).sum().backward();
    let vjp = features.grad(&gradients).unwrap();

    // Central differences of the oracle, which is piecewise quadratic.
    let product = |x: &Matrix| -> f64 {
        zip(glu(&weights, x).0, cotangent.clone(), |y, c| y * c).iter().flatten().sum()
    };
    let derivative = |row: usize, column: usize| {
        let step = 1e-4;
        let moved = |by: f64| {
            let mut x = x.clone();
            x[row][column] += by;
            product(&x)
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    };
    let expected_vjp: Matrix =
        (0..ROWS).map(|row| (0..INPUT).map(|column| derivative(row, column)).collect()).collect();
    // Per row, because their magnitudes differ.
    for (found, expected) in [(output.inner(), expected), (vjp, expected_vjp)] {
        let found = found.into_data().try_to_vec::<f32>().unwrap();
        for (found, expected) in found.chunks_exact(expected[0].len()).zip(&expected) {
            let size = expected.iter().fold(0f64, |size, x| size.max(x.abs()));
            assert!(size > 1e-3);
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-4 * size, "{found}, expected {expected}");
            }
        }
    }
}

#[test]
fn swiglu() {
    check(ProjectorConfig::SwiGlu { width: 2 }, false, |w, x| {
        let gate = map(w.linear("image.projector.gate", &x), |x| x * sigmoid(x));
        w.linear("image.projector.output", &zip(gate, w.linear("image.projector.value", &x), |a, b| a * b))
    });
}

#[test]
fn residual_mlp_in_inference() {
    let projector = ProjectorConfig::ResidualMlp { expansion: 2, depth: 3, dropout: 0.6 };
    check(projector, false, |w, x| {
        let x = (0..3).fold(x, |x, block| {
            let name = |part: &str| format!("image.projector.blocks.{block}.{part}");
            let hidden = map(w.linear(&name("hidden"), &w.layer_norm(&name("norm"), &x)), gelu);
            zip(x, w.linear(&name("output"), &hidden), |a, b| a + b)
        });
        w.linear("image.projector.output", &w.layer_norm("image.projector.norm", &x))
    });
}

/// A single patch is projected by the plain formula.
#[test]
fn token_projector_of_one_patch() {
    let layout = TokenLayout::Image { class_token: false, grid: [1, 1], dim: INPUT };
    check_side(SideConfig::of_tokens(layout, ProjectorConfig::Token {}), |w, x| {
        let hidden = map(w.linear("image.projector.patches.hidden", &x), gelu);
        let output = w.linear("image.projector.patches.output", &hidden);
        zip(w.linear("image.projector.patches.linear", &x), output, |a, b| a + b)
    });
}

#[test]
fn sharelock_in_inference() {
    let projector = ProjectorConfig::ShareLock { hidden: 6, layers: 3, dropout: 0.5 };
    check(projector, true, |w, x| {
        let block = |x: Matrix, layer: usize| {
            let name = |part: &str| format!("image.projector.hidden.{layer}.{part}");
            let x = w.linear(&name("linear"), &x);
            let parts = ["norm.running_mean", "norm.running_var", "norm.weight", "norm.bias"];
            let [mean, variance, gain, bias] = parts.map(|part| w.vector(&name(part)));
            let unit = |(i, x): (usize, f64)| {
                ((x - mean[i]) / (variance[i] + 1e-5).sqrt() * gain[i] + bias[i]).max(0.0)
            };
            x.into_iter().map(|row| row.into_iter().enumerate().map(unit).collect()).collect()
        };
        w.linear("image.projector.output", &block(block(x, 0), 1))
    });
}

#[test]
fn batch_norm_and_dropout_are_active_in_training_only() {
    let device = Device::flex().autodiff();
    for projector in [
        ProjectorConfig::ShareLock { hidden: 64, layers: 2, dropout: 0.5 },
        ProjectorConfig::ResidualMlp { expansion: 4, depth: 1, dropout: 0.5 },
    ] {
        let head = Head::new(&HeadConfig::new(INPUT, INPUT, DIM, projector), 0, &device).unwrap();
        let x = Tensor::<2>::random([8, INPUT], burn::tensor::Distribution::Normal(0.0, 1.0), &device);
        let run = |head: &Head, x: Tensor<2>| head.project_images(x).unwrap().into_data();
        assert_ne!(run(&head, x.clone()), run(&head, x.clone()));
        let valid = burn::module::Module::valid(&head);
        assert_eq!(run(&valid, x.clone().inner()), run(&valid, x.inner()));
    }
}
