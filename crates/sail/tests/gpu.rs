//! Compares losses, training and evaluation on a GPU (CubeCL kernels through wgpu) with the CPU backend `flex`.
//!
//! `.ci/gpu` runs these tests, on the device named by `SAIL_TEST_DEVICE`, or by default on the software device
//! `webgpu:cpu`, which requires no GPU. The tests are skipped with a message if the software device is not installed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;

use sail_vl::burn::module::{Module, ModuleVisitor, Param};
use sail_vl::burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use sail_vl::core::{
    AlignmentHead, ContrastiveLoss, Dtype, EmbeddingBatch, FeatureSource, LossError, l2_normalize,
};
use sail_vl::data::{MatrixFeatures, Pairs};
use sail_vl::device::{self, DeviceError};
use sail_vl::eval::{BlockSize, project_images, project_texts, retrieval};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::{Blocks, Direction, LossConfig, Normalization, SigmoidLoss};
use sail_vl::train::{Interval, OptimizerConfig, Outcome, TrainConfig, TrainError, Trainer};

/// Returns the device under test, or `None` if the software device is not installed. A requested device must exist.
fn gpu() -> Option<Device> {
    let requested = std::env::var("SAIL_TEST_DEVICE");
    match device::parse(requested.as_deref().unwrap_or("webgpu:cpu")) {
        Ok(device) => Some(device),
        Err(error @ DeviceError::Absent { .. }) if requested.is_err() => {
            // Not `eprintln`, whose output the test harness captures.
            writeln!(std::io::stderr(), "skipped: {error}").unwrap();
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Returns `rows * dim` pseudorandom values in -1 to 1.
fn noise(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let value = |i: usize| {
        let mut z = (i as u64 + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..rows * dim).map(value).collect()
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// Asserts that the absolute error is at most `relative` times the largest expected magnitude, plus `absolute`.
fn assert_close(found: &[f64], expected: &[f64], [relative, absolute]: [f64; 2], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let allowed = relative * expected.iter().fold(0f64, |m, x| m.max(x.abs())) + absolute;
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        // Fails for NaN, unlike the negated comparison.
        assert!((f - e).abs() <= allowed, "{what} [{at}]: {f:e}, expected {e:e} to within {allowed:e}");
    }
}

/// Returns random unit rows with correlated images and captions, computed on the host so that all devices get the same.
fn random([rows, dim, sets]: [usize; 3], scale: f32, bias: f32, device: &Device) -> EmbeddingBatch {
    let host = Device::flex();
    let matrix = |seed| Tensor::<2>::from_data(TensorData::new(noise(rows, dim, seed), [rows, dim]), &host);
    let images = matrix(0);
    let texts = (1..=sets as u64).map(|seed| l2_normalize(images.clone() + matrix(seed)));
    let moved = |x: Tensor<2>| Tensor::from_data(x.into_data(), device);
    EmbeddingBatch {
        texts: texts.map(moved).collect(),
        images: moved(l2_normalize(images.clone())),
        log_scale: Tensor::from_floats([scale.ln()], device),
        bias: Tensor::from_floats([bias], device),
        groups: None,
    }
}

/// Hides the `gradients` of a loss, so that the default differentiates its `forward`.
struct Differentiated(Box<dyn ContrastiveLoss>);

impl ContrastiveLoss for Differentiated {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        self.0.forward(batch)
    }
}

/// Returns every loss with every setting, with closed-form and with autodiff gradients.
fn losses() -> Vec<(String, Box<dyn ContrastiveLoss>)> {
    let mut configs = vec![LossConfig::BarlowTwins { lambda: 5e-3 }];
    for direction in [Direction::Both, Direction::ImageToText, Direction::TextToImage] {
        configs.push(LossConfig::InfoNce { direction });
    }
    let mut losses: Vec<(String, Box<dyn ContrastiveLoss>)> = Vec::new();
    for normalization in [Normalization::PairCount, Normalization::Batch] {
        for blocks in [Blocks::Mean, Blocks::Sum] {
            configs.push(LossConfig::Sigmoid { normalization, blocks });
            let tiled = SigmoidLoss::new().with_normalization(normalization).with_blocks(blocks);
            let tiled = tiled.with_tile_size(NonZeroUsize::new(16).unwrap());
            losses.push((format!("{tiled:?}"), Box::new(tiled)));
        }
    }
    for config in configs {
        losses.push((format!("{config:?}"), config.build().unwrap()));
        let graph = Differentiated(config.build().unwrap());
        losses.push((format!("{config:?}, differentiated"), Box::new(graph)));
    }
    losses
}

/// Returns the value, the gradients of images, caption sets, log scale and bias, and the value of `forward`.
fn outputs(loss: &dyn ContrastiveLoss, batch: EmbeddingBatch) -> Vec<(String, Vec<f64>)> {
    let gradients = loss.gradients(batch.clone()).unwrap();
    let mut parts = vec![
        ("value".to_owned(), floats(gradients.value)),
        ("images".to_owned(), floats(gradients.images)),
        ("log scale".to_owned(), floats(gradients.log_scale)),
        ("bias".to_owned(), floats(gradients.bias)),
        ("forward".to_owned(), floats(loss.forward(batch).unwrap())),
    ];
    let texts = gradients.texts.into_iter().enumerate();
    parts.extend(texts.map(|(set, texts)| (format!("texts {set}"), floats(texts))));
    parts
}

/// Compares the losses whose name contains `kind` between the device and the CPU.
fn compare(kind: &str, device: &Device, batch: impl Fn(&Device) -> EmbeddingBatch, tolerance: [f64; 2]) {
    for (name, loss) in losses().into_iter().filter(|(name, _)| name.contains(kind)) {
        let found = outputs(loss.as_ref(), batch(device));
        let expected = outputs(loss.as_ref(), batch(&Device::flex()));
        for ((part, found), (_, expected)) in found.iter().zip(&expected) {
            let what = format!("{name}, {part}");
            assert!(found.iter().all(|x| x.is_finite()), "{what}: {found:?}");
            // The loss is computed from terms near 1, so it has an absolute error. Gradients do not.
            let absolute = if matches!(part.as_str(), "value" | "forward") { tolerance[1] } else { 0.0 };
            assert_close(found, expected, [tolerance[0], absolute], &what);
        }
    }
}

#[test]
fn losses_and_gradients_match_the_cpu() {
    let Some(device) = gpu() else { return };
    for shape in [[37, 24, 1], [50, 33, 3]] {
        compare("", &device, |device| random(shape, 20.0, -10.0, device), [5e-5, 0.0]);
    }
}

#[test]
fn losses_are_finite_for_logits_beyond_the_range_of_exp() {
    let Some(device) = gpu() else { return };
    for bias in [-1e4, 0.0, 1e4] {
        compare("", &device, |device| random([19, 8, 2], 1e4, bias, device), [1e-4, 0.0]);
    }
}

#[test]
fn gradients_of_a_loss_near_zero_do_not_underflow() {
    let Some(device) = gpu() else { return };
    // Every pair is classified correctly with a logit of 20 and has a loss of 2e-9. CubeCL computes `log1p(x)` as
    // `ln(1 + x)`, which is 0 for such small values, so the loss has an absolute error of the rounding of 1.
    let batch = |device: &Device| {
        let embeddings = Tensor::<2>::eye(21, device);
        EmbeddingBatch {
            images: embeddings.clone(),
            texts: vec![embeddings],
            log_scale: Tensor::from_floats([40f32.ln()], device),
            bias: Tensor::from_floats([-20.0], device),
            groups: None,
        }
    };
    compare("Sigmoid", &device, batch, [5e-5, 21.0 * 1e-7]);
}

const IMAGE_DIM: usize = 24;
const TEXT_DIM: usize = 20;

/// Returns features with a common latent part that a head can align, and two caption sets.
fn pairs(rows: usize) -> Pairs {
    let shared = noise(rows, 8, 100);
    let features = |dim: usize, seed| {
        let (own, weights) = (noise(rows, dim, seed), noise(8, dim, seed + 1));
        let value = |row: usize, column: usize| {
            let mixed = (0..8).map(|k| shared[row * 8 + k] * weights[k * dim + column]).sum::<f32>();
            mixed + 0.2 * own[row * dim + column]
        };
        let values = (0..rows * dim).map(|i| value(i / dim, i % dim)).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap()) as Arc<dyn FeatureSource>
    };
    // The second caption set is the first with additional noise.
    let first = features(TEXT_DIM, 300);
    let mut second = vec![0.0; rows * TEXT_DIM];
    first.gather(&(0..rows).collect::<Vec<_>>(), &mut second).unwrap();
    second.iter_mut().zip(noise(rows, TEXT_DIM, 400)).for_each(|(x, noise)| *x += 0.3 * noise);
    let second = Arc::new(MatrixFeatures::new(TEXT_DIM, second).unwrap());
    Pairs::new(features(IMAGE_DIM, 200), vec![first, second]).unwrap()
}

fn new_head(projector: ProjectorConfig, device: &Device) -> Head {
    Head::new(&HeadConfig::new(IMAGE_DIM, TEXT_DIM, 16, projector), 7, device).unwrap()
}

fn train(
    projector: ProjectorConfig,
    optimizer: OptimizerConfig,
    epochs: usize,
    device: &Device,
) -> Outcome<Head> {
    let config = short().with_epochs(epochs).with_optimizer(optimizer);
    trainer(config, projector, device).run().unwrap()
}

fn short() -> TrainConfig {
    TrainConfig::default()
        .with_epochs(3)
        .with_batch_size(32)
        .with_learning_rate(3e-3)
        .with_evaluate_every(Interval::epochs(1))
}

fn trainer(config: TrainConfig, projector: ProjectorConfig, device: &Device) -> Trainer<'static, Head> {
    let split = pairs(160).split(32, 0).unwrap();
    let loss = SigmoidLoss::new().with_tile_size(NonZeroUsize::new(12).unwrap());
    let trainer = Trainer::new(config, new_head(projector, device), Arc::new(loss), split.train);
    trainer.holdout(split.holdout)
}

/// Collects the parameters in the order of the module.
#[derive(Default)]
struct Parameters(Vec<Vec<f64>>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(floats(param.val()));
    }
}

