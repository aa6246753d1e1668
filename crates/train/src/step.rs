//! The gradient of one step.

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use sail_core::{
    AlignmentHead, ContrastiveLoss, Dtype, EmbeddingBatch, Groups, LossGradients, LossStatistics, Side,
    l2_normalize,
};
use sail_support::ranges;

use crate::gradient_cache::{Embeddings, Share, on_each, project, surrogate};
use crate::precision::{loss_scale, scaled};
use crate::{AlignmentBatch, TrainError, precision};

/// Computes the gradient of a loss with respect to the parameters of a head: in one pass, in micro-batches, or on
/// several devices, with the same result up to rounding.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use sail_layers::{Head, HeadConfig, ProjectorConfig};
/// use sail_losses::SigmoidLoss;
/// use sail_train::{AlignmentBatch, AlignmentStep};
///
/// let device = Device::flex().autodiff();
/// let head = Head::new(&HeadConfig::new(12, 8, 16, ProjectorConfig::Linear {}), 0, &device)?;
/// let random = |dim| Tensor::random([4, dim], Distribution::Default, &device);
/// let batch = AlignmentBatch { images: random(12), texts: vec![random(8)], groups: None };
/// let step = AlignmentStep::new(Arc::new(SigmoidLoss::new())).gradients(&head, batch)?;
/// assert!(step.loss.into_scalar::<f32>() > 0.0 && !step.gradients.is_empty());
/// # Ok::<(), sail_train::TrainError>(())
/// ```
#[derive(Clone)]
pub struct AlignmentStep {
    loss: Arc<dyn ContrastiveLoss>,
    micro_batch: Option<NonZeroUsize>,
    precision: Dtype,
    devices: Vec<Device>,
    loss_scale: f32,
    statistics: bool,
}

/// The result of [`AlignmentStep::gradients`].
#[derive(Debug)]
pub struct StepGradients {
    /// Gradients by parameter, to be multiplied by `unscale`.
    pub gradients: GradientsParams,
    /// Inverse of the loss scale, which prevents underflow in f16; 1 for other dtypes.
    pub unscale: f32,
    /// The loss before the update, `[1]`.
    pub loss: Tensor<1>,
    /// Statistics of positives and negatives, if requested and supported by the loss.
    pub statistics: Option<LossStatistics>,
}

impl AlignmentStep {
    /// Creates a step in f32 on the device of the head, without micro-batches.
    pub fn new(loss: Arc<dyn ContrastiveLoss>) -> Self {
        Self {
            loss,
            micro_batch: None,
            precision: Dtype::F32,
            devices: Vec::new(),
            loss_scale: 1.0,
            statistics: false,
        }
    }

    /// Sets the micro-batch size; see [`Trainer::micro_batch`](crate::Trainer::micro_batch).
    #[must_use]
    pub fn with_micro_batch(mut self, rows: Option<NonZeroUsize>) -> Self {
        self.micro_batch = rows;
        self
    }

    /// Sets the compute dtype of the head's layers and, where the loss supports it, of its matrix products.
    #[must_use]
    pub fn with_precision(mut self, precision: Dtype) -> Self {
        self.precision = precision;
        if let Some(loss) = self.loss.computing_in(precision) {
            self.loss = loss;
        }
        self
    }

    /// Sets additional devices; see [`Trainer::devices`](crate::Trainer::devices).
    #[must_use]
    pub fn with_devices(mut self, devices: Vec<Device>) -> Self {
        self.devices = devices;
        self
    }

    /// Sets a power of two by which the scale of f16 gradients, derived from their largest value, is multiplied.
    #[must_use]
    pub fn with_loss_scale(mut self, factor: f32) -> Self {
        self.loss_scale = factor;
        self
    }

    /// Sets whether to compute statistics of positives and negatives.
    #[must_use]
    pub fn with_statistics(mut self, statistics: bool) -> Self {
        self.statistics = statistics;
        self
    }

