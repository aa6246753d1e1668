//! The gradient of one step.

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use sail_core::{
    AlignmentHead, AuxiliaryBatch, AuxiliaryRows, ContrastiveLoss, Dtype, EmbeddingBatch, Groups,
    LossStatistics, Side, l2_normalize,
};
use sail_support::{chunk_rows, ranges};

use crate::embeddings::{Embeddings, surrogate};
use crate::gradient_cache::{Share, add_values, on_each, project};
use crate::patch_terms::PatchTerms;
use crate::precision::loss_scale;
use crate::{AlignmentBatch, Auxiliary, StepBatch, TrainError, precision};

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
    auxiliary: Vec<Auxiliary>,
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
    /// The loss before the update, `[1]`, without the auxiliary losses.
    pub loss: Tensor<1>,
    /// Name and value, `[1]` and without its weight, of every auxiliary loss.
    pub auxiliary: Vec<(String, Tensor<1>)>,
    /// Statistics of positives and negatives, if requested and supported by the loss.
    pub statistics: Option<LossStatistics>,
}

impl AlignmentStep {
    /// Creates a step in f32 on the device of the head, without micro-batches.
    pub fn new(loss: Arc<dyn ContrastiveLoss>) -> Self {
        Self {
            loss,
            auxiliary: Vec::new(),
            micro_batch: None,
            precision: Dtype::F32,
            devices: Vec::new(),
            loss_scale: 1.0,
            statistics: false,
        }
    }