fn parameters(head: &Head) -> Vec<Vec<f64>> {
    let mut parameters = Parameters::default();
    head.visit(&mut parameters);
    parameters.0
}

#[test]
fn training_steps_match_the_cpu() {
    let Some(device) = gpu() else { return };
    for projector in [ProjectorConfig::Linear {}, ProjectorConfig::Glu { width: 2 }] {
        for optimizer in [OptimizerConfig::LION, OptimizerConfig::ADAMW] {
            let what = format!("{projector:?}, {optimizer:?}");
            let found = train(projector.clone(), optimizer.clone(), 3, &device);
            let expected = train(projector.clone(), optimizer, 3, &Device::flex());
            assert_eq!(found.head.log_scale().device(), device, "{what}");

            let (losses, expected_losses) = (curve(&found), curve(&expected));
            assert!(losses.len() == 12 && losses[11] < 0.9 * losses[0], "{what}: {losses:?}");
            assert_close(&losses, &expected_losses, [1e-4, 0.0], &what);

            // Compares the updates, because the weights are dominated by their initial values. The sign of a gradient
            // near zero may flip, so the norm over each parameter is compared.
            let initial = parameters(&new_head(projector.clone(), &Device::flex()));
            let (found, expected) = (parameters(&found.head), parameters(&expected.head));
            assert_eq!((found.len(), expected.len()), (initial.len(), initial.len()));
            for (at, initial) in initial.iter().enumerate() {
                let norm =
                    |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
                let changed = norm(&expected[at], initial);
                let off = norm(&found[at], &expected[at]) / changed;
                assert!(changed > 0.0 && off < 0.01, "{what}, parameter {at}: {off} of its change {changed}");
            }
        }
    }
}

