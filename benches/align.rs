//! Benchmarks of losses and training steps.
//!
//! ```text
//! cargo bench --bench align -- product SIDE [ROUNDS]
//! cargo bench --bench align -- gemm SIDE [ROUNDS]
//! cargo bench --bench align -- loss sigmoid|info-nce BATCH DIM SETS [ROUNDS]
//! cargo bench --bench align -- step linear|mlp|glu IMAGE_DIM TEXT_DIM DIM WIDTH BATCH [ROUNDS [MEBIBYTES]]
//! ```
//! Each prints `{"seconds": [...]}` of every round after a warm-up round, or of the warm-up round if ROUNDS is 0.
//! `product` is a square matrix product of tensors, and `gemm` one by the crate `gemm` alone, into memory that is
//! reused: the upper bound for the others in f32. `--precision bf16` after the other arguments multiplies in bf16.
//! `benches/align_reference.py` is the PyTorch reference.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use sail_matmul::Bf16Products;
use sail_vl::burn::tensor::{Device, Distribution, Tensor};
use sail_vl::core::{ContrastiveLoss, Dtype, EmbeddingBatch, l2_normalize};
use sail_vl::data::{MatrixFeatures, Pairs};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::{LossConfig, SigmoidLoss};
use sail_vl::train::{Event, TrainConfig, Trainer};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn print(seconds: &[f64]) {
    let seconds: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.6}")).collect();
    println!("{{\"seconds\": [{}]}}", seconds.join(", "));
}

/// Prints the seconds of each round after a warm-up round, or of the warm-up round for 0 rounds.
fn time(rounds: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let mut seconds = Vec::new();
    for _ in 0..=rounds {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    print(&seconds[usize::from(rounds > 0)..]);
    Ok(())
}

fn main() -> Outcome<()> {
    // As `sail train` does.
    sail_vl::allocator::keep_freed_memory();
    // Cargo adds `--bench` to the arguments.
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut precision = Dtype::F32;
    if let Some(flag) = arguments.iter().position(|argument| argument == "--precision") {
        precision = arguments.get(flag + 1).ok_or("--precision needs a value")?.parse()?;
        arguments.drain(flag..flag + 2);
    }
    let text = |index: usize| {
        arguments.get(index).map(String::as_str).ok_or("too few arguments, see benches/align.rs")
    };
    let number = |index: usize| -> Outcome<usize> { Ok(text(index)?.parse()?) };
    let rounds = |index: usize| arguments.get(index).map_or(Ok(3), |rounds| rounds.parse());
    let device = Device::flex();
    device.seed(0);
    let random = |rows, dim| Tensor::<2>::random([rows, dim], Distribution::Normal(0.0, 1.0), &device);
    match arguments.first().map(String::as_str) {
        Some("product") => {
            let (a, b) = (random(number(1)?, number(1)?), random(number(1)?, number(1)?));
            let bf16 = match precision {
                Dtype::F32 => None,
                _ => Some(Bf16Products::detect().ok_or("this CPU has no instructions for bf16")?),
            };
            time(rounds(2)?, || {
                std::hint::black_box(match bf16 {
                    Some(products) => products.matmul(a.clone(), b.clone()),
                    None => a.clone().matmul(b.clone()),
                });
                Ok(())
            })
        }
        Some("gemm") => {
            let side = number(1)?;
            let [a, b] = [random(side, side), random(side, side)].map(Tensor::into_data);
            let [a, b] = [a.as_slice::<f32>()?, b.as_slice::<f32>()?];
            let mut product = vec![0f32; side * side];
            time(rounds(2)?, || {
                gemm(side, a, b, &mut product);
                Ok(())
            })
        }
        Some("loss") => {
            let loss: Arc<dyn ContrastiveLoss> = loss(text(1)?)?.into();
            let loss = loss.computing_in(precision).ok_or("the loss does not support the precision")?;
            let (rows, dim, sets) = (number(2)?, number(3)?, number(4)?);
            let batch = EmbeddingBatch {
                images: l2_normalize(random(rows, dim)),
                texts: (0..sets).map(|_| l2_normalize(random(rows, dim))).collect(),
                log_scale: Tensor::from_floats([20f32.ln()], &device),
                bias: Tensor::from_floats([-10.0], &device),
                groups: None,
            };
            time(rounds(5)?, || {
                std::hint::black_box(loss.gradients(batch.clone())?.value.into_data());
                Ok(())
            })
        }
        Some("step") => {
            let dims = [number(2)?, number(3)?, number(4)?];
            let width = number(5)?;
            let projector = match text(1)? {
                "linear" => ProjectorConfig::Linear {},
                "mlp" => ProjectorConfig::Mlp { expansion: width },
                "glu" => ProjectorConfig::Glu { width },
                other => return Err(format!("unknown head `{other}`, expected linear, mlp or glu").into()),
            };
            let memory = arguments.get(8).map(|mebibytes| mebibytes.parse::<u64>()).transpose()?;
            let config = TrainConfig::default().with_batch_size(number(6)?).with_precision(precision);
            step(projector, dims, config, rounds(7)?, memory, &device)
        }
        // `cargo bench` runs every bench without arguments.
        None => Ok(()),
        Some(other) => {
            Err(format!("unknown benchmark `{other}`, expected product, gemm, loss or step").into())
        }
    }
}

/// The product of square matrices by the crate `gemm`.
#[allow(unsafe_code)]
fn gemm(side: usize, a: &[f32], b: &[f32], product: &mut [f32]) {
    assert!([a.len(), b.len(), product.len()] == [side * side; 3]);
    let stride = side as isize;
    let (a, b, product) = (a.as_ptr(), b.as_ptr(), product.as_mut_ptr());
    let threads = gemm::Parallelism::Rayon(0);
    // SAFETY: the three are matrices of these sides and strides.
    unsafe {
        gemm::gemm(
            side, side, side, product, 1, stride, false, a, 1, stride, b, 1, stride, 0f32, 1f32, false,
            false, false, threads,
        );
    }
}

fn loss(name: &str) -> Outcome<Box<dyn ContrastiveLoss>> {
    Ok(match name {
        "sigmoid" => LossConfig::default().build()?,
        "info-nce" => LossConfig::InfoNce { direction: Default::default() }.build()?,
        other => return Err(format!("unknown loss `{other}`, expected sigmoid or info-nce").into()),
    })
}

fn step(
    projector: ProjectorConfig,
    [image_dim, text_dim, dim]: [usize; 3],
    config: TrainConfig,
    rounds: usize,
    memory: Option<u64>,
    device: &Device,
) -> Outcome<()> {
    let batch = config.batch_size;
    let features = |dim: usize| -> Outcome<_> {
        let values = (0..batch * dim).map(|i| (i as f32 * 0.618).sin() + (i as f32 * 1.7e-3).cos());
        Ok(Arc::new(MatrixFeatures::new(dim, values.collect())?))
    };
    let pairs = Pairs::new(features(image_dim)?, vec![features(text_dim)?])?;
    let head = Head::new(&HeadConfig::new(image_dim, text_dim, dim, projector), 0, device)?;
    let config = config.with_epochs(rounds + 1);
    // The start of the run and the end of each step.
    let mut times = Vec::new();
    let clock = |event: Event<'_>, _: &Head| {
        if let Event::Started { .. } | Event::Step(_) = event {
            times.push(Instant::now());
        }
    };
    let mut trainer = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs).observer(clock);
    if let Some(mebibytes) = memory {
        trainer = trainer.memory(mebibytes << 20);
    }
    trainer.run()?;
    let seconds: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    print(&seconds[usize::from(rounds > 0)..]);
    Ok(())
}
