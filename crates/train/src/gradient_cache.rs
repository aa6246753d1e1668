//! Gradient caching: computes the exact gradient of a batch in micro-batches and on several devices.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, Dtype, HeadError, Side, l2_normalize};
use sail_support::ranges;

use crate::embeddings::{Embeddings, surrogate};
use crate::patch_terms::PatchTerms;
use crate::{AlignmentBatch, TrainError, precision};

/// The part of a batch that one device processes, in micro-batches.
///
/// The loss needs the embeddings of the whole batch, a few hundred values per row. The activations of the head, many
/// thousands of values per row, are only needed during the backward pass. Therefore the embeddings are computed in
/// micro-batches without a graph ([`embed`](Share::embed)), the loss returns its gradients with respect to them, and
/// each micro-batch is run again to propagate its part of these gradients to the weights
/// ([`backward`](Share::backward)). The sum is the gradient of the full batch, up to rounding, at the cost of one
/// additional forward pass.
///
/// From Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv 2101.06983).
pub(crate) struct Share<H> {
    head: H,
    batch: AlignmentBatch,
    micro_batch: NonZeroUsize,
    precision: Dtype,
}

impl<H: AlignmentHead> Share<H> {
    /// Creates a share from rows of a batch and a head on the same device.
    pub(crate) fn new(head: H, batch: AlignmentBatch, micro_batch: NonZeroUsize, precision: Dtype) -> Self {
        Self { head, batch, micro_batch, precision }
    }

    /// Computes the normalized embeddings without a graph.
    pub(crate) fn embed(&self) -> Result<Embeddings, TrainError> {
        let head = precision::cast(&self.head.valid(), self.precision)?;
        let of_side = |side, features: &Tensor<2>| {
            let features = features.clone().inner();
            let parts = ranges(features.dims()[0], self.micro_batch.get()).map(|range| {
                let part = features.clone().slice(range);
                Ok(l2_normalize(project(&head, side, part)?))
            });
            Ok::<_, TrainError>(Tensor::cat(parts.collect::<Result<_, TrainError>>()?, 0))
        };
        let texts = self.batch.texts.iter().map(|texts| of_side(Side::Text, texts));
        let texts = texts.collect::<Result<_, _>>()?;
        Ok((of_side(Side::Image, &self.batch.images)?, texts))
    }

    /// Propagates the gradients with respect to the embeddings to the parameters of the head, and adds the gradients of the
    /// terms on patches. Returns the values of these terms as well.
    pub(crate) fn backward(
        &self,
        (images, texts): Embeddings,
        patches: &PatchTerms<'_>,
    ) -> Result<(GradientsParams, Vec<Tensor<1>>), TrainError> {
        let mut sum = GradientsAccumulator::new();
        self.backward_side(Side::Image, &self.batch.images, &images, &mut sum)?;
        for (features, gradients) in self.batch.texts.iter().zip(&texts) {
            self.backward_side(Side::Text, features, gradients, &mut sum)?;
        }
        let values = self.backward_patches(patches, &mut sum)?;
        Ok((sum.grads(), values))
    }

    fn backward_patches(
        &self,
        terms: &PatchTerms<'_>,
        sum: &mut GradientsAccumulator<H>,
    ) -> Result<Vec<Tensor<1>>, TrainError> {
        let mut values = Vec::new();
        if terms.is_empty() {
            return Ok(values);
        }
        for range in ranges(self.rows(), self.micro_batch.get()) {
            let head = precision::cast(&self.head, self.precision)?;
            let found = terms.evaluate(&head, &self.batch.images.clone().slice(range))?;
            add_values(&mut values, found.values.clone());
            if let Some(value) = found.surrogate().filter(Tensor::is_tracked) {
                sum.accumulate(&self.head, GradientsParams::from_grads(value.backward(), &self.head));
            }
        }
        Ok(values)
    }

    fn backward_side(
        &self,
        side: Side,
        features: &Tensor<2>,
        gradients: &Tensor<2>,
        sum: &mut GradientsAccumulator<H>,
    ) -> Result<(), TrainError> {
        for range in ranges(features.dims()[0], self.micro_batch.get()) {
            // Cast for every micro-batch, because a backward pass consumes its graph, including the cast of the
            // weights.
            let head = precision::cast(&self.head, self.precision)?;
            let embeddings = l2_normalize(project(&head, side, features.clone().slice(range.clone()))?);
            let value = surrogate(embeddings, gradients.clone().slice(range));
            // A side without parameters has no graph.
            if value.is_tracked() {
                sum.accumulate(&self.head, GradientsParams::from_grads(value.backward(), &self.head));
            }
        }
        Ok(())
    }

    /// Returns the device of the share, without autodiff.
    pub(crate) fn device(&self) -> Device {
        self.batch.images.device().inner()
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.batch.len()
    }
}

/// Adds the values of some images to those of others.
pub(crate) fn add_values(sum: &mut Vec<Tensor<1>>, values: Vec<Tensor<1>>) {
    if sum.is_empty() {
        *sum = values;
        return;
    }
    for (sum, value) in sum.iter_mut().zip(values) {
        sum.inplace(|sum| sum + value);
    }
}

/// Processes all shares concurrently, with one thread per share.
pub(crate) fn on_each<T: Send, R: Send>(
    shares: Vec<T>,
    work: impl Fn(T) -> Result<R, TrainError> + Sync,
) -> Result<Vec<R>, TrainError> {
    if shares.len() < 2 {
        return shares.into_iter().map(work).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(|| work(share))).collect();
        let results =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        results.collect()
    })
}

pub(crate) fn project<H: AlignmentHead>(
    head: &H,
    side: Side,
    features: Tensor<2>,
) -> Result<Tensor<2>, HeadError> {
    match side {
        Side::Image => head.project_images(features),
        Side::Text => head.project_texts(features),
    }
}