    /// Sets the losses that are added to the contrastive loss.
    #[must_use]
    pub fn with_auxiliary(mut self, auxiliary: Vec<Auxiliary>) -> Self {
        self.auxiliary = auxiliary;
        self
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

    /// Computes the gradient of the loss of a batch, and of the auxiliary losses.
    ///
    /// # Errors
    /// Returns [`TrainError`] if the head or a loss does not accept the batch, an auxiliary loss needs unpaired rows that the
    /// batch does not have, or the head cannot be split into micro-batches.
    pub fn gradients<H: AlignmentHead>(
        &self,
        head: &H,
        batch: impl Into<StepBatch>,
    ) -> Result<StepGradients, TrainError> {
        let parts = batch.into().parts();
        let rows = parts.iter().map(AlignmentBatch::len).max().unwrap_or(0).max(1);
        let share = rows.div_ceil(1 + self.devices.len());
        let micro_batch = self.micro_batch.map_or(share, |rows| rows.get().min(share));
        if micro_batch < rows {
            self.divided(head, parts, NonZeroUsize::new(micro_batch).unwrap_or(NonZeroUsize::MIN))
        } else {
            self.undivided(head, parts)
        }
    }

    /// Computes the losses of a batch without gradients: the contrastive loss, and the name and value of each other.
    pub(crate) fn losses<H: AlignmentHead>(
        &self,
        head: &H,
        batch: impl Into<StepBatch>,
    ) -> Result<(f64, Vec<(String, f64)>), TrainError> {
        let parts = batch.into().parts();
        let embedded = parts.iter().map(|part| self.embed_chunks(head, part)).collect::<Result<_, _>>()?;
        let mut found = self.evaluate(head, &parts, embedded, groups_of(&parts))?;
        let patches = PatchTerms::new(&self.auxiliary, pairs_of(&parts), 1.0);
        if let (false, Some(pairs)) = (patches.is_empty(), parts.first()) {
            let values = patches.evaluate(&precision::cast(head, self.precision)?, &pairs.images)?.values;
            found.auxiliary.extend(patches.names().zip(values));
        }
        let read = |value: Tensor<1>| Ok::<_, TrainError>(f64::from(value.try_into_scalar::<f32>()?));
        let auxiliary = found.auxiliary.into_iter().map(|(name, value)| Ok((name, read(value)?)));
        Ok((read(found.value)?, auxiliary.collect::<Result<_, TrainError>>()?))
    }

    /// Computes the gradients with one graph over the whole batch.
    fn undivided<H: AlignmentHead>(
        &self,
        head: &H,
        parts: Vec<AlignmentBatch>,
    ) -> Result<StepGradients, TrainError> {
        let embedded: Vec<Embeddings> =
            parts.iter().map(|part| self.embed(head, part.clone())).collect::<Result<_, _>>()?;
        let leaves = embedded.iter().map(|part| map(part, |x| x.clone().inner())).collect();
        let mut loss = self.evaluate(head, &parts, leaves, groups_of(&parts))?;
        let mut sum = logit_surrogate(head, &loss);
        let patches = PatchTerms::new(&self.auxiliary, pairs_of(&parts), loss.unscale.recip());
        if let (false, Some(pairs)) = (patches.is_empty(), parts.first()) {
            let found = patches.evaluate(&precision::cast(head, self.precision)?, &pairs.images)?;
            loss.auxiliary.extend(patches.names().zip(found.values.clone()));
            sum = found.surrogate().into_iter().fold(sum, |sum, term| sum + term);
        }
        for ((images, texts), (d_images, d_texts)) in embedded.into_iter().zip(&loss.gradients) {
            sum = sum + surrogate(images, d_images.clone());
            sum = texts.into_iter().zip(d_texts).fold(sum, |sum, (x, g)| sum + surrogate(x, g.clone()));
        }
        Ok(loss.step(GradientsParams::from_grads(sum.backward(), head)))
    }

    /// Computes the gradients in equal shares per device, each in micro-batches.
    fn divided<H: AlignmentHead>(
        &self,
        head: &H,
        parts: Vec<AlignmentBatch>,
        micro_batch: NonZeroUsize,
    ) -> Result<StepGradients, TrainError> {
        if !head.rows_are_independent() {
            return Err(TrainError::MicroBatch { rows: micro_batch.get() });
        }
        let home = head.log_scale().device().inner();
        let shares: Vec<_> = parts.iter().map(|part| self.shares(head, part, micro_batch)).collect();
        let (groups, pairs) = (groups_of(&parts), pairs_of(&parts));
        // Only auxiliary losses read the features again.
        let parts = if self.auxiliary.is_empty() { Vec::new() } else { parts };
        let (mut embeddings, mut divided) = (Vec::new(), Vec::new());
        for shares in shares {
            let (joined, shares) = embed_shares(shares, &home)?;
            embeddings.push(joined);
            divided.push(shares);
        }
        let mut loss = self.evaluate(head, &parts, embeddings, groups)?;
        let scale = loss.unscale.recip();
        let mut values = Vec::new();

        let mut sum = GradientsAccumulator::new();
        let logit = logit_surrogate(head, &loss).backward();
        sum.accumulate(head, GradientsParams::from_grads(logit, head));
        let of_pairs = PatchTerms::new(&self.auxiliary, pairs, scale);
        // What is unpaired has no terms of its own.
        let none = PatchTerms::new(&[], 0, scale);
        let terms = std::iter::once(&of_pairs).chain(std::iter::repeat(&none));
        for ((shares, gradients), terms) in divided.into_iter().zip(&loss.gradients).zip(terms) {
            let mut start = 0;
            let with_gradients = shares.into_iter().map(|share| {
                let range = start..start + share.rows();
                start = range.end;
                let part = |x: &Tensor<2>| x.clone().slice(range.clone()).to_device(&share.device());
                let gradients = map(gradients, part);
                (share, gradients)
            });
            let backward = |(share, gradients): (Share<H>, _)| share.backward(gradients, terms);
            for (gradients, of_share) in on_each(with_gradients.collect(), backward)? {
                sum.accumulate(head, gradients.to_device(&home, head));
                add_values(&mut values, of_share.into_iter().map(|value| value.to_device(&home)).collect());
            }
        }
        loss.auxiliary.extend(of_pairs.names().zip(values));
        Ok(loss.step(sum.grads()))
    }

    /// Splits the rows evenly. The first share stays on its device; the others move to the other devices with a copy of the
    /// head.
    fn shares<H: AlignmentHead>(
        &self,
        head: &H,
        batch: &AlignmentBatch,
        micro_batch: NonZeroUsize,
    ) -> Vec<Share<H>> {
        let rows = batch.len().div_ceil(1 + self.devices.len()).max(1);
        let shares = ranges(batch.len(), rows).enumerate().map(|(index, range)| {
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

    /// Like [`embed`](Self::embed) in chunks of rows, for a head in inference mode.
    fn embed_chunks<H: AlignmentHead>(
        &self,
        head: &H,
        batch: &AlignmentBatch,
    ) -> Result<Embeddings, TrainError> {
        let [rows, dim] = batch.images.dims();
        let chunks = ranges(rows, chunk_rows(rows, dim)).map(|range| self.embed(head, batch.slice(range)));
        let (images, texts): (Vec<_>, Vec<_>) = chunks.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(joined(images, texts))
    }

    /// Computes all losses and their gradients at the embeddings of each part of the batch, the pairs first, without a graph.
    fn evaluate<H: AlignmentHead>(
        &self,
        head: &H,
        parts: &[AlignmentBatch],
        embeddings: Vec<Embeddings>,
        groups: Option<Arc<[u32]>>,
    ) -> Result<EvaluatedLoss, TrainError> {
        let [log_scale, bias] = [head.log_scale(), head.bias()].map(Tensor::without_autodiff);
        let (images, texts) = embeddings[0].clone();
        let groups = groups.map(Groups::of_rows);
        let batch = EmbeddingBatch { images, texts, log_scale, bias, groups };
        let statistics = if self.statistics { self.loss.statistics(batch.clone())? } else { None };
        let found = self.loss.gradients(batch)?;
        let mut gradients = vec![(found.images, found.texts)];
        gradients.extend(embeddings.iter().skip(1).map(|part| map(part, Tensor::zeros_like)));
        let mut auxiliary = Vec::with_capacity(self.auxiliary.len());
        for term in &self.auxiliary {
            let part = match term.loss().rows() {
                AuxiliaryRows::Pairs => 0,
                AuxiliaryRows::Unpaired => 1,
                // Computed with the backward pass of each micro-batch.
                AuxiliaryRows::Patches(_) => continue,
            };
            let (Some(features), Some((images, texts)), Some((d_images, d_texts))) =
                (parts.get(part), embeddings.get(part), gradients.get_mut(part))
            else {
                return Err(TrainError::NoUnpaired { name: term.loss().name().to_owned() });
            };
            let (image_features, text_features) =
                map(&(features.images.clone(), features.texts.clone()), |x| x.clone().without_autodiff());
            let (images, texts) = (images.clone(), texts.clone());
            let found =
                term.loss().gradients(&AuxiliaryBatch { image_features, text_features, images, texts })?;
            d_images.inplace(|sum| sum + found.images * term.weight());
            for (sum, gradient) in d_texts.iter_mut().zip(found.texts) {
                sum.inplace(|sum| sum + gradient * term.weight());
            }
            auxiliary.push((term.loss().name().to_owned(), found.value));
        }
        let scale = match self.precision {
            Dtype::F16 => loss_scale(&gradients)? * self.loss_scale,
            _ => 1.0,
        };
        if scale != 1.0 {
            gradients = gradients.iter().map(|part| map(part, |x| x.clone() * scale)).collect();
        }
        Ok(EvaluatedLoss {
            value: found.value,
            auxiliary,
            statistics,
            gradients,
            log_scale: found.log_scale * scale,
            bias: found.bias * scale,
            unscale: scale.recip(),
        })
    }
}

impl std::fmt::Debug for AlignmentStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignmentStep")
            .field("loss", &self.loss.describe())
            .field("auxiliary", &self.auxiliary)
            .field("micro_batch", &self.micro_batch)
            .field("precision", &self.precision)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// The losses of a batch, and their gradients multiplied by the loss scale.
struct EvaluatedLoss {
    value: Tensor<1>,
    auxiliary: Vec<(String, Tensor<1>)>,
    statistics: Option<LossStatistics>,
    /// With respect to the embeddings of each part of the batch.
    gradients: Vec<Embeddings>,
    log_scale: Tensor<1>,
    bias: Tensor<1>,
    unscale: f32,
}

impl EvaluatedLoss {
    fn step(self, gradients: GradientsParams) -> StepGradients {
        let Self { value, auxiliary, statistics, unscale, .. } = self;
        StepGradients { gradients, unscale, loss: value, auxiliary, statistics }
    }
}

/// Returns the number of pairs.
fn pairs_of(parts: &[AlignmentBatch]) -> usize {
    parts.first().map_or(0, AlignmentBatch::len)
}

/// Returns the groups of the pairs.
fn groups_of(parts: &[AlignmentBatch]) -> Option<Arc<[u32]>> {
    parts.first()?.groups.clone()
}

/// Returns a scalar with the same gradient with respect to the logit scale and bias as the loss.
fn logit_surrogate<H: AlignmentHead>(head: &H, loss: &EvaluatedLoss) -> Tensor<1> {
    head.log_scale() * Tensor::from_inner(loss.log_scale.clone())
        + head.bias() * Tensor::from_inner(loss.bias.clone())
}

fn map((images, texts): &Embeddings, f: impl Fn(&Tensor<2>) -> Tensor<2>) -> Embeddings {
    (f(images), texts.iter().map(f).collect())
}

/// Embeds the shares of a batch concurrently, and joins the embeddings on a device.
fn embed_shares<H: AlignmentHead>(
    shares: Vec<Share<H>>,
    home: &Device,
) -> Result<(Embeddings, Vec<Share<H>>), TrainError> {
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    let mut embedded = Vec::with_capacity(shares.len());
    for ((of_images, of_texts), share) in on_each(shares, |share| Ok((share.embed()?, share)))? {
        images.push(of_images.to_device(home));
        texts.push(of_texts.into_iter().map(|of_set| of_set.to_device(home)).collect());
        embedded.push(share);
    }
    Ok((joined(images, texts), embedded))
}

/// Concatenates the embeddings of the parts of a batch: its images, and its texts per caption set.
fn joined(images: Vec<Tensor<2>>, texts: Vec<Vec<Tensor<2>>>) -> Embeddings {
    let sets = texts.first().map_or(0, Vec::len);
    let of_set = |set: usize| texts.iter().filter_map(|sets| sets.get(set).cloned()).collect();
    (Tensor::cat(images, 0), (0..sets).map(|set| Tensor::cat(of_set(set), 0)).collect())
}
