//! Batches with groups: several positives of an image, with more texts than images, against f64 loops.

use std::num::NonZeroUsize;

use burn::tensor::{Device, Tensor};
use sail_core::{ContrastiveLoss, EmbeddingBatch, Groups, LossError};
use sail_losses::{Blocks, InfoNceLoss, LossConfig, Normalization, SigmoidLoss};

use crate::oracle::Batch;
use crate::{Differentiated, assert_close, floats, parts, tensor};

/// Images and texts by their groups, and the embeddings of each as one list.
#[derive(Clone)]
struct Grouped {
    groups: Groups,
    dim: usize,
    /// Images, then the caption sets.
    embeddings: Vec<Vec<f64>>,
    /// Logarithm of the scale, and bias.
    logit: [f64; 2],
}

impl Grouped {
    fn random(groups: Groups, sets: usize, logit: [f64; 2]) -> Self {
        let dim = 5;
        let sides = [groups.images.len()].into_iter().chain(vec![groups.texts.len(); sets]);
        let embeddings = sides
            .enumerate()
            .map(|(side, rows)| Batch::random([rows, dim, 1 + side], 0.3, 1.0, 0.0).texts.remove(0))
            .collect();
        Self { groups, dim, embeddings, logit }
    }

    fn to_tensors(&self) -> EmbeddingBatch {
        let matrix = |values: &Vec<f64>| tensor(values, [values.len() / self.dim, self.dim]);
        EmbeddingBatch {
            images: matrix(&self.embeddings[0]),
            texts: self.embeddings[1..].iter().map(matrix).collect(),
            log_scale: tensor(&self.logit[..1], [1]),
            bias: tensor(&self.logit[1..], [1]),
            groups: Some(self.groups.clone()),
        }
    }

    /// `1 / n * sum_ij w_ij log(1 + exp(-y_ij logit_ij))`, where `w_ij` is `1 / k` for the `k` positives of image `i`.
    fn value(&self, normalization: Normalization, blocks: Blocks) -> f64 {
        let (images, texts) = (&self.groups.images, &self.groups.texts);
        let mut sum = 0.0;
        for set in &self.embeddings[1..] {
            for (i, group) in images.iter().enumerate() {
                let k = texts.iter().filter(|text| *text == group).count() as f64;
                for (j, text) in texts.iter().enumerate() {
                    let image = &self.embeddings[0][i * self.dim..(i + 1) * self.dim];
                    let cosine: f64 = image.iter().zip(&set[j * self.dim..]).map(|(a, b)| a * b).sum();
                    let logit = self.logit[0].exp() * cosine + self.logit[1];
                    let (x, weight) = if text == group { (-logit, 1.0 / k) } else { (logit, 1.0) };
                    sum += weight * (x.max(0.0) + (-x.abs()).exp().ln_1p());
                }
            }
        }
        let block = match normalization {
            Normalization::PairCount => (images.len() * texts.len()) as f64,
            Normalization::Batch => images.len() as f64,
        };
        match blocks {
            Blocks::Mean => sum / block / (self.embeddings.len() - 1) as f64,
            Blocks::Sum => sum / block,
        }
    }

    /// Central differences, in the order of [`parts`].
    fn gradients(&self, normalization: Normalization, blocks: Blocks) -> Vec<Vec<f64>> {
        let step = 1e-6;
        let difference = |change: &dyn Fn(&mut Self, f64)| {
            let [up, down] = [step, -step].map(|by| {
                let mut moved = self.clone();
                change(&mut moved, by);
                moved.value(normalization, blocks)
            });
            (up - down) / (2.0 * step)
        };
        let mut gradients: Vec<Vec<f64>> = (0..self.embeddings.len())
            .map(|side| {
                let of = |at: usize| difference(&move |batch, by| batch.embeddings[side][at] += by);
                (0..self.embeddings[side].len()).map(of).collect()
            })
            .collect();
        gradients.extend([0, 1].map(|at| vec![difference(&move |batch, by| batch.logit[at] += by)]));
        gradients
    }
}

/// Repeated images, several texts of an image, an image and a text without a partner, one text for two images.
fn every_grouping() -> Vec<Groups> {
    vec![
        Groups::of_rows([4, 2, 4, 7, 2, 4, 1]),
        Groups::of_rows([4, 4]),
        Groups::of_rows([4, 2, 9]),
        Groups::new([0, 1, 2], [0, 0, 1, 1, 1, 2]),
        Groups::new([5, 6, 7, 8], [7, 5, 9, 5, 7, 7, 6]),
        Groups::new([1, 1, 2, 3, 4], [2, 1]),
        Groups::new([3, 8], [8]),
    ]
}

