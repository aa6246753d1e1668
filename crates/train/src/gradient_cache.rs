//! The gradient cache: a step whose activations never exist all at once, nor all on one device.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, Dtype, HeadError, Side, l2_normalize};
use sail_support::ranges;

use crate::{AlignmentBatch, TrainError, precision};

/// Embeddings, or gradients with respect to them: of the images, and of every caption set.
pub(crate) type Embeddings = (Tensor<2>, Vec<Tensor<2>>);

/// A device's share of a batch, which passes through the head in micro-batches.
///
/// The loss needs the embeddings of the whole batch, a few hundred values a row; what the head's layers keep for the
/// backward pass, many thousands a row, is needed only while gradients pass through. So the embeddings are computed in
/// micro-batches without a graph ([`embed`](Share::embed)), the loss returns its gradients with respect to them, and each
/// micro-batch passes through the head once more to carry its part of these to the weights
/// ([`backward`](Share::backward)). The sum is the gradient of the undivided step, up to rounding, for one more forward
/// pass.
///
/// From Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv 2101.06983).
pub(crate) struct Share<H> {
    head: H,
    batch: AlignmentBatch,
    micro_batch: NonZeroUsize,
    precision: Dtype,
}

impl<H: AlignmentHead> Share<H> {
    /// Rows of a batch and the head that they pass through, both on one device.
    pub(crate) fn new(head: H, batch: AlignmentBatch, micro_batch: NonZeroUsize, precision: Dtype) -> Self {
        Self { head, batch, micro_batch, precision }
    }

    /// Unit-length embeddings without a graph.
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

    /// The gradients of the head's parameters for the loss's gradients with respect to the embeddings.
    pub(crate) fn backward(&self, (images, texts): Embeddings) -> Result<GradientsParams, TrainError> {
        let mut sum = GradientsAccumulator::new();
        self.backward_side(Side::Image, &self.batch.images, &images, &mut sum)?;
        for (features, gradients) in self.batch.texts.iter().zip(&texts) {
            self.backward_side(Side::Text, features, gradients, &mut sum)?;
        }
        Ok(sum.grads())
    }

    fn backward_side(
        &self,
        side: Side,
        features: &Tensor<2>,
        gradients: &Tensor<2>,
        sum: &mut GradientsAccumulator<H>,
    ) -> Result<(), TrainError> {
        for range in ranges(features.dims()[0], self.micro_batch.get()) {
            // Cast for every micro-batch: a backward pass consumes its graph, the cast of the weights included.
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

    /// The device of the share, without autodiff.
    pub(crate) fn device(&self) -> Device {
        self.batch.images.device().inner()
    }

    /// Rows of the batch in this share.
    pub(crate) fn rows(&self) -> usize {
        self.batch.len()
    }
}

/// Works on all shares at once, a thread each.
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

/// `sum(embeddings * gradients)`, whose gradient with respect to `embeddings` is `gradients`: its backward pass is the
/// vector-Jacobian product that carries the loss's gradients into the head's graph, however they were computed.
pub(crate) fn surrogate(embeddings: Tensor<2>, gradients: Tensor<2>) -> Tensor<1> {
    (embeddings * Tensor::from_inner(gradients)).sum()
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
