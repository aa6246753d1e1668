//! A step whose activations never exist all at once, nor all on one device.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, HeadError, Side, l2_normalize};
use sail_support::ranges;

use crate::{AlignmentBatch, Precision, TrainError};

/// Embeddings, or derivatives with respect to them: of the images, and of every caption set.
pub(crate) type Embeddings = (Tensor<2>, Vec<Tensor<2>>);

/// A device's share of a batch, which goes through the head a chunk at a time.
///
/// The loss needs the embeddings of the whole batch, a few hundred numbers a row; what the head's layers hold on the
/// way, many thousands a row, is needed only where gradients pass. So the embeddings are computed a chunk at a time
/// without a graph ([`embed`](Share::embed)), the loss gives its derivatives with respect to them, and each chunk
/// then goes through the head once more to carry its part of these to the weights ([`backward`](Share::backward)).
/// The sum of the chunks' gradients is that of the undivided step, up to rounding, for one more forward pass.
///
/// From Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv 2101.06983).
pub(crate) struct Share<H> {
    head: H,
    batch: AlignmentBatch,
    chunk: NonZeroUsize,
    precision: Precision,
}

impl<H: AlignmentHead> Share<H> {
    /// The rows of a batch and the head that they go through, both on one device.
    pub(crate) fn new(head: H, batch: AlignmentBatch, chunk: NonZeroUsize, precision: Precision) -> Self {
        Self { head, batch, chunk, precision }
    }

    /// Unit-length embeddings without a graph.
    pub(crate) fn embed(&self) -> Result<Embeddings, TrainError> {
        let head = self.precision.of(&self.head.valid())?;
        let of_side = |side, features: &Tensor<2>| {
            let features = features.clone().inner();
            let chunks = ranges(features.dims()[0], self.chunk.get()).map(|range| {
                let chunk = features.clone().slice(range);
                Ok(l2_normalize(project(&head, side, chunk)?))
            });
            Ok::<_, TrainError>(Tensor::cat(chunks.collect::<Result<_, TrainError>>()?, 0))
        };
        let texts = self.batch.texts.iter().map(|texts| of_side(Side::Text, texts));
        let texts = texts.collect::<Result<_, _>>()?;
        Ok((of_side(Side::Image, &self.batch.images)?, texts))
    }

    /// The gradients of the head's parameters that belong to the loss's derivatives with respect to the embeddings.
    pub(crate) fn backward(&self, (images, texts): Embeddings) -> Result<GradientsParams, TrainError> {
        let mut sum = GradientsAccumulator::new();
        self.carry_side(Side::Image, &self.batch.images, &images, &mut sum)?;
        for (features, gradients) in self.batch.texts.iter().zip(&texts) {
            self.carry_side(Side::Text, features, gradients, &mut sum)?;
        }
        Ok(sum.grads())
    }

    fn carry_side(
        &self,
        side: Side,
        features: &Tensor<2>,
        gradients: &Tensor<2>,
        sum: &mut GradientsAccumulator<H>,
    ) -> Result<(), TrainError> {
        for range in ranges(features.dims()[0], self.chunk.get()) {
            // Made anew for every chunk: going back through a graph uses it up, the cast of the weights included.
            let head = self.precision.of(&self.head)?;
            let embeddings = l2_normalize(project(&head, side, features.clone().slice(range.clone()))?);
            let carried = carry(embeddings, gradients.clone().slice(range));
            // A side without parameters has no graph to go back through.
            if carried.is_tracked() {
                sum.accumulate(&self.head, GradientsParams::from_grads(carried.backward(), &self.head));
            }
        }
        Ok(())
    }

    /// The device that the share is on, without autodiff.
    pub(crate) fn device(&self) -> Device {
        self.batch.images.device().inner()
    }

    /// How many rows of the batch it has.
    pub(crate) fn rows(&self) -> usize {
        self.batch.images.dims()[0]
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

/// A scalar whose derivative with respect to `embeddings` is exactly `gradients`, so that its backward pass carries the
/// loss's gradients into the head's graph however they were computed.
pub(crate) fn carry(embeddings: Tensor<2>, gradients: Tensor<2>) -> Tensor<1> {
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
