//! The head and the loss as burn-train sees them.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use sail_core::{AlignmentHead, ContrastiveLoss, EmbeddingBatch, LossGradients, Side, l2_normalize};
use sail_data::PairBatch;
use sail_support::ranges;

use crate::gradient_cache::{Embeddings, Share, carry, on_each, project};
use crate::precision::multiply;
use crate::{Precision, TrainError};

/// A batch of paired features on a device. Row `i` of the images belongs with row `i` of every caption set.
#[derive(Debug, Clone)]
pub struct AlignmentBatch {
    /// Image features, `[batch, image_dim]`.
    pub images: Tensor<2>,
    /// Text features, for each caption set `[batch, text_dim]`.
    pub texts: Vec<Tensor<2>>,
}

impl AlignmentBatch {
    /// Moves a batch to a device.
    pub fn new(batch: PairBatch, device: &Device) -> Self {
        let rows = batch.rows;
        let matrix = |values: Vec<f32>| {
            let dim = values.len() / rows.max(1);
            Tensor::from_data(TensorData::new(values, [rows, dim]), device)
        };
        Self { images: matrix(batch.images), texts: batch.texts.into_iter().map(matrix).collect() }
    }

    fn map(&self, work: impl Fn(&Tensor<2>) -> Tensor<2>) -> Self {
        Self { images: work(&self.images), texts: self.texts.iter().map(work).collect() }
    }

    fn to_device(&self, device: &Device) -> Self {
        // Features have no graph, and a tensor moves between devices of one kind: with autodiff, or without.
        self.map(|x| Tensor::from_inner(x.clone().inner().to_device(&device.clone().inner())))
    }
}

/// The task of aligning: a head to train and the loss to train it with.
#[derive(Module, Debug)]
pub struct AlignmentTask<H: AlignmentHead> {
    head: H,
    #[module(skip)]
    loss: SharedLoss,
    #[module(skip)]
    snapshot: Snapshot,
    #[module(skip)]
    chunk: Option<NonZeroUsize>,
    #[module(skip)]
    precision: Precision,
    #[module(skip)]
    others: Vec<Device>,
}

/// The gradients of the parameters, what they are yet to be multiplied by, and what the step says about itself.
type ScaledGradients = (GradientsParams, f32, Tensor<1>);

#[derive(Clone)]
struct SharedLoss(Arc<dyn ContrastiveLoss>);

impl std::fmt::Debug for SharedLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContrastiveLoss")
    }
}

/// Where the optimiser leaves a copy of itself when one is asked for.
///
/// The learner owns its optimiser and shows it to nobody but the task's `optimize`.
#[derive(Clone, Default)]
struct Snapshot(Arc<Mutex<SnapshotState>>);

#[derive(Default)]
enum SnapshotState {
    #[default]
    Unwanted,
    Wanted,
    Taken(ModuleOptimizer),
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Snapshot {
    fn replace(&self, state: SnapshotState) -> SnapshotState {
        // A panic elsewhere leaves this value whole, so a poisoned lock is still good.
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), state)
    }
}

/// What a step says about itself.
#[derive(Debug)]
pub struct StepOutput(Result<Tensor<1>, TrainError>);

