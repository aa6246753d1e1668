//! Benchmark of retrieval ranks in both directions: counting in blocks, compared with sorting the whole score matrix.
//!
//! ```text
//! cargo bench --bench retrieval -- IMAGES DIM [ROUNDS]
//! ```
//! Prints the seconds of each round as JSON: `counted`, `sorted`, and `product`, the matrix product that both use.
//! Every image has five captions. The baseline uses the same matrix product and sorts each row and column of the scores
//! on all threads.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)] // Benchmarks may panic.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use rayon::prelude::*;
use sail_eval::{BlockSize, Retrieval, RetrievalScores, retrieval};

const CAPTIONS: usize = 5;

/// Returns random images, and captions with noise such that about half of them retrieve their image.
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

/// Returns the rank, from 1, of the first candidate for which `own` is true when sorted by score.
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
    // Columns are sorted as rows of the transposed matrix, which avoids strided access.
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

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

fn main() {
    // Cargo adds `--bench` to the arguments.
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .map(|argument| argument.parse().expect("expected IMAGES DIM [ROUNDS]"))
        .collect();
    let (n_images, dim, rounds) = match sizes.as_slice() {
        // `cargo bench` runs every bench without arguments.
        [] => (1000, 256, 10),
        [n_images, dim] => (*n_images, *dim, 10),
        [n_images, dim, rounds, ..] => (*n_images, *dim, *rounds),
        [_] => panic!("expected IMAGES DIM [ROUNDS]"),
    };
    let (images, texts, text_to_image) = embeddings(n_images, dim);
    let blocks = BlockSize::default();
    let counted =
        || retrieval(images.clone(), texts.clone(), &text_to_image, &blocks).expect("valid embeddings");
    let sorted = || by_sorting(images.clone(), texts.clone(), &text_to_image);
    let product = || {
        let [images, texts] = [&images, &texts].map(|x| sail_core::l2_normalize(x.clone()));
        images.matmul(texts.transpose()).into_data()
    };

    let (a, b) = (counted(), sorted());
    // The order of near ties in f32 is arbitrary, so a few queries may differ.
    for (a, b) in [(a.i2t.r1, b.i2t.r1), (a.t2i.r1, b.t2i.r1)] {
        assert!((a - b).abs() < 0.2, "recalls differ: {a} and {b}");
    }

    let mut times = [vec![], vec![], vec![]];
    for _ in 0..rounds {
        times[0].push(seconds(counted));
        times[1].push(seconds(sorted));
        times[2].push(seconds(product));
    }
    let [counted, sorted, product] = times;
    println!("{{\"counted\": {counted:?}, \"sorted\": {sorted:?}, \"product\": {product:?}}}");
}
