//! A step whose activations never exist all at once.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use sail_core::{AlignmentHead, HeadError, Side, l2_normalize};

use crate::{Precision, TrainError};

/// Rows of a side's features that go through the head together, one chunk after the other.
///
/// The loss needs the embeddings of the whole batch, a few hundred numbers a row; what the head's layers hold on the
/// way, many thousands a row, is needed only where gradients pass. So the embeddings are computed a chunk at a time
/// without a graph ([`embed`](Chunks::embed)), the loss gives its derivatives with respect to them, and each chunk
/// then goes through the head once more to carry its part of these to the weights
/// ([`backward`](Chunks::backward)). The sum of the chunks' gradients is that of the undivided step, up to rounding,
/// for one more forward pass.
///
/// From Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv 2101.06983).
pub(crate) struct Chunks<'a, H> {
    head: &'a H,
    rows: NonZeroUsize,
    precision: Precision,
}

impl<'a, H: AlignmentHead> Chunks<'a, H> {
    pub(crate) fn new(head: &'a H, rows: NonZeroUsize, precision: Precision) -> Self {
        Self { head, rows, precision }
    }

    /// Unit-length embeddings without a graph.
    pub(crate) fn embed(&self, side: Side, features: &Tensor<2>) -> Result<Tensor<2>, TrainError> {
        let head = self.precision.of(&self.head.valid())?;
        let features = features.clone().inner();
        let chunks = self.ranges(&features).map(|range| {
            let chunk = features.clone().slice(range);
            Ok(l2_normalize(project(&head, side, chunk)?))
        });
        Ok(Tensor::cat(chunks.collect::<Result<_, TrainError>>()?, 0))
    }

    /// Adds the gradients of `module`'s parameters that belong to `slopes`, the loss's derivatives with respect to
    /// this side's embeddings.
    pub(crate) fn backward<M: Module>(
        &self,
        side: Side,
        features: &Tensor<2>,
        slopes: &Tensor<2>,
        module: &M,
        sum: &mut GradientsAccumulator<M>,
    ) -> Result<(), TrainError> {
        for range in self.ranges(features) {
            // Made anew for every chunk: going back through a graph uses it up, the cast of the weights included.
            let head = self.precision.of(self.head)?;
            let embeddings = l2_normalize(project(&head, side, features.clone().slice(range.clone()))?);
            let carried = carry(embeddings, slopes.clone().slice(range));
            // A side without parameters has no graph to go back through.
            if carried.is_tracked() {
                sum.accumulate(module, GradientsParams::from_grads(carried.backward(), module));
            }
        }
        Ok(())
    }

    fn ranges(&self, features: &Tensor<2>) -> impl Iterator<Item = Range<usize>> + use<H> {
        let (total, rows) = (features.dims()[0], self.rows.get());
        (0..total).step_by(rows).map(move |start| start..start.saturating_add(rows).min(total))
    }
}

/// A scalar whose derivative with respect to `embeddings` is exactly `slopes`, so that its backward pass carries the
/// loss's gradients into the head's graph however they were computed.
pub(crate) fn carry(embeddings: Tensor<2>, slopes: Tensor<2>) -> Tensor<1> {
    (embeddings * Tensor::from_inner(slopes)).sum()
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