impl StepOutput {
    /// Loss, logarithm of the scale, and bias, all before the step.
    ///
    /// # Errors
    /// [`TrainError`] when the head or the loss did not take the batch; the step then has no gradients.
    pub fn read(self) -> Result<[f64; 3], TrainError> {
        let values: Vec<f32> = self.0?.into_data().iter::<f32>().collect();
        Ok([0, 1, 2].map(|index| values.get(index).copied().map_or(f64::NAN, f64::from)))
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl<H: AlignmentHead> AlignmentTask<H> {
    /// A task over a head and a loss.
    pub fn new(head: H, loss: Arc<dyn ContrastiveLoss>) -> Self {
        Self {
            head,
            loss: SharedLoss(loss),
            snapshot: Snapshot::default(),
            chunk: None,
            precision: Precision::F32,
            others: Vec::new(),
        }
    }

    /// Sends no more than `rows` rows through the head at once; see
    /// [`Trainer::chunk`](crate::Trainer::chunk).
    pub fn with_chunk(mut self, rows: Option<NonZeroUsize>) -> Self {
        self.chunk = rows;
        self
    }

    /// Sets what the head's layers compute in; f32 at first.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Shares each batch among the head's device and these; see [`Trainer::devices`](crate::Trainer::devices).
    pub fn with_devices(mut self, others: Vec<Device>) -> Self {
        self.others = others;
        self
    }

    /// The head.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Asks the next optimiser step for a copy of the optimiser after it.
    pub(crate) fn request_optimizer(&self) {
        self.snapshot.replace(SnapshotState::Wanted);
    }

    /// The copy that was asked for.
    pub(crate) fn take_optimizer(&self) -> Option<ModuleOptimizer> {
        match self.snapshot.replace(SnapshotState::Unwanted) {
            SnapshotState::Taken(optimizer) => Some(optimizer),
            _ => None,
        }
    }

    /// Unit-length embeddings of both sides.
    fn embed(&self, batch: AlignmentBatch) -> Result<Embeddings, TrainError> {
        let head = self.precision.of(&self.head)?;
        let unit = |side, features| Ok::<_, TrainError>(l2_normalize(project(&head, side, features)?));
        let texts = batch.texts.into_iter().map(|texts| unit(Side::Text, texts));
        Ok((unit(Side::Image, batch.images)?, texts.collect::<Result<_, _>>()?))
    }

    /// The loss's gradients at embeddings without a graph, the factor that undoes their scaling, and what the step
    /// says about itself.
    fn loss_gradients(
        &self,
        images: Tensor<2>,
        texts: Vec<Tensor<2>>,
    ) -> Result<(LossGradients, f32, Tensor<1>), TrainError> {
        let [log_scale, bias] = [self.head.log_scale(), self.head.bias()].map(Tensor::inner);
        let batch = EmbeddingBatch { images, texts, log_scale: log_scale.clone(), bias: bias.clone() };
        let loss = self.loss.0.gradients(batch)?;
        let summary = Tensor::cat(vec![loss.value.clone(), log_scale, bias], 0);
        let (loss, factor) = self.precision.scaled(loss);
        Ok((loss, factor, summary))
    }

    /// Carries the gradients of the logit's scale and bias.
    fn carry_logit(&self, loss: &LossGradients) -> Tensor<1> {
        self.head.log_scale() * Tensor::from_inner(loss.log_scale.clone())
            + self.head.bias() * Tensor::from_inner(loss.bias.clone())
    }

    fn gradients(&self, batch: AlignmentBatch) -> Result<(GradientsParams, Tensor<1>), TrainError> {
        let total = batch.images.dims()[0].max(1);
        let of_rows = |rows: usize| NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN);
        let share = of_rows(total.div_ceil(1 + self.others.len()));
        let chunk = self.chunk.unwrap_or(share).min(share);
        let (gradients, factor, summary) = if chunk.get() < total {
            self.shared_gradients(batch, share, chunk)?
        } else {
            self.undivided_gradients(batch)?
        };
        Ok((multiply(self, gradients, factor), summary))
    }

    fn undivided_gradients(&self, batch: AlignmentBatch) -> Result<ScaledGradients, TrainError> {
        let (images, texts) = self.embed(batch)?;
        let without_graph = texts.iter().map(|texts| texts.clone().inner()).collect();
        let (loss, factor, summary) = self.loss_gradients(images.clone().inner(), without_graph)?;
        let carried = self.carry_logit(&loss) + carry(images, loss.images);
        let carried = texts.into_iter().zip(loss.texts).fold(carried, |sum, (x, g)| sum + carry(x, g));
        Ok((GradientsParams::from_grads(carried.backward(), self), factor, summary))
    }

    /// The batch in equal parts, the first where it is and the others on the other devices, each with a copy of the
    /// head as it is now.
    fn shares(&self, batch: &AlignmentBatch, rows: NonZeroUsize, chunk: NonZeroUsize) -> Vec<Share<H>> {
        let parts = ranges(batch.images.dims()[0], rows.get()).enumerate().map(|(number, range)| {
            let part = batch.map(|x| x.clone().slice(range.clone()));
            let (head, part) = match number.checked_sub(1).and_then(|other| self.others.get(other)) {
                None => (self.head.clone(), part),
                Some(device) => {
                    let device = device.clone().autodiff();
                    (self.head.clone().fork(&device).train(), part.to_device(&device))
                }
            };
            Share::new(head, part, chunk, self.precision)
        });
        parts.collect()
    }

    fn shared_gradients(
        &self,
        batch: AlignmentBatch,
        rows: NonZeroUsize,
        chunk: NonZeroUsize,
    ) -> Result<ScaledGradients, TrainError> {
        if !self.head.rows_are_independent() {
            return Err(TrainError::Chunk { rows: chunk.get() });
        }
        let home = self.head.log_scale().device().inner();
        let sets = batch.texts.len();
        let shares = self.shares(&batch, rows, chunk);
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
        let (loss, factor, summary) =
            self.loss_gradients(join(images), texts.into_iter().map(join).collect())?;

        let mut start = 0;
        let with_gradients = shares.into_iter().map(|share| {
            let range = start..start + share.rows();
            start = range.end;
            let part = |x: &Tensor<2>| x.clone().slice(range.clone()).to_device(&share.device());
            let gradients = (part(&loss.images), loss.texts.iter().map(part).collect());
            (share, gradients)
        });
        let mut sum = GradientsAccumulator::new();
        let logit = self.carry_logit(&loss).backward();
        sum.accumulate(&self.head, GradientsParams::from_grads(logit, &self.head));
        for gradients in on_each(with_gradients.collect(), |(share, gradients)| share.backward(gradients))? {
            sum.accumulate(&self.head, gradients.to_device(&home, &self.head));
        }
        Ok((sum.grads(), factor, summary))
    }
}

impl<H: AlignmentHead> TrainStep for AlignmentTask<H> {
    type Input = AlignmentBatch;
    type Output = StepOutput;

    fn step(&self, batch: AlignmentBatch) -> TrainOutput<StepOutput> {
        match self.gradients(batch) {
            Ok((grads, summary)) => TrainOutput { grads, item: StepOutput(Ok(summary)) },
            Err(error) => TrainOutput { grads: GradientsParams::new(), item: StepOutput(Err(error)) },
        }
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let mut task = optimizer.step(learning_rate, self, grads);
        task.head = task.head.clamp_parameters();
        let wanted = task.snapshot.replace(SnapshotState::Unwanted);
        if matches!(wanted, SnapshotState::Wanted) {
            task.snapshot.replace(SnapshotState::Taken(optimizer.clone()));
        }
        task
    }
}

/// The loss of a batch, without a graph; burn-train asks every model for it.
impl<H: AlignmentHead> InferenceStep for AlignmentTask<H> {
    type Input = AlignmentBatch;
    type Output = StepOutput;

    fn step(&self, batch: AlignmentBatch) -> StepOutput {
        let loss = || {
            let (images, texts) = self.embed(batch)?;
            let (log_scale, bias) = (self.head.log_scale(), self.head.bias());
            let parts = EmbeddingBatch { images, texts, log_scale: log_scale.clone(), bias: bias.clone() };
            Ok(Tensor::cat(vec![self.loss.0.forward(parts)?, log_scale, bias], 0))
        };
        StepOutput(loss())
    }
}
