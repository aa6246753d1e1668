//! Benchmarks of the training-free measures.
//!
//! ```text
//! cargo bench --bench measures -- knn TRAIN QUERIES DIM [ROUNDS]
//! cargo bench --bench measures -- mutual ROWS FIRST_DIM SECOND_DIM [ROUNDS]
//! cargo bench --bench measures -- cka ROWS FIRST_DIM SECOND_DIM [ROUNDS]
//! cargo bench --bench measures -- kmeans ROWS CLUSTERS DIM [ROUNDS]
//! ```
//! Each prints `{"seconds": [...]}`, one value per round. `benches/measures_reference.py` is the scikit-learn
//! reference for `knn`.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use sail_vl::burn::tensor::{Device, Distribution, Tensor};
use sail_vl::eval::{
    BlockSize, KMeansOptions, KnnOptions, Permutations, cka, k_means, knn_classify, mutual_knn,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CLASSES: usize = 1000;

fn rows(count: usize, dim: usize) -> Tensor<2> {
    Tensor::random([count, dim], Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Rows around as many centres as there are clusters, with noise that is as large as the centres.
fn clustered(count: usize, clusters: usize, dim: usize) -> Tensor<2> {
    let per_cluster = count.div_ceil(clusters);
    let centres = rows(clusters, dim).repeat_dim(0, per_cluster).slice(0..count);
    centres + rows(count, dim)
}

fn time(rounds: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let mut seconds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        work()?;
        seconds.push(format!("{:.3}", start.elapsed().as_secs_f64()));
    }
    println!("{{\"seconds\": [{}]}}", seconds.join(", "));
    Ok(())
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench` to the arguments.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let sizes = arguments.iter().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let (none, block) = (Permutations { count: 0, seed: 0 }, BlockSize::SEARCH);
    match (arguments.first().map(String::as_str), sizes.as_slice()) {
        (Some("knn"), [known, queries, dim, rounds @ ..]) => {
            let labels: Vec<usize> = (0..*known).map(|row| row % CLASSES).collect();
            let (known, queries) = (rows(*known, *dim), rows(*queries, *dim));
            time(rounds.first().copied().unwrap_or(1), || {
                let (known, queries) = (known.clone(), queries.clone());
                knn_classify(known, &labels, CLASSES, queries, &KnnOptions::default(), &block)?;
                Ok(())
            })
        }
        (Some(measure @ ("mutual" | "cka")), [count, first, second, rounds @ ..]) => {
            let (first, second) = (rows(*count, *first), rows(*count, *second));
            time(rounds.first().copied().unwrap_or(1), || {
                let (first, second) = (first.clone(), second.clone());
                match measure {
                    "mutual" => mutual_knn(first, second, 10, &none, &block).map(drop)?,
                    _ => cka(first, second, &none).map(drop)?,
                }
                Ok(())
            })
        }
        (Some("kmeans"), [count, clusters, dim, rounds @ ..]) => {
            let rows = clustered(*count, *clusters, *dim);
            time(rounds.first().copied().unwrap_or(1), || {
                k_means(rows.clone(), &KMeansOptions::new(*clusters)).map(drop)?;
                Ok(())
            })
        }
        // `cargo bench` runs every bench without arguments.
        (None, _) => Ok(()),
        _ => Err("expected knn, mutual, cka or kmeans and its sizes, see benches/measures.rs".into()),
    }
}
