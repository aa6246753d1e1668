//! The KLOT divergence of SOTAlign.

use std::num::NonZeroUsize;

use burn::tensor::Tensor;
use sail_core::{
    AlignmentHead, AuxiliaryBatch, AuxiliaryError, AuxiliaryGradients, AuxiliaryLoss, AuxiliaryRows, Check,
    ConfigError, FeatureSizes, LossError, l2_normalize,
};
use serde::{Deserialize, Serialize};

use crate::tiles::{TILE_SIZE, accumulators, backpropagate, rows, tiles, workspace};
use crate::{Sinkhorn, TransportPlan};
use sail_matmul::Products;

/// KLOT: the divergence between the transport plan of the embeddings and that of a teacher, on images and texts that are
/// not paired.
///
/// With the cosines `K` of all images and texts of a batch, `K*` those of the teacher, and the entropic transport plans
/// `P = OT(K)` and `P* = OT(K*)` with unit marginals,
///
/// ```text
/// value = 1 / batch * sum_ij P*_ij log(P*_ij / P_ij)
/// d value / d K = (P - P*) / (epsilon * batch)
/// ```
///
/// which is the Kullback-Leibler divergence of the two plans as distributions over all pairs. The gradient is exact without
/// differentiating the iterations: `log P_ij = K_ij / epsilon + u_i + v_j`, whose potentials maximise the dual of the
/// transport problem, so that the derivative of their sum is `-P / epsilon` (the envelope theorem).
///
/// From Roschmann et al. 2026, SOTAlign (arXiv 2602.23353), with the regularisations of the authors' code. They take 100
/// iterations; here both plans are iterated until their marginals are one to within a tolerance, and it is an error if they
/// are not.
///
/// Plans and gradients are computed in tiles. Memory grows with `batch * dim`, the work with `batch^2` per iteration.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_losses::{Klot, Sinkhorn};
///
/// let x = Tensor::<2>::eye(4, &Device::flex());
/// let klot = Klot::new(Sinkhorn::new(0.5), Sinkhorn::new(0.05));
/// let found = klot.gradients([x.clone(), x.clone()], [x.clone(), x])?;
/// // The plan of the teacher is the identity; that of the student has exp(2) / (exp(2) + 3) on its diagonal.
/// let expected = (1.0 + 3.0 * (-2f32).exp()).ln();
/// assert!((found.value.into_scalar::<f32>() - expected).abs() < 1e-2);
/// # Ok::<(), sail_core::AuxiliaryError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Klot {
    /// The plan of the embeddings.
    pub student: Sinkhorn,
    /// The plan of the teacher.
    pub teacher: Sinkhorn,
    #[serde(skip)]
    tile_size: TileSize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct TileSize(NonZeroUsize);

impl Default for TileSize {
    fn default() -> Self {
        Self(TILE_SIZE)
    }
}

impl Default for Klot {
    fn default() -> Self {
        Self::new(Sinkhorn::new(0.05), Sinkhorn::new(0.005))
    }
}

impl Klot {
    /// Creates the divergence from the settings of both plans.
    pub fn new(student: Sinkhorn, teacher: Sinkhorn) -> Self {
        Self { student, teacher, tile_size: TileSize::default() }
    }

    /// Sets the tile size, 2048 rows and columns by default. It affects memory and speed, and the result only by rounding.
    #[must_use]
    pub fn with_tile_size(mut self, tile_size: NonZeroUsize) -> Self {
        self.tile_size = TileSize(tile_size);
        self
    }

    /// Returns the loss for training with a teacher: a head whose embeddings define `K*`. `name` identifies it; a run can only
    /// be resumed with a teacher of the same name.
    pub fn with_teacher<T>(self, teacher: T, name: impl Into<String>) -> KlotLoss<T> {
        KlotLoss { klot: self, teacher, name: name.into() }
    }