/// Returns the loss of every step.
fn curve(outcome: &Outcome<Head>) -> Vec<f64> {
    outcome.history.steps.iter().map(|step| step.loss).collect()
}

#[test]
fn micro_batches_and_mixed_devices_match_the_cpu() {
    let Some(device) = gpu() else { return };
    let trainer = |device: &Device| trainer(short(), ProjectorConfig::Glu { width: 2 }, device);
    let expected = curve(&trainer(&Device::flex()).run().unwrap());
    let chunk = NonZeroUsize::new(12).unwrap();
    for (what, trainer) in [
        ("micro-batches", trainer(&device).micro_batch(chunk)),
        ("the CPU as a second device", trainer(&device).devices(vec![Device::flex()])),
        ("as the second device", trainer(&Device::flex()).devices(vec![device.clone()]).micro_batch(chunk)),
    ] {
        assert_close(&curve(&trainer.run().unwrap()), &expected, [1e-4, 0.0], what);
    }
}

#[test]
fn half_precision_trains_or_is_rejected() {
    let Some(device) = gpu() else { return };
    let trainer = |precision, device: &Device| {
        trainer(short().with_precision(precision), ProjectorConfig::Glu { width: 2 }, device)
    };
    let expected = curve(&trainer(Dtype::F32, &Device::flex()).run().unwrap());
    for precision in [Dtype::BF16, Dtype::F16] {
        let trainer = trainer(precision, &device);
        match trainer.check() {
            Ok(()) => {
                let found = curve(&trainer.run().unwrap());
                assert_close(&found, &expected, [0.03, 0.0], &precision.to_string());
            }
            Err(error) => assert!(matches!(error, TrainError::Precision { .. }), "{precision}: {error}"),
        }
    }
}

