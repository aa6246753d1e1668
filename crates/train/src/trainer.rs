//! Configures and starts a run.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;
use sail_core::{AlignmentHead, Check, ContrastiveLoss, Side};
use sail_data::{BatchSampler, Pairs, Samples};

use crate::batch::StepFeatures;
use crate::memory::{Division, StepMemory};
use crate::model::check_finite;
use crate::parameters::check_groups;
use crate::run::{Run, RunParts};
use crate::unpaired::UnpairedSampler;
use crate::{
    AlignmentStep, Auxiliary, Evaluator, HoldoutRetrieval, Interrupter, Observer, Outcome, Plan, RunFolder,
    TrainConfig, TrainError, Unpaired, auxiliary, precision,
};

/// Trains a head.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use burn::tensor::Device;
/// use sail_data::{MatrixFeatures, Pairs};
/// use sail_layers::{Head, HeadConfig, ProjectorConfig};
/// use sail_losses::SigmoidLoss;
/// use sail_train::{TrainConfig, Trainer};
///
/// let features = |dim: usize, phase: f32| {
///     let values = (0..64 * dim).map(|i| (i as f32 * 0.37 + phase).sin()).collect();
///     Ok::<_, sail_data::DataError>(Arc::new(MatrixFeatures::new(dim, values)?))
/// };
/// let pairs = Pairs::new(features(12, 0.0)?, vec![features(8, 1.0)?])?;
/// let head = Head::new(&HeadConfig::new(12, 8, 16, ProjectorConfig::Glu { width: 2 }), 0, &Device::flex())?;
/// let config = TrainConfig::default().with_batch_size(32).with_epochs(3).with_learning_rate(1e-3);
/// let outcome = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs).run()?;
/// assert_eq!(outcome.history.steps.len(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<'a, H: AlignmentHead> {
    parts: RunParts<'a, H>,
    division: Division,
    devices: Vec<Device>,
}

impl<'a, H: AlignmentHead> Trainer<'a, H> {
    /// Creates a trainer on the device of the head, without evaluation, folder or observers.
    ///
    /// The run starts from the given head, which may already be trained.
    pub fn new(config: TrainConfig, head: H, loss: Arc<dyn ContrastiveLoss>, pairs: Pairs) -> Self {
        let parts = RunParts {
            config,
            head,
            loss,
            pairs,
            auxiliary: Vec::new(),
            unpaired: None,
            evaluator: None,
            folder: None,
            checkpoint_every: Duration::from_secs(60),
            observers: Vec::new(),
            interrupter: Interrupter::new(),
        };
        Self { parts, division: Division::default(), devices: Vec::new() }
    }

    /// Evaluates retrieval and loss on these pairs during the run ([`HoldoutRetrieval`]). An empty holdout disables
    /// evaluation.
    pub fn holdout(mut self, pairs: Pairs) -> Self {
        let (loss, batch_size) = (self.parts.loss.clone(), self.parts.config.batch_size);
        let holdout = (!pairs.is_empty()).then(|| HoldoutRetrieval::new(pairs, loss, batch_size));
        self.parts.evaluator = holdout.map(|evaluator| Box::new(evaluator) as _);
        self
    }

    /// Adds a loss to the contrastive loss: a regularizer of the pairs, or a loss on [`unpaired`](Trainer::unpaired) rows.
    ///
    /// Its value is recorded in every [`StepRecord`](crate::StepRecord) under its name. The loss of the holdout does not
    /// include it.
    pub fn auxiliary(mut self, auxiliary: Auxiliary) -> Self {
        self.parts.auxiliary.push(auxiliary);
        self
    }

    /// Sets images and texts that are not paired. Every step projects a batch of them, for the auxiliary losses that are
    /// computed on such rows.
    pub fn unpaired(mut self, unpaired: Unpaired) -> Self {
        self.parts.unpaired = Some(unpaired);
        self
    }

    /// Sets a custom evaluator.
    pub fn evaluator(mut self, evaluator: impl Evaluator<H> + 'a) -> Self {
        self.parts.evaluator = Some(Box::new(evaluator));
        self
    }

    /// Writes the files of the run to this folder, and resumes from its checkpoint if there is one.
    pub fn folder(mut self, folder: RunFolder) -> Self {
        self.parts.folder = Some(folder);
        self
    }

    /// Sets the time between checkpoints, 60 seconds by default. It does not affect the result.
    pub fn checkpoint_every(mut self, interval: Duration) -> Self {
        self.parts.checkpoint_every = interval;
        self
    }

