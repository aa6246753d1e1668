//! Batches of features, prefetched and moved to a device.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use burn::tensor::{Device, Tensor, TensorData};
use sail_core::FeatureError;
use sail_data::{BatchSampler, PairBatch, Samples};

use crate::Positives;
use crate::mixup::Mixup;
use crate::unpaired::UnpairedSampler;

/// A batch of paired features on a device. Row `i` of the images belongs with row `i` of every caption set, and with the
/// other rows of its group if there are groups.
#[derive(Debug, Clone)]
pub struct AlignmentBatch {
    /// Image features, `[batch, image_dim]`.
    pub images: Tensor<2>,
    /// Text features of each caption set, `[batch, text_dim]`.
    pub texts: Vec<Tensor<2>>,
    /// The group of each row, such as its image, if rows of the same group are positives of each other.
    pub groups: Option<Arc<[u32]>>,
}

impl AlignmentBatch {
    /// Moves a batch to a device.
    pub fn new(batch: PairBatch, positives: Positives, device: &Device) -> Self {
        let rows = batch.rows;
        let matrix = |values: Vec<f32>| {
            let dim = values.len() / rows.max(1);
            Tensor::from_data(TensorData::new(values, [rows, dim]), device)
        };
        let groups = match positives {
            Positives::Pair => None,
            Positives::Image => Some(batch.image_rows.into()),
        };
        Self { images: matrix(batch.images), texts: batch.texts.into_iter().map(matrix).collect(), groups }
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.images.dims()[0]
    }

    /// Returns whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the features of a range of the pairs.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        self.map(|x| x.clone().slice(rows.clone()))
    }

    pub(crate) fn to_device(&self, device: &Device) -> Self {
        // Features have no graph. A tensor can only move between devices that both have or both lack autodiff.
        self.map(|x| Tensor::from_inner(x.clone().inner().to_device(&device.clone().inner())))
    }

    fn map(&self, f: impl Fn(&Tensor<2>) -> Tensor<2>) -> Self {
        Self { images: f(&self.images), texts: self.texts.iter().map(f).collect(), groups: None }
    }
}

/// The rows of a step: pairs, and images and texts that are not paired, for the auxiliary losses that need them.
#[derive(Debug, Clone)]
pub struct StepBatch {
    /// The pairs.
    pub pairs: AlignmentBatch,
    /// As many images and texts, in one caption set, whose rows do not belong together.
    pub unpaired: Option<AlignmentBatch>,
}

impl StepBatch {
    /// The pairs, and what is unpaired.
    pub(crate) fn parts(self) -> Vec<AlignmentBatch> {
        [Some(self.pairs), self.unpaired].into_iter().flatten().collect()
    }
}

impl From<AlignmentBatch> for StepBatch {
    fn from(pairs: AlignmentBatch) -> Self {
        Self { pairs, unpaired: None }
    }
}

/// The features of a step in host memory.
pub(crate) struct StepFeatures {
    pub(crate) pairs: PairBatch,
    pub(crate) unpaired: Option<PairBatch>,
}

impl StepFeatures {
    /// Moves the features to a device.
    pub(crate) fn into_batch(self, positives: Positives, device: &Device) -> StepBatch {
        StepBatch {
            pairs: AlignmentBatch::new(self.pairs, positives, device),
            unpaired: self.unpaired.map(|batch| AlignmentBatch::new(batch, Positives::Pair, device)),
        }
    }
}

/// The batch of every step, as a function of the step alone.
pub(crate) struct Batches {
    pub(crate) samples: Samples,
    pub(crate) sampler: BatchSampler,
    pub(crate) unpaired: Option<UnpairedSampler>,
    pub(crate) mixup: Option<Mixup>,
    pub(crate) seed: u64,
}

impl Batches {
    fn read(&self, step: usize) -> Result<StepFeatures, FeatureError> {
        let steps = self.sampler.steps_per_epoch();
        let of = |sampler: &BatchSampler| {
            let epoch = (step / steps) as u64;
            self.samples.batch(&sampler.indices(epoch, step % steps), epoch, self.seed)
        };
        let unpaired = self.unpaired.as_ref().map(|sampler| sampler.batch(step)).transpose()?;
        let pairs = of(&self.sampler)?;
        let pairs = match &self.mixup {
            Some(mixup) => mixup.mix(pairs, &of(mixup.partners())?, step),
            None => pairs,
        };
        Ok(StepFeatures { pairs, unpaired })
    }

    /// Reads batches on a separate thread, up to `depth` batches ahead of the receiver.
    pub(crate) fn prefetch<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        steps: Range<usize>,
        depth: usize,
    ) -> Receiver<Result<StepFeatures, FeatureError>> {
        let (sender, receiver) = sync_channel(depth);
        scope.spawn(move || {
            for step in steps {
                // The receiver is dropped when the run stops early.
                if sender.send(self.read(step)).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}