#[test]
fn evaluation_matches_the_cpu() {
    let Some(device) = gpu() else { return };
    let pairs = pairs(200);
    let rows: Vec<usize> = (0..pairs.len()).collect();
    let head = train(ProjectorConfig::Glu { width: 2 }, OptimizerConfig::LION, 20, &Device::flex()).head;
    let bytes = head.to_bytes().unwrap();
    let evaluate = |device: &Device| {
        let head = Head::from_bytes(bytes.clone(), device).unwrap();
        let images = project_images(&head, &**pairs.images(), &rows, 64).unwrap();
        let texts = project_texts(&head, &**pairs.captions(0), &rows, 64).unwrap();
        let block = BlockSize { rows: 48, columns: 80 };
        let result = retrieval(images.clone(), texts.clone(), &rows, &block).unwrap();
        (floats(images), floats(texts), result)
    };
    let (images, texts, found) = evaluate(&device);
    let (expected_images, expected_texts, expected) = evaluate(&Device::flex());
    assert_close(&images, &expected_images, [1e-5, 0.0], "images");
    assert_close(&texts, &expected_texts, [1e-5, 0.0], "texts");
    assert!(
        (10.0..90.0).contains(&found.i2t.r1),
        "the recall should be neither trivial nor saturated: {found:?}"
    );
    // Ranks are computed in f64 from rows that the device rounded, so one query may differ.
    for (found, expected) in [(found.i2t, expected.i2t), (found.t2i, expected.t2i)] {
        for (found, expected) in [(found.r1, expected.r1), (found.r5, expected.r5), (found.r10, expected.r10)]
        {
            assert!((found - expected).abs() <= 100.0 / 200.0, "{found}, expected {expected}");
        }
        assert!((found.mean_rank - expected.mean_rank).abs() < 0.02, "{found:?}, expected {expected:?}");
    }
}

#[test]
fn heads_are_saved_and_loaded_across_devices() {
    let Some(device) = gpu() else { return };
    let folder = std::env::temp_dir().join(format!("sail-gpu-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("head.safetensors");
    let features = noise(5, IMAGE_DIM, 1);
    let embed = |head: &Head, device: &Device| {
        let features = Tensor::from_data(TensorData::new(features.clone(), [5, IMAGE_DIM]), device);
        floats(head.project_images(features).unwrap())
    };
    for (from, to) in [(&device, &Device::flex()), (&Device::flex(), &device)] {
        let saved = new_head(ProjectorConfig::Glu { width: 2 }, from);
        saved.save(&path).unwrap();
        let loaded = Head::load(&path, to).unwrap();
        assert_eq!(&loaded.log_scale().device(), to);
        assert_eq!(loaded.to_bytes().unwrap(), std::fs::read(&path).unwrap());
        assert_close(&embed(&loaded, to), &embed(&saved, from), [1e-5, 0.0], "projection");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn missing_devices_are_absent() {
    for name in ["webgpu:99", "webgpu:4294967296"] {
        let Err(DeviceError::Absent { name: named, present }) = device::parse(name) else {
            panic!("{name} was found");
        };
        assert_eq!((named.as_str(), present), (name, device::present()));
    }
}

#[test]
fn software_device_requires_its_own_name() {
    let software = Device::wgpu(DeviceKind::Cpu);
    match device::parse("webgpu:cpu") {
        Ok(device) => assert_eq!(device, software),
        Err(error) => assert!(!error.to_string().contains("one of webgpu:cpu"), "{error}"),
    }
    for name in device::present().into_iter().filter(|name| name != "webgpu:cpu") {
        assert_ne!(device::parse(&name).unwrap(), software, "{name}");
    }
    if let Ok(first) = device::parse("webgpu") {
        assert_eq!(Ok(first), device::parse("webgpu:0"));
    }
}