    /// Sets the micro-batch size: the head processes at most `rows` rows at once. By default, the batch is not split.
    ///
    /// The memory of the head's activations then depends on the micro-batch size instead of the batch size, at the cost
    /// of one additional forward pass. The gradient remains that of the full batch with all in-batch negatives, up to
    /// rounding. A run may be resumed with another micro-batch size, but the result is then not identical byte for
    /// byte.
    pub fn micro_batch(mut self, rows: NonZeroUsize) -> Self {
        self.division = Division::MicroBatch(rows);
        self
    }

    /// Sets a memory budget for a step, in bytes: chooses the largest [`micro_batch`](Trainer::micro_batch) that fits,
    /// or none if the whole batch fits.
    ///
    /// The estimate includes weights, gradients, optimizer state, prefetched batches, embeddings, the loss and the
    /// activations of the head. It excludes features in memory, evaluations and the program.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.division = Division::Budget(bytes);
        self
    }

    /// Adds devices: each batch is split evenly across the head's device and these. The gradient remains that of the
    /// full batch: embeddings are gathered on the head's device, which computes the loss, sums the gradients and
    /// applies the update. [`micro_batch`](Trainer::micro_batch) and [`memory`](Trainer::memory) then apply to each
    /// device.
    pub fn devices(mut self, devices: Vec<Device>) -> Self {
        self.devices = devices;
        self
    }

    /// Adds an observer, which receives the events of the run.
    pub fn observer(mut self, observer: impl Observer<H> + 'a) -> Self {
        self.parts.observers.push(Box::new(observer));
        self
    }

    /// Sets a handle that stops the run after the current step, with a checkpoint.
    pub fn interrupter(mut self, interrupter: Interrupter) -> Self {
        self.parts.interrupter = interrupter;
        self
    }

    /// Performs the checks of [`run`](Trainer::run) without training, for example before creating a [`RunFolder`].
    ///
    /// # Errors
    /// Returns [`TrainError`] if the configuration is invalid, there are fewer pairs than a batch, the head or the loss
    /// does not accept the data, or the initial loss is not finite.
    pub fn check(&self) -> Result<(), TrainError> {
        self.plan().map(drop)
    }

    /// Returns the plan of the run without training.
    ///
    /// # Errors
    /// The same as [`check`](Trainer::check).
    pub fn plan(&self) -> Result<Plan, TrainError> {
        self.prepare().map(|(plan, ..)| plan)
    }

    /// Returns the plan of the run, and the batches that it consists of.
    fn prepare(&self) -> Result<(Plan, Samples, BatchSampler), TrainError> {
        let TrainConfig { epochs, batch_size, seed, .. } = self.parts.config;
        self.parts.config.check()?;
        check_groups(&self.parts.head, &self.parts.config.parameter_groups)?;
        let pairs = &self.parts.pairs;
        for (side, features) in [(Side::Image, pairs.images()), (Side::Text, pairs.captions(0))] {
            features.provenance().map_or(Ok(()), |found| self.parts.head.accepts_provenance(side, found))?;
        }
        auxiliary::check(&self.parts.auxiliary, self.parts.unpaired.is_some())?;
        let TrainConfig { captions, source_weights, .. } = &self.parts.config;
        let samples = Samples::new(self.parts.pairs.clone(), *captions, source_weights)?;
        let sampler = BatchSampler::new(samples.len(), batch_size, seed)?;
        self.dry_run()?;
        let (micro_batch, memory) = self.divide()?;
        let plan = Plan {
            steps: epochs.saturating_mul(sampler.steps_per_epoch()),
            steps_per_epoch: sampler.steps_per_epoch(),
            parameters: Module::num_params(&self.parts.head),
            micro_batch,
            memory,
        };
        Ok((plan, samples, sampler))
    }

    /// Estimates the time of a step: computes the gradient of a batch twice and returns the time of the second. Batches
    /// of more than 4,096 pairs are extrapolated linearly from 4,096 pairs.
    ///
    /// # Errors
    /// The same as [`check`](Trainer::check), and errors from reading the features.
    pub fn time_step(&self) -> Result<Duration, TrainError> {
        let plan = self.plan()?;
        let batch_size = self.parts.config.batch_size;
        let rows = batch_size.min(4096);
        let device = self.parts.head.log_scale().device().inner().autodiff();
        let head = self.parts.head.clone().fork(&device).train();
        let indices: Vec<usize> = (0..rows).collect();
        let unpaired = self.unpaired_batches()?;
        let mut elapsed = Duration::ZERO;
        for _ in 0..2 {
            let start = Instant::now();
            let TrainConfig { seed, positives, .. } = self.parts.config;
            let pairs = self.parts.pairs.batch(&indices, 0, seed)?;
            let unpaired = unpaired.as_ref().map(|sampler| sampler.batch(0)).transpose()?;
            let batch = StepFeatures { pairs, unpaired }.into_batch(positives, &device);
            let found = self.step(&plan).gradients(&head, batch)?;
            found.loss.try_into_data()?;
            elapsed = start.elapsed();
        }
        Ok(elapsed.mul_f64(batch_size as f64 / rows as f64))
    }

    /// Runs the training.
    ///
    /// # Errors
    /// Before the first step, the same as [`check`](Trainer::check). During the run, returns [`TrainError`] for invalid
    /// features, I/O and device errors, and a loss, gradient or weight that is not finite. Such weights are never
    /// saved. A new folder is removed if no step was completed.
    pub fn run(mut self) -> Result<Outcome<H>, TrainError> {
        let _span =
            tracing::info_span!("train", pairs = self.parts.pairs.len(), epochs = self.parts.config.epochs)
                .entered();
        let (plan, samples, sampler) = self.prepare().inspect_err(|_| {
            if let Some(folder) = self.parts.folder.take() {
                folder.discard();
            }
        })?;
        let step = self.step(&plan);
        let (run, model) = Run::start(self.parts, step, plan, samples, sampler)?;
        run.finish(model)
    }

    fn step(&self, plan: &Plan) -> AlignmentStep {
        AlignmentStep::new(self.parts.loss.clone())
            .with_auxiliary(self.parts.auxiliary.clone())
            .with_micro_batch(plan.micro_batch)
            .with_precision(self.parts.config.precision)
            .with_devices(self.devices.clone())
    }

    /// Returns the micro-batch size, or `None` if the batch is not split, and the memory of a step, if it is known.
    fn divide(&self) -> Result<(Option<NonZeroUsize>, Option<u64>), TrainError> {
        let (batch_size, divisible) = (self.parts.config.batch_size, self.parts.head.rows_are_independent());
        if !self.devices.is_empty() && !divisible {
            return Err(TrainError::MicroBatch { rows: batch_size.div_ceil(1 + self.devices.len()) });
        }
        let RunParts { config, head, loss, pairs, auxiliary, unpaired, .. } = &self.parts;
        let memory = StepMemory::new(config, head, &**loss, pairs, auxiliary, unpaired.as_ref());
        let batch_size = batch_size.max(unpaired.as_ref().map_or(0, Unpaired::batch_size));
        let rows = match self.division {
            Division::Whole => None,
            Division::MicroBatch(rows) if rows.get() >= batch_size => None,
            Division::MicroBatch(rows) if divisible => Some(rows),
            Division::MicroBatch(rows) => return Err(TrainError::MicroBatch { rows: rows.get() }),
            Division::Budget(bytes) => {
                let memory = memory?;
                let rows = memory.micro_batch(bytes, divisible)?;
                return Ok((rows, Some(memory.bytes(rows))));
            }
        };
        Ok((rows, memory.ok().map(|memory| memory.bytes(rows))))
    }

    /// Runs the head and the loss on two pairs, so that incompatible parts are reported before training.
    fn dry_run(&self) -> Result<(), TrainError> {
        let device = self.parts.head.log_scale().device().inner();
        for device in [&device].into_iter().chain(&self.devices) {
            precision::check(self.parts.config.precision, device)?;
        }
        let TrainConfig { seed, positives, .. } = self.parts.config;
        let pairs = self.parts.pairs.batch(&[0, 1], 0, seed)?;
        let unpaired = self.unpaired_batches()?.map(|sampler| sampler.first_two()).transpose()?;
        let batch = StepFeatures { pairs, unpaired }.into_batch(positives, &device);
        let step = AlignmentStep::new(self.parts.loss.clone())
            .with_auxiliary(self.parts.auxiliary.clone())
            .with_precision(self.parts.config.precision);
        let (loss, auxiliary) = step.losses(&self.parts.head.valid(), batch)?;
        check_finite("the loss", loss, 0)?;
        auxiliary.into_iter().try_for_each(|(_, value)| check_finite("an auxiliary loss", value, 0))
    }

    fn unpaired_batches(&self) -> Result<Option<UnpairedSampler>, TrainError> {
        self.parts.unpaired.as_ref().map(|unpaired| unpaired.sampler(self.parts.config.seed)).transpose()
    }
}
