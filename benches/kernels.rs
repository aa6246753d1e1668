//! The hot paths one by one, for a look at what a change did: `cargo bench --bench kernels`.
//!
//! Sizes are small, so that all of it takes a minute or two; `benches/align.rs` has the large ones.
#![allow(clippy::expect_used)] // A bench may stop where a library may not.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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

fn losses(criterion: &mut Criterion) {
    let device = Device::flex();
    let batch = EmbeddingBatch {
        images: l2_normalize(random(ROWS, DIM)),
        texts: vec![l2_normalize(random(ROWS, DIM))],
        log_scale: Tensor::from_floats([20f32.ln()], &device),
        bias: Tensor::from_floats([-10.0], &device),
    };
    let mut group = criterion.benchmark_group("loss");
    group.throughput(Throughput::Elements((ROWS * ROWS) as u64)).sample_size(10);
    let losses: [(&str, &dyn ContrastiveLoss); 2] =
        [("sigmoid", &SigmoidLoss::new()), ("info_nce", &InfoNceLoss::new())];
    for (name, loss) in losses {
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| black_box(loss.gradients(batch.clone()).expect("the batch fits").value.into_data()));
        });
    }
    group.finish();
}

fn heads(criterion: &mut Criterion) {
    let features = random(ROWS, 768);
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    for projector in [ProjectorConfig::Linear {}, ProjectorConfig::MLP, ProjectorConfig::Glu { width: 2 }] {
        let name = projector.name();
        let config = HeadConfig::new(768, 768, DIM, projector);
        let head = Head::new(&config, 0, &Device::flex()).expect("the configuration is valid");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let projected = head.project_images(features.clone()).expect("the features fit");
                black_box(projected.into_data())
            });
        });
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is room for a store");
    let path = folder.path().join("store");
    let rows = 8 * ROWS;
    let config = StoreConfig::new(Modality::Image, Provenance::new("noise"), DIM);
    let mut writer = StoreWriter::create(&path, config).expect("there is room for a store");
    let row: Vec<f32> = (0..DIM).map(|i| (i as f32).sin()).collect();
    for number in 0..rows {
        writer.push(&format!("{number:06}"), &row).expect("the row is usable");
    }
    writer.close().expect("there is room for a store");
    let store = EmbeddingStore::open(&path).expect("the store is whole");
    let sampler = BatchSampler::new(rows, ROWS, 0).expect("the rows fill a batch");
    let mut out = vec![0.0; ROWS * DIM];

    let mut group = criterion.benchmark_group("reading");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    group.bench_function("shuffled_rows", |bencher| {
        bencher.iter(|| {
            let batch = sampler.indices(0, 3);
            store.gather(&batch, &mut out).expect("the rows are there");
            black_box(&out);
        });
    });
    group.finish();
}

fn evaluation(criterion: &mut Criterion) {
    let (images, texts) = (random(ROWS, DIM), random(ROWS, DIM));
    let own: Vec<usize> = (0..ROWS).collect();
    let mut group = criterion.benchmark_group("evaluation");
    group.throughput(Throughput::Elements((ROWS * ROWS) as u64)).sample_size(10);
    group.bench_function("retrieval", |bencher| {
        bencher.iter(|| {
            black_box(
                retrieval(images.clone(), texts.clone(), &own, &BlockSize::default()).expect("rows match"),
            )
        });
    });
    group.bench_function("top_10", |bencher| {
        bencher.iter(|| {
            black_box(top_k(images.clone(), texts.clone(), 10, &BlockSize::default()).expect("rows match"))
        });
    });
    group.finish();
}

criterion_group!(benches, losses, heads, reading, evaluation);
criterion_main!(benches);
