//! Micro-benchmarks of the hot paths, for comparing changes: `cargo bench --bench kernels`.
//!
//! Prints the median and minimum time of ten rounds. See `benches/align.rs` for realistic sizes.
#![allow(clippy::expect_used, clippy::print_stdout)] // Benchmarks may panic.

use std::hint::black_box;
use std::time::Instant;

use sail_vl::burn::tensor::{Device, Distribution, Tensor};
use sail_vl::core::l2_normalize;
use sail_vl::core::{AlignmentHead, ContrastiveLoss, EmbeddingBatch, FeatureSource, Modality, Provenance};
use sail_vl::data::{BatchSampler, EmbeddingStore, StoreConfig, StoreWriter};
use sail_vl::eval::{BlockSize, retrieval, top_k};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::{InfoNceLoss, SigmoidLoss};

const ROWS: usize = 2048;
const DIM: usize = 512;

fn random(rows: usize, dim: usize) -> Tensor<2> {
    Tensor::random([rows, dim], Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Prints the time and the throughput of `work` in elements per second.
fn time<T>(name: &str, elements: usize, mut work: impl FnMut() -> T) {
    black_box(work());
    let mut seconds: Vec<f64> = (0..10)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let (min, median) = (seconds[0], (seconds[4] + seconds[5]) / 2.0);
    println!(
        "{name:24} {:9.2} ms (min {:9.2} ms) {:9.2e} elements/s",
        1e3 * median,
        1e3 * min,
        elements as f64 / median
    );
}

fn losses() {
    let device = Device::flex();
    let batch = EmbeddingBatch {
        images: l2_normalize(random(ROWS, DIM)),
        texts: vec![l2_normalize(random(ROWS, DIM))],
        log_scale: Tensor::from_floats([20f32.ln()], &device),
        bias: Tensor::from_floats([-10.0], &device),
        groups: None,
    };
    let losses: [(&str, &dyn ContrastiveLoss); 2] =
        [("loss/sigmoid", &SigmoidLoss::new()), ("loss/info_nce", &InfoNceLoss::new())];
    for (name, loss) in losses {
        time(name, ROWS * ROWS, || {
            loss.gradients(batch.clone()).expect("the batch is valid").value.into_data()
        });
    }
}

fn heads() {
    let features = random(ROWS, 768);
    for projector in [ProjectorConfig::Linear {}, ProjectorConfig::MLP, ProjectorConfig::Glu { width: 2 }] {
        let name = format!("head/{}", projector.name());
        let config = HeadConfig::new(768, 768, DIM, projector);
        let head = Head::new(&config, 0, &Device::flex()).expect("the configuration is valid");
        time(&name, ROWS, || {
            head.project_images(features.clone()).expect("the dimensions match").into_data()
        });
    }
}

fn reading() {
    let folder = tempfile::tempdir().expect("the store is writable");
    let path = folder.path().join("store");
    let rows = 8 * ROWS;
    let config = StoreConfig::new(Modality::Image, Provenance::new("noise"), DIM);
    let mut writer = StoreWriter::create(&path, config).expect("the store is writable");
    let row: Vec<f32> = (0..DIM).map(|i| (i as f32).sin()).collect();
    for index in 0..rows {
        writer.push(&format!("{index:06}"), &row).expect("the row is valid");
    }
    writer.close().expect("the store is writable");
    let store = EmbeddingStore::open(&path).expect("the store is valid");
    let sampler = BatchSampler::new(rows, ROWS, 0).expect("there are enough rows for a batch");
    let mut out = vec![0.0; ROWS * DIM];

    time("reading/shuffled_rows", ROWS, || {
        store.gather(&sampler.indices(0, 3), &mut out).expect("the rows exist");
    });
}

fn evaluation() {
    let (images, texts) = (random(ROWS, DIM), random(ROWS, DIM));
    let text_to_image: Vec<usize> = (0..ROWS).collect();
    time("evaluation/retrieval", ROWS * ROWS, || {
        retrieval(images.clone(), texts.clone(), &text_to_image, &BlockSize::default())
            .expect("row counts match")
    });
    time("evaluation/top_10", ROWS * ROWS, || {
        top_k(images.clone(), texts.clone(), 10, &BlockSize::default()).expect("row counts match")
    });
}

fn main() {
    losses();
    heads();
    reading();
    evaluation();
}