#[test]
fn value_and_gradients_match_the_oracle() {
    for groups in every_grouping() {
        for sets in [1, 2] {
            for (normalization, blocks) in [
                (Normalization::PairCount, Blocks::Mean),
                (Normalization::Batch, Blocks::Mean),
                (Normalization::PairCount, Blocks::Sum),
            ] {
                for logit in [[3.0, -10.0], [2.0, 1.0]] {
                    let batch = Grouped::random(groups.clone(), sets, logit);
                    let expected = batch.value(normalization, blocks);
                    let gradients = batch.gradients(normalization, blocks);
                    let loss = SigmoidLoss::new().with_normalization(normalization).with_blocks(blocks);
                    let tiled = [1, 2, 3].map(|size| loss.with_tile_size(NonZeroUsize::new(size).unwrap()));
                    let differentiated =
                        Differentiated(LossConfig::Sigmoid { normalization, blocks }.build().unwrap());
                    let closed_forms = [loss].into_iter().chain(tiled).map(Box::new);
                    let mut losses: Vec<Box<dyn ContrastiveLoss>> = vec![Box::new(differentiated)];
                    losses.extend(closed_forms.map(|loss| loss as Box<dyn ContrastiveLoss>));
                    for loss in losses {
                        let found = loss.gradients(batch.to_tensors()).unwrap();
                        let what =
                            format!("{groups:?}, {sets} sets, {normalization:?}, {blocks:?}, {logit:?}");
                        assert_close(&floats(found.value.clone()), &[expected], 1e-5, 0.0, &what);
                        for (found, expected) in parts(found).iter().zip(&gradients) {
                            assert_close(found, expected, 2e-5, 2e-7, &what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn groups_of_one_row_are_pairs() {
    let pairs = Batch::random([7, 5, 2], 0.5, 20.0, -10.0).to_tensors();
    let groups = EmbeddingBatch { groups: Some(Groups::of_rows([3, 1, 4, 0, 5, 9, 2])), ..pairs.clone() };
    let [found, expected] = [groups, pairs].map(|batch| SigmoidLoss::new().gradients(batch).unwrap());
    assert_eq!(floats(found.value.clone()), floats(expected.value.clone()));
    assert_eq!(parts(found), parts(expected));
}

#[test]
fn statistics_count_the_positives_of_groups() {
    let batch = Grouped::random(Groups::new([5, 6, 7, 8], [7, 5, 9, 5, 7, 7, 6]), 2, [2.0, 0.5]);
    let (mut losses, mut counts) = ([0.0; 2], [0.0; 2]);
    for set in &batch.embeddings[1..] {
        for (i, image) in batch.groups.images.iter().enumerate() {
            for (j, text) in batch.groups.texts.iter().enumerate() {
                let image_row = &batch.embeddings[0][i * batch.dim..(i + 1) * batch.dim];
                let cosine: f64 = image_row.iter().zip(&set[j * batch.dim..]).map(|(a, b)| a * b).sum();
                let logit = batch.logit[0].exp() * cosine + batch.logit[1];
                let (kind, x) = if image == text { (0, -logit) } else { (1, logit) };
                losses[kind] += x.exp().ln_1p();
                counts[kind] += 1.0;
            }
        }
    }
    for size in [1, 3, 100] {
        let loss = SigmoidLoss::new().with_tile_size(NonZeroUsize::new(size).unwrap());
        let found = loss.statistics(batch.to_tensors()).unwrap().unwrap();
        let found = [floats(found.positive_loss), floats(found.negative_loss)].concat();
        assert_close(&found, &[losses[0] / counts[0], losses[1] / counts[1]], 1e-5, 0.0, "statistics");
    }
}

#[test]
fn invalid_groups_are_refused() {
    let valid = Grouped::random(Groups::new([0, 1], [0, 0, 1]), 1, [3.0, -10.0]).to_tensors();
    let error = |loss: &dyn ContrastiveLoss, batch: &EmbeddingBatch| {
        let error = loss.forward(batch.clone()).unwrap_err();
        assert_eq!(loss.gradients(batch.clone()).unwrap_err(), error);
        error
    };
    let sigmoid = SigmoidLoss::new();
    let regrouped = |groups| EmbeddingBatch { groups, ..valid.clone() };
    assert_eq!(
        error(&sigmoid, &regrouped(Some(Groups::new([0, 1], [0, 1])))),
        LossError::GroupRows { found: [2, 2], expected: [2, 3] }
    );
    assert_eq!(
        error(&sigmoid, &regrouped(None)),
        LossError::Shape { set: 0, found: [3, 5], expected: [2, 5] }
    );
    let other = Tensor::<2>::ones([4, 5], &Device::flex());
    let uneven = EmbeddingBatch { texts: vec![valid.texts[0].clone(), other], ..valid.clone() };
    assert_eq!(error(&sigmoid, &uneven), LossError::Shape { set: 1, found: [4, 5], expected: [3, 5] });
    let square = Grouped::random(Groups::of_rows([0, 1, 0]), 1, [3.0, -10.0]).to_tensors();
    assert_eq!(error(&InfoNceLoss::new(), &square), LossError::Groups);
    assert_eq!(error(&sail_losses::BarlowTwinsLoss::new(), &square), LossError::Groups);
}
