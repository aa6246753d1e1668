//! Recall both ways: ranks counted a block at a time, against sorting the whole matrix of scores.
//!
//! 1,000 images with five captions each in 256 dimensions; with `SAIL_BENCH_FULL=1` the size of COCO's 5k test,
//! 5,000 images and 25,000 captions in 1,024 dimensions. The rival multiplies with the same kernel and sorts
//! every row and every column of the product on all threads.

#![allow(clippy::expect_used)] // A bench may stop where a library may not.

use std::hint::black_box;

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use rayon::prelude::*;
use sail_eval::{BlockSize, Retrieval, RetrievalScores, retrieval};

const CAPTIONS: usize = 5;

/// Captions scattered around their images, so that about half of them find the way back.
fn embeddings(n_images: usize, dim: usize) -> (Tensor<2>, Tensor<2>, Vec<usize>) {
    let device = Device::flex();
    device.seed(0);
    let text_to_image: Vec<usize> = (0..n_images * CAPTIONS).map(|text| text / CAPTIONS).collect();
    let images = Tensor::<2>::random([n_images, dim], Distribution::Normal(0.0, 1.0), &device);
    let noise = Tensor::<2>::random(
        [n_images * CAPTIONS, dim],
        Distribution::Normal(0.0, (dim as f64).sqrt() / 4.0),
        &device,
    );
    let own = images
        .clone()
        .reshape([n_images, 1, dim])
        .repeat_dim(1, CAPTIONS)
        .reshape([n_images * CAPTIONS, dim]);
    (images, own + noise, text_to_image)
}

/// Position of the first candidate that `own` accepts when all are sorted by score, from 1.
fn sorted_rank(scores: impl Fn(usize) -> f32, n: usize, own: impl Fn(usize) -> bool) -> usize {
    let mut order: Vec<(f32, u32)> = (0..n).map(|c| (scores(c), c as u32)).collect();
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    1 + order.iter().position(|&(_, c)| own(c as usize)).unwrap_or(n)
}

fn by_sorting(images: Tensor<2>, texts: Tensor<2>, text_to_image: &[usize]) -> Retrieval {
    let ([n_images, _], [n_texts, _]) = (images.dims(), texts.dims());
    let unit = sail_core::l2_normalize;
    let scores = unit(images).matmul(unit(texts).transpose()).into_data();
    let scores = scores.as_slice::<f32>().expect("scores are f32");
    // Columns are sorted as rows of the transposed matrix, which is kinder to the cache than striding.
    let mut transposed = vec![0f32; scores.len()];
    transposed.par_chunks_mut(n_images * 16).enumerate().for_each(|(stripe, columns)| {
        for image in 0..n_images {
            for (c, column) in columns.chunks_exact_mut(n_images).enumerate() {
                column[image] = scores[image * n_texts + stripe * 16 + c];
            }
        }
    });
    let rows: Vec<usize> = (0..n_images)
        .into_par_iter()
        .map(|i| {
            let row = &scores[i * n_texts..][..n_texts];
            sorted_rank(|text| row[text], n_texts, |text| text_to_image[text] == i)
        })
        .collect();
    let columns: Vec<usize> = (0..n_texts)
        .into_par_iter()
        .map(|t| {
            let column = &transposed[t * n_images..][..n_images];
            sorted_rank(|image| column[image], n_images, |image| text_to_image[t] == image)
        })
        .collect();
    let summary = |ranks: &[usize]| RetrievalScores::from_ranks(ranks).expect("there are queries");
    Retrieval { i2t: summary(&rows), t2i: summary(&columns), n_images, n_texts }
}

fn bench(criterion: &mut Criterion) {
    let full = std::env::var_os("SAIL_BENCH_FULL").is_some_and(|value| value == "1");
    let (n_images, dim) = if full { (5000, 1024) } else { (1000, 256) };
    let (images, texts, text_to_image) = embeddings(n_images, dim);
    let blocks = BlockSize::default();
    let counted =
        || retrieval(images.clone(), texts.clone(), &text_to_image, &blocks).expect("valid embeddings");
    let sorted = || by_sorting(images.clone(), texts.clone(), &text_to_image);

    // What both have to do, and so the least that either can take.
    let product = || {
        let [images, texts] = [&images, &texts].map(|x| sail_core::l2_normalize(x.clone()));
        images.matmul(texts.transpose()).into_data()
    };

    let (a, b) = (counted(), sorted());
    // Sorting f32 scores leaves near ties to chance, so a query or two may differ.
    for (a, b) in [(a.i2t.r1, b.i2t.r1), (a.t2i.r1, b.t2i.r1)] {
        assert!((a - b).abs() < 0.2, "both compute the recall: {a} and {b}");
    }

    let mut group = criterion.benchmark_group("retrieval");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let size = format!("{n_images}x{}x{dim}", n_images * CAPTIONS);
    group.bench_function(BenchmarkId::new("counted", &size), |bencher| bencher.iter(|| black_box(counted())));
    group.bench_function(BenchmarkId::new("sorted", &size), |bencher| bencher.iter(|| black_box(sorted())));
    group.bench_function(BenchmarkId::new("product_alone", &size), |bencher| {
        bencher.iter(|| black_box(product()))
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