    /// Computes the divergence and its gradients for images and texts of the student, `[batch, dim]` each, and of the teacher,
    /// `[batch, teacher_dim]` each, all of unit length.
    ///
    /// # Errors
    /// Returns [`AuxiliaryError::NotConverged`] for a plan whose marginals are not one, and [`AuxiliaryError::Batch`] for
    /// numbers of rows that differ.
    pub fn gradients(
        &self,
        [images, texts]: [Tensor<2>; 2],
        [teacher_images, teacher_texts]: [Tensor<2>; 2],
    ) -> Result<AuxiliaryGradients, AuxiliaryError> {
        let [count, dim] = images.dims();
        for side in [&texts, &teacher_images, &teacher_texts] {
            let [found, _] = side.dims();
            if found != count {
                let (found, expected) = ([found, dim], [count, dim]);
                return Err(LossError::Shape { set: 0, found, expected }.into());
            }
        }
        let TileSize(tile_size) = self.tile_size;
        let student = TransportPlan::solve_in_tiles(images.clone(), texts.clone(), &self.student, tile_size)?;
        let teacher = TransportPlan::solve_in_tiles(teacher_images, teacher_texts, &self.teacher, tile_size)?;

        let tiles = tiles(count, tile_size);
        let mut value = Tensor::zeros([1], &images.device());
        let [mut d_images, mut d_texts] = [&images, &texts].map(|side| accumulators(side, &tiles));
        for (row, d_images) in tiles.iter().zip(&mut d_images) {
            for (column, d_texts) in tiles.iter().zip(&mut d_texts) {
                let [log_p, log_target] =
                    [&student, &teacher].map(|plan| plan.log_tile(row.clone(), column.clone()));
                let target = log_target.clone().exp();
                let d_similarity = log_p.clone().exp() - target.clone();
                value = value + (target * (log_target - log_p)).sum();
                let sides = [rows(student.scaled(), row), rows(&texts, column)];
                backpropagate(Products::default(), d_similarity, sides, d_images, d_texts);
            }
        }
        let divisor = count as f64;
        Ok(AuxiliaryGradients {
            value: value / divisor,
            images: Tensor::cat(d_images, 0) / (self.student.epsilon * divisor),
            texts: vec![Tensor::cat(d_texts, 0) / divisor],
        })
    }
}

impl Check for Klot {
    fn check(&self) -> Result<(), ConfigError> {
        self.student.check()?;
        self.teacher.check()
    }
}

/// [`Klot`] with a teacher, as a loss on batches of images and texts that are not paired.
#[derive(Debug, Clone)]
pub struct KlotLoss<T> {
    klot: Klot,
    teacher: T,
    name: String,
}

impl<T: AlignmentHead + Sync> AuxiliaryLoss for KlotLoss<T> {
    fn name(&self) -> &str {
        "klot"
    }

    fn rows(&self) -> AuxiliaryRows {
        AuxiliaryRows::Unpaired
    }

    fn gradients(&self, batch: &AuxiliaryBatch) -> Result<AuxiliaryGradients, AuxiliaryError> {
        batch.checked_rows()?;
        let ([texts], [text_features]) = (&batch.texts[..], &batch.text_features[..]) else {
            return Err(LossError::CaptionSets { found: batch.texts.len(), expected: "1" }.into());
        };
        let images = self.teacher.project_images(batch.image_features.clone());
        let teacher = [images, self.teacher.project_texts(text_features.clone())];
        let [teacher_images, teacher_texts] =
            teacher.map(|side| side.map(l2_normalize).map_err(AuxiliaryError::Teacher));
        self.klot.gradients([batch.images.clone(), texts.clone()], [teacher_images?, teacher_texts?])
    }

    fn workspace(&self, rows: usize, dim: usize, features: FeatureSizes) -> Option<usize> {
        let activations = |side| self.teacher.activations(side);
        let [images, texts] = [sail_core::Side::Image, sail_core::Side::Text].map(activations);
        let FeatureSizes { image_dim, text_dim, .. } = features;
        // The embeddings of the teacher are at most as wide as what it keeps for a row, and the features.
        let teacher = images?.max(texts?).saturating_add(image_dim).saturating_add(text_dim);
        let TileSize(tile_size) = self.klot.tile_size;
        // Twice, because two plans have their tiles.
        let own = workspace(tile_size, rows, dim, 1).saturating_mul(2);
        Some(own.saturating_add(rows.saturating_mul(teacher)))
    }

    fn describe(&self) -> String {
        let Klot { student, teacher, .. } = &self.klot;
        format!("klot, student {student:?}, teacher {} {teacher:?}", self.name)
    }
}