    /// Computes the gradient of the loss of a batch.
    ///
    /// # Errors
    /// Returns [`TrainError`] if the head or the loss does not accept the batch, or the head cannot be split into
    /// micro-batches.
    pub fn gradients<H: AlignmentHead>(
        &self,
        head: &H,
        batch: AlignmentBatch,
    ) -> Result<StepGradients, TrainError> {
        let rows = batch.len().max(1);
        let at_least_one = |rows| NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN);
        let share = at_least_one(rows.div_ceil(1 + self.devices.len()));
        let micro_batch = self.micro_batch.unwrap_or(share).min(share);
        if micro_batch.get() < rows {
            self.divided(head, batch, share, micro_batch)
        } else {
            self.undivided(head, batch)
        }
    }

    /// Computes the loss of a batch without gradients.
    pub(crate) fn loss<H: AlignmentHead>(&self, head: &H, batch: AlignmentBatch) -> Result<f64, TrainError> {
        let groups = batch.groups.clone().map(Groups::of_rows);
        let (images, texts) = self.embed(head, batch)?;
        let (log_scale, bias) = (head.log_scale(), head.bias());
        let loss = self.loss.gradients(EmbeddingBatch { images, texts, log_scale, bias, groups })?;
        Ok(f64::from(loss.value.try_into_scalar::<f32>()?))
    }

    /// Computes the gradients with one graph over the whole batch.
    fn undivided<H: AlignmentHead>(
        &self,
        head: &H,
        batch: AlignmentBatch,
    ) -> Result<StepGradients, TrainError> {
        let groups = batch.groups.clone();
        let (images, texts) = self.embed(head, batch)?;
        let leaves = texts.iter().map(|texts| texts.clone().inner()).collect();
        let loss = self.loss_gradients(head, images.clone().inner(), leaves, groups)?;
        let sum = logit_surrogate(head, &loss.scaled) + surrogate(images, loss.scaled.images.clone());
        let sum =
            texts.into_iter().zip(&loss.scaled.texts).fold(sum, |sum, (x, g)| sum + surrogate(x, g.clone()));
        Ok(loss.step(GradientsParams::from_grads(sum.backward(), head)))
    }

    /// Computes the gradients in equal shares per device, each in micro-batches.
    fn divided<H: AlignmentHead>(
        &self,
        head: &H,
        batch: AlignmentBatch,
        share: NonZeroUsize,
        micro_batch: NonZeroUsize,
    ) -> Result<StepGradients, TrainError> {
        if !head.rows_are_independent() {
            return Err(TrainError::MicroBatch { rows: micro_batch.get() });
        }
        let home = head.log_scale().device().inner();
        let sets = batch.texts.len();
        let shares = self.shares(head, &batch, share, micro_batch);
        let groups = batch.groups.clone();
        drop(batch);

        let (mut images, mut texts) = (Vec::new(), vec![Vec::new(); sets]);
        let embedded = on_each(shares, |share| Ok((share.embed()?, share)))?;
        let mut shares = Vec::with_capacity(embedded.len());
        for ((of_images, of_texts), share) in embedded {
            images.push(of_images.to_device(&home));
            for (set, of_set) in texts.iter_mut().zip(of_texts) {
                set.push(of_set.to_device(&home));
            }
            shares.push(share);
        }
        let join = |parts| Tensor::cat(parts, 0);
        let texts = texts.into_iter().map(join).collect();
        let loss = self.loss_gradients(head, join(images), texts, groups)?;

        let mut start = 0;
        let with_gradients = shares.into_iter().map(|share| {
            let range = start..start + share.rows();
            start = range.end;
            let part = |x: &Tensor<2>| x.clone().slice(range.clone()).to_device(&share.device());
            let gradients = (part(&loss.scaled.images), loss.scaled.texts.iter().map(part).collect());
            (share, gradients)
        });
        let mut sum = GradientsAccumulator::new();
        let logit = logit_surrogate(head, &loss.scaled).backward();
        sum.accumulate(head, GradientsParams::from_grads(logit, head));
        for gradients in on_each(with_gradients.collect(), |(share, gradients)| share.backward(gradients))? {
            sum.accumulate(head, gradients.to_device(&home, head));
        }
        Ok(loss.step(sum.grads()))
    }

    /// Splits the batch. The first share stays on its device; the others move to the other devices with a copy of the
    /// head.
    fn shares<H: AlignmentHead>(
        &self,
        head: &H,
        batch: &AlignmentBatch,
        rows: NonZeroUsize,
        micro_batch: NonZeroUsize,
    ) -> Vec<Share<H>> {
        let shares = ranges(batch.len(), rows.get()).enumerate().map(|(index, range)| {
            let part = batch.slice(range);
            let (head, part) = match index.checked_sub(1).and_then(|other| self.devices.get(other)) {
                None => (head.clone(), part),
                Some(device) => {
                    let device = device.clone().autodiff();
                    (head.clone().fork(&device).train(), part.to_device(&device))
                }
            };
            Share::new(head, part, micro_batch, self.precision)
        });
        shares.collect()
    }

    /// Computes the normalized embeddings of both sides.
    fn embed<H: AlignmentHead>(&self, head: &H, batch: AlignmentBatch) -> Result<Embeddings, TrainError> {
        let head = precision::cast(head, self.precision)?;
        let unit = |side, features| Ok::<_, TrainError>(l2_normalize(project(&head, side, features)?));
        let texts = batch.texts.into_iter().map(|texts| unit(Side::Text, texts));
        Ok((unit(Side::Image, batch.images)?, texts.collect::<Result<_, _>>()?))
    }

    /// Computes the gradients of the loss at the embeddings, without a graph.
    fn loss_gradients<H: AlignmentHead>(
        &self,
        head: &H,
        images: Tensor<2>,
        texts: Vec<Tensor<2>>,
        groups: Option<Arc<[u32]>>,
    ) -> Result<EvaluatedLoss, TrainError> {
        let [log_scale, bias] = [head.log_scale(), head.bias()].map(Tensor::inner);
        let groups = groups.map(Groups::of_rows);
        let batch = EmbeddingBatch { images, texts, log_scale, bias, groups };
        let statistics = if self.statistics { self.loss.statistics(batch.clone())? } else { None };
        let gradients = self.loss.gradients(batch)?;
        let value = gradients.value.clone();
        let scale = match self.precision {
            Dtype::F16 => loss_scale(&gradients)? * self.loss_scale,
            _ => 1.0,
        };
        Ok(EvaluatedLoss { value, statistics, scaled: scaled(gradients, scale), unscale: scale.recip() })
    }
}

impl std::fmt::Debug for AlignmentStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignmentStep")
            .field("loss", &self.loss.describe())
            .field("micro_batch", &self.micro_batch)
            .field("precision", &self.precision)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

struct EvaluatedLoss {
    value: Tensor<1>,
    statistics: Option<LossStatistics>,
    scaled: LossGradients,
    unscale: f32,
}

impl EvaluatedLoss {
    fn step(self, gradients: GradientsParams) -> StepGradients {
        let Self { value, statistics, unscale, .. } = self;
        StepGradients { gradients, unscale, loss: value, statistics }
    }
}

/// Returns a scalar with the same gradient with respect to the logit scale and bias as the loss.
fn logit_surrogate<H: AlignmentHead>(head: &H, loss: &LossGradients) -> Tensor<1> {
    head.log_scale() * Tensor::from_inner(loss.log_scale.clone())
        + head.bias() * Tensor::from_inner(loss.bias.clone())
}
