//! Data with the modality gap, and brute force in f64.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use sail_data::MatrixFeatures;

/// A generator of values with about the normal distribution.
pub struct Random(pub u64);

impl Random {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    pub fn vector(&mut self, dim: usize) -> Vec<f64> {
        (0..dim).map(|_| self.normal()).collect()
    }
}

pub fn unit(values: &[f64]) -> Vec<f32> {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values.iter().map(|value| (value / norm) as f32).collect()
}

/// Images in a narrow cone with 40 directions of variation, and texts that lie elsewhere and match an image weakly: the
/// modality gap of vision-language models.
pub struct Gap {
    pub images: Vec<f32>,
    pub texts: Vec<f32>,
    pub similar: Vec<f32>,
}

pub fn gap(rows: usize, queries: usize, dim: usize) -> Gap {
    let mut random = Random(7);
    let (image_cone, text_cone) = (random.vector(dim), random.vector(dim));
    let directions: Vec<Vec<f64>> = (0..40).map(|_| random.vector(dim)).collect();
    let (mut images, mut contents) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let mut content = vec![0.0; dim];
        for (index, direction) in directions.iter().enumerate() {
            let weight = random.normal() / (1.0 + index as f64).sqrt() / 4.0;
            content.iter_mut().zip(direction).for_each(|(value, direction)| *value += weight * direction);
        }
        let noise = random.vector(dim);
        let image: Vec<f64> = (0..dim).map(|i| image_cone[i] + content[i] + 0.2 * noise[i]).collect();
        images.extend(unit(&image));
        contents.push((content, image));
    }
    let (mut texts, mut similar) = (Vec::new(), Vec::new());
    for (content, image) in contents.iter().step_by((rows / queries).max(1)).take(queries) {
        let [a, b] = [(); 2].map(|()| random.vector(dim));
        texts.extend(unit(
            &(0..dim).map(|i| 1.5 * text_cone[i] + content[i] + 0.3 * a[i]).collect::<Vec<_>>(),
        ));
        similar.extend(unit(&(0..dim).map(|i| image[i] + 0.3 * b[i]).collect::<Vec<_>>()));
    }
    Gap { images, texts, similar }
}

pub fn oracle(rows: &[f32], query: &[f32], k: usize, keep: impl Fn(usize) -> bool) -> Vec<(usize, f64)> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norm = |a: &[f32]| dot(a, a).sqrt();
    let mut scores: Vec<(usize, f64)> = rows
        .chunks_exact(query.len())
        .enumerate()
        .filter(|&(row, _)| keep(row))
        .map(|(row, values)| (row, dot(values, query) / norm(values) / norm(query)))
        .collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.truncate(k);
    scores
}

pub fn matrix(dim: usize, rows: &[f32]) -> Arc<MatrixFeatures> {
    Arc::new(MatrixFeatures::new(dim, rows.to_vec()).unwrap())
}
