//! The losses as plain loops in f64, from the formulas of their papers, and their gradients by finite differences.

use sail_core::EmbeddingBatch;
use sail_losses::{Blocks, Direction, LossConfig, Normalization};

use crate::tensor;

/// A batch of values that are exact in f32.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) images: Vec<f64>,
    pub(crate) texts: Vec<Vec<f64>>,
    pub(crate) log_scale: f64,
    pub(crate) bias: f64,
}

impl Batch {
    /// Random unit rows; `alignment` is how much of the image goes into its captions.
    pub(crate) fn random([rows, dim, sets]: [usize; 3], alignment: f64, scale: f64, bias: f64) -> Self {
        let mut state = (rows * 1000 + dim * 10 + sets) as u64;
        let mut noise = || -> Vec<f64> { (0..rows * dim).map(|_| uniform(&mut state)).collect() };
        let images = unit_rows(noise(), dim);
        let texts = (0..sets)
            .map(|_| {
                let noise = unit_rows(noise(), dim);
                let mixed = images.iter().zip(noise).map(|(x, n)| alignment * x + n);
                unit_rows(mixed.collect(), dim)
            })
            .collect();
        let log_scale = f64::from(scale.ln() as f32);
        Self { rows, dim, images, texts, log_scale, bias }
    }

    pub(crate) fn to_tensors(&self) -> EmbeddingBatch {
        let shape = [self.rows, self.dim];
        EmbeddingBatch {
            images: tensor(&self.images, shape),
            texts: self.texts.iter().map(|x| tensor(x, shape)).collect(),
            log_scale: tensor(&[self.log_scale], [1]),
            bias: tensor(&[self.bias], [1]),
            groups: None,
        }
    }

    fn parts_mut(&mut self) -> Vec<&mut [f64]> {
        let mut parts = vec![self.images.as_mut_slice()];
        parts.extend(self.texts.iter_mut().map(Vec::as_mut_slice));
        parts.push(std::slice::from_mut(&mut self.log_scale));
        parts.push(std::slice::from_mut(&mut self.bias));
        parts
    }

    fn logit(&self, texts: &[f64], i: usize, j: usize) -> f64 {
        let d = self.dim;
        let (image, text) = (&self.images[i * d..][..d], &texts[j * d..][..d]);
        let cosine: f64 = image.iter().zip(text).map(|(a, b)| a * b).sum();
        self.log_scale.exp() * cosine + self.bias
    }
}

/// The value of a loss.
pub(crate) fn value(config: LossConfig, batch: &Batch) -> f64 {
    let of_set = |texts: &Vec<f64>| match config {
        LossConfig::Sigmoid { normalization, .. } => sigmoid(batch, texts, normalization),
        LossConfig::InfoNce { direction } => info_nce(batch, texts, direction),
        LossConfig::BarlowTwins { lambda } => barlow_twins(batch, texts, lambda),
        _ => panic!("no oracle for {config:?}"),
    };
    let sum: f64 = batch.texts.iter().map(of_set).sum();
    match config {
        LossConfig::Sigmoid { blocks: Blocks::Sum, .. } => sum,
        _ => sum / batch.texts.len() as f64,
    }
}

/// Gradients by central differences, in the order images, caption sets, log scale, bias.
pub(crate) fn gradients(config: LossConfig, batch: &Batch) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-6;
    let lengths: Vec<usize> = batch.clone().parts_mut().iter().map(|p| p.len()).collect();
    let moved = |part: usize, at: usize, by: f64| {
        let mut batch = batch.clone();
        batch.parts_mut()[part][at] += by;
        value(config, &batch)
    };
    let gradient = |part, at| (moved(part, at, STEP) - moved(part, at, -STEP)) / (2.0 * STEP);
    lengths
        .iter()
        .enumerate()
        .map(|(part, &length)| (0..length).map(|at| gradient(part, at)).collect())
        .collect()
}

fn sigmoid(batch: &Batch, texts: &[f64], normalization: Normalization) -> f64 {
    let n = batch.rows;
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..n {
            let label = if i == j { 1.0 } else { -1.0 };
            let x = -label * batch.logit(texts, i, j);
            sum += x.max(0.0) + (-x.abs()).exp().ln_1p();
        }
    }
    match normalization {
        Normalization::PairCount => sum / (n * n) as f64,
        Normalization::Batch => sum / n as f64,
    }
}

fn info_nce(batch: &Batch, texts: &[f64], direction: Direction) -> f64 {
    let n = batch.rows;
    let one_way = |logit: &dyn Fn(usize, usize) -> f64| {
        let mut sum = 0.0;
        for i in 0..n {
            // log sum_j exp(logit_ij - logit_ii)
            let others = (0..n).filter(|&j| j != i);
            let excess: Vec<f64> = others.map(|j| logit(i, j) - logit(i, i)).collect();
            let top = excess.iter().fold(0f64, |m, &x| m.max(x));
            let rest: f64 = excess.iter().map(|x| (x - top).exp()).sum();
            sum += top + ((-top).exp() - 1.0 + rest).ln_1p();
        }
        sum / n as f64
    };
    let image_to_text = one_way(&|i, j| batch.logit(texts, i, j));
    let text_to_image = one_way(&|i, j| batch.logit(texts, j, i));
    match direction {
        Direction::Both => (image_to_text + text_to_image) / 2.0,
        Direction::ImageToText => image_to_text,
        Direction::TextToImage => text_to_image,
    }
}

fn barlow_twins(batch: &Batch, texts: &[f64], lambda: f64) -> f64 {
    let (n, d) = (batch.rows, batch.dim);
    let standardized = |x: &[f64], column: usize| -> Vec<f64> {
        let column: Vec<f64> = (0..n).map(|row| x[row * d + column]).collect();
        let mean = column.iter().sum::<f64>() / n as f64;
        let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        column.iter().map(|x| (x - mean) / (variance + 1e-8).sqrt()).collect()
    };
    let mut sum = 0.0;
    for i in 0..d {
        let a = standardized(&batch.images, i);
        for j in 0..d {
            let b = standardized(texts, j);
            let c = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n as f64;
            sum += if i == j { (1.0 - c).powi(2) } else { lambda * c * c };
        }
    }
    sum
}

/// The next value of a splitmix64 generator, scaled to [-1, 1).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn unit_rows(mut x: Vec<f64>, dim: usize) -> Vec<f64> {
    for row in x.chunks_mut(dim) {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x = f64::from((*x / norm) as f32));
    }
    x
}
