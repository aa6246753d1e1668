//! Mixup of features.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Beta, Distribution};
use rayon::prelude::*;
use sail_data::{BatchSampler, PairBatch};

/// Separates the order of the partners from that of the batches.
const PARTNERS: u64 = 0x6d69_7875_705f_7061;

/// Number of values per task.
const TASK: usize = 1 << 16;

/// FuseMix: a step trains on `lambda * a + (1 - lambda) * b` instead of the pairs `a` of its batch. The partners `b` are the
/// batch of the same step in a second order of the epoch, and `lambda` is drawn from `Beta(alpha, alpha)` once for a step.
/// Images and all caption sets share both, so a mixed image still belongs with its mixed captions.
///
/// From Vouitsis et al. 2024, "Data-Efficient Multimodal Fusion on a Single GPU" (arXiv 2312.10144), whose loader reads
/// twice the batch and mixes its halves.
#[derive(Debug, Clone)]
pub(crate) struct Mixup {
    distribution: Beta<f64>,
    partners: BatchSampler,
    seed: u64,
}

impl Mixup {
    /// Creates the mixup of the batches of `sampler`, or `None` for an `alpha` of 0.
    pub(crate) fn new(alpha: f64, sampler: &BatchSampler, seed: u64) -> Option<Self> {
        // Only a positive alpha has a distribution.
        let distribution = Beta::new(alpha, alpha).ok()?;
        Some(Self { distribution, partners: sampler.clone().with_seed(seed ^ PARTNERS), seed })
    }

    /// Returns the sampler of the partners.
    pub(crate) fn partners(&self) -> &BatchSampler {
        &self.partners
    }

    /// Returns the coefficient of a step, 0 to 1: a function of the seed and the step, so that a resumed run draws the same.
    pub(crate) fn lambda(&self, step: usize) -> f32 {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(step as u64);
        self.distribution.sample(&mut rng) as f32
    }

    /// Mixes a batch with its partners.
    pub(crate) fn mix(&self, mut batch: PairBatch, partners: &PairBatch, step: usize) -> PairBatch {
        let lambda = self.lambda(step);
        mix(&mut batch.images, &partners.images, lambda);
        for (texts, partners) in batch.texts.iter_mut().zip(&partners.texts) {
            mix(texts, partners, lambda);
        }
        batch
    }
}

fn mix(values: &mut [f32], partners: &[f32], lambda: f32) {
    values.par_chunks_mut(TASK).zip(partners.par_chunks(TASK)).for_each(|(values, partners)| {
        for (value, partner) in values.iter_mut().zip(partners) {
            *value = lambda * *value + (1.0 - lambda) * partner;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixup(alpha: f64, seed: u64) -> Option<Mixup> {
        Mixup::new(alpha, &BatchSampler::new(100, 10, seed).unwrap(), seed)
    }

    /// Mean 1/2 and variance `1 / (4 (2 alpha + 1))`, within five standard errors.
    #[test]
    fn coefficients_have_the_moments_of_the_distribution() {
        assert!(mixup(0.0, 0).is_none());
        for alpha in [0.2, 1.0, 5.0] {
            let mixup = mixup(alpha, 7).unwrap();
            let count = 20_000;
            let values: Vec<f64> = (0..count).map(|step| f64::from(mixup.lambda(step))).collect();
            assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
            let mean = values.iter().sum::<f64>() / count as f64;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 5.0 * (expected / count as f64).sqrt(), "{alpha}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}: {variance}, expected {expected}");
        }
    }

    /// A change here changes every run with mixup.
    #[test]
    fn coefficients_of_a_seed_are_golden() {
        let lambdas = |alpha, seed| [0, 1, 2].map(|step| mixup(alpha, seed).unwrap().lambda(step));
        assert_eq!(lambdas(1.0, 0), [0.7090754, 0.755531, 0.33222035]);
        assert_ne!(lambdas(1.0, 0), lambdas(1.0, 1));
    }

    /// The formula in f64, for images and two caption sets of another dimension.
    #[test]
    fn all_sides_are_mixed_alike() {
        let values = |count: usize, phase: f64| -> Vec<f32> {
            (0..count).map(|i| (i as f64 * 0.7 + phase).sin() as f32).collect()
        };
        let batch = |phase: f64| PairBatch {
            images: values(12, phase),
            texts: vec![values(8, phase + 1.0), values(8, phase + 2.0)],
            image_rows: vec![0, 1, 2, 3],
            rows: 4,
        };
        let mixup = mixup(1.0, 3).unwrap();
        let (a, b) = (batch(0.0), batch(10.0));
        let found = mixup.mix(a.clone(), &b, 5);
        let lambda = f64::from(mixup.lambda(5));
        let sides =
            |batch: &PairBatch| [std::slice::from_ref(&batch.images), batch.texts.as_slice()].concat();
        assert_eq!(found.rows, 4);
        for ((found, a), b) in sides(&found).into_iter().zip(sides(&a)).zip(sides(&b)) {
            for ((found, a), b) in found.into_iter().zip(a).zip(b) {
                let expected = lambda * f64::from(a) + (1.0 - lambda) * f64::from(b);
                assert!((f64::from(found) - expected).abs() < 1e-6, "{found}, expected {expected}");
            }
        }
    }

    #[test]
    fn partners_have_an_order_of_their_own() {
        let sampler = BatchSampler::new(100, 10, 3).unwrap();
        let mixup = Mixup::new(1.0, &sampler, 3).unwrap();
        let orders: Vec<[Vec<usize>; 2]> =
            (0..10).map(|step| [sampler.indices(0, step), mixup.partners().indices(0, step)]).collect();
        let alone = orders.iter().flat_map(|[a, b]| a.iter().zip(b)).filter(|(a, b)| a == b).count();
        assert!(alone < 8, "{alone} of 100 pairs are their own partner");
        // An epoch shows every pair once in either role.
        let mut partners: Vec<usize> = orders.iter().flat_map(|[_, partners]| partners.clone()).collect();
        partners.sort_unstable();
        assert_eq!(partners, (0..100).collect::<Vec<_>>());
    }
}
