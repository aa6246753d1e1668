//! Setting up a run.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;
use sail_core::{AlignmentHead, Check, ContrastiveLoss};
use sail_data::{BatchSampler, Pairs};

use crate::memory::{Division, StepMemory};
use crate::model::check_finite;
use crate::parameters::check_groups;
use crate::run::{Run, RunParts};
use crate::{
    AlignmentBatch, AlignmentStep, Evaluator, HoldoutRetrieval, Interrupter, Observer, Outcome, Plan,
    RunFolder, TrainConfig, TrainError, precision,
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
    /// A run on the device of the head, without evaluation, folder or observers.
    ///
    /// A head that was trained before is where the run starts.
    pub fn new(config: TrainConfig, head: H, loss: Arc<dyn ContrastiveLoss>, pairs: Pairs) -> Self {
        let parts = RunParts {
            config,
            head,
            loss,
            pairs,
            evaluator: None,
            folder: None,
            checkpoint_every: Duration::from_secs(60),
            observers: Vec::new(),
            interrupter: Interrupter::new(),
        };
        Self { parts, division: Division::default(), devices: Vec::new() }
    }

    /// Evaluates retrieval and loss on these pairs in the course of the run ([`HoldoutRetrieval`]). An empty set stands
    /// for no evaluation.
    pub fn holdout(mut self, pairs: Pairs) -> Self {
        let (loss, batch_size) = (self.parts.loss.clone(), self.parts.config.batch_size);
        let holdout = (!pairs.is_empty()).then(|| HoldoutRetrieval::new(pairs, loss, batch_size));
        self.parts.evaluator = holdout.map(|evaluator| Box::new(evaluator) as _);
        self
    }

    /// Evaluates the head with an evaluator of the caller's.
    pub fn evaluator(mut self, evaluator: impl Evaluator<H> + 'a) -> Self {
        self.parts.evaluator = Some(Box::new(evaluator));
        self
    }

    /// Keeps the run's files in this folder, and continues from its checkpoint if there is one.
    pub fn folder(mut self, folder: RunFolder) -> Self {
        self.parts.folder = Some(folder);
        self
    }

    /// Sets the time between checkpoints, 60 seconds by default: how much work a kill may cost. The result does not
    /// depend on it.
    pub fn checkpoint_every(mut self, interval: Duration) -> Self {
        self.parts.checkpoint_every = interval;
        self
    }

    /// Sends at most `rows` rows through the head at once; by default the whole batch passes in one piece.
    ///
    /// The memory of the head's activations then grows with the micro-batch instead of the batch, and a step takes one
    /// more forward pass. It remains the exact step of the whole batch, with all of its negatives. Only rounding differs,
    /// so that a run may be resumed with another micro-batch, though not byte for byte.
    pub fn micro_batch(mut self, rows: NonZeroUsize) -> Self {
        self.division = Division::MicroBatch(rows);
        self
    }

    /// Keeps a step within about `bytes` bytes: the largest [`micro_batch`](Trainer::micro_batch) that fits is chosen,
    /// and none if the batch fits whole.
    ///
    /// Weights, gradients, optimizer, the batches that are read ahead, embeddings, the loss, and the activations of the
    /// head's layers count; features that are in memory themselves, evaluations and the program do not.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.division = Division::Budget(bytes);
        self
    }

    /// Shares each batch among the head's device and these, in equal parts. The step remains that of the whole batch: the
    /// embeddings meet on the head's device, which computes the loss and the update; the gradients of the parts are added
    /// up there. [`micro_batch`](Trainer::micro_batch) and [`memory`](Trainer::memory) then apply to each device.
    pub fn devices(mut self, devices: Vec<Device>) -> Self {
        self.devices = devices;
        self
    }

    /// Sends the run's events to an observer.
    pub fn observer(mut self, observer: impl Observer<H> + 'a) -> Self {
        self.parts.observers.push(Box::new(observer));
        self
    }

    /// Stops the run when this handle is used: after the step at hand, with a checkpoint.
    pub fn interrupter(mut self, interrupter: Interrupter) -> Self {
        self.parts.interrupter = interrupter;
        self
    }

    /// Checks everything that [`run`](Trainer::run) would refuse, without training: before a [`RunFolder`] is made, say.
    ///
    /// # Errors
    /// [`TrainError`] for an invalid configuration, too little data, a head or a loss that does not fit, and a loss that is
    /// not finite from the start.
    pub fn check(&self) -> Result<(), TrainError> {
        self.plan().map(drop)
    }

    /// Returns what a run will do, without training.
    ///
    /// # Errors
    /// As [`check`](Trainer::check).
    pub fn plan(&self) -> Result<Plan, TrainError> {
        let TrainConfig { epochs, batch_size, seed, .. } = self.parts.config;
        self.parts.config.check()?;
        check_groups(&self.parts.head, &self.parts.config.parameter_groups)?;
        let sampler = BatchSampler::new(self.parts.pairs.len(), batch_size, seed)?;
        self.dry_run()?;
        let memory =
            StepMemory::new(&self.parts.config, &self.parts.head, &*self.parts.loss, &self.parts.pairs);
        let micro_batch = self.micro_batch_rows(&memory)?;
        Ok(Plan {
            steps: epochs.saturating_mul(sampler.steps_per_epoch()),
            steps_per_epoch: sampler.steps_per_epoch(),
            parameters: Module::num_params(&self.parts.head),
            micro_batch,
            memory: memory.ok().map(|memory| memory.bytes(micro_batch)),
        })
    }

    /// Computes the gradient of a first batch, twice, and returns the time of the second: about that of a step. A batch of
    /// more than 4,096 pairs is extrapolated from that many, in proportion.
    ///
    /// # Errors
    /// As [`check`](Trainer::check), and those of reading the features.
    pub fn time_step(&self) -> Result<Duration, TrainError> {
        let plan = self.plan()?;
        let batch_size = self.parts.config.batch_size;
        let rows = batch_size.min(4096);
        let device = self.parts.head.log_scale().device().inner().autodiff();
        let head = self.parts.head.clone().fork(&device).train();
        let indices: Vec<usize> = (0..rows).collect();
        let mut elapsed = Duration::ZERO;
        for _ in 0..2 {
            let start = Instant::now();
            let batch =
                AlignmentBatch::new(self.parts.pairs.batch(&indices, 0, self.parts.config.seed)?, &device);
            let found = self.step(&plan).gradients(&head, batch)?;
            found.loss.try_into_data()?;
            elapsed = start.elapsed();
        }
        Ok(elapsed.mul_f64(batch_size as f64 / rows as f64))
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Those of [`check`](Trainer::check) before the first step. Later for unusable features, a full disk, a device that
    /// fails, and a loss, gradient or weight that is not finite, which is never saved. A new folder in which no step was
    /// taken is removed again.
    pub fn run(mut self) -> Result<Outcome<H>, TrainError> {
        let _span =
            tracing::info_span!("train", pairs = self.parts.pairs.len(), epochs = self.parts.config.epochs)
                .entered();
        let plan = self.plan().inspect_err(|_| {
            if let Some(folder) = self.parts.folder.take() {
                folder.discard();
            }
        })?;
        let step = self.step(&plan);
        let (run, model) = Run::start(self.parts, step, plan)?;
        run.finish(model)
    }

    fn step(&self, plan: &Plan) -> AlignmentStep {
        AlignmentStep::new(self.parts.loss.clone())
            .with_micro_batch(plan.micro_batch)
            .with_precision(self.parts.config.precision)
            .with_devices(self.devices.clone())
    }

    /// Rows of a micro-batch; `None` if the batch passes through the head in one piece.
    fn micro_batch_rows(
        &self,
        memory: &Result<StepMemory, TrainError>,
    ) -> Result<Option<NonZeroUsize>, TrainError> {
        let (batch_size, divisible) = (self.parts.config.batch_size, self.parts.head.rows_are_independent());
        if !self.devices.is_empty() && !divisible {
            return Err(TrainError::MicroBatch { rows: batch_size.div_ceil(1 + self.devices.len()) });
        }
        match self.division {
            Division::Whole => Ok(None),
            Division::MicroBatch(rows) if rows.get() >= batch_size => Ok(None),
            Division::MicroBatch(rows) if divisible => Ok(Some(rows)),
            Division::MicroBatch(rows) => Err(TrainError::MicroBatch { rows: rows.get() }),
            Division::Budget(bytes) => match memory {
                Ok(memory) => memory.micro_batch(bytes, divisible),
                Err(_) => StepMemory::new(
                    &self.parts.config,
                    &self.parts.head,
                    &*self.parts.loss,
                    &self.parts.pairs,
                )?
                .micro_batch(bytes, divisible),
            },
        }
    }

    /// Sends two pairs through the head and the loss, so that whatever does not fit is reported at once.
    fn dry_run(&self) -> Result<(), TrainError> {
        let device = self.parts.head.log_scale().device().inner();
        for device in [&device].into_iter().chain(&self.devices) {
            precision::check(self.parts.config.precision, device)?;
        }
        let batch = self.parts.pairs.batch(&[0, 1], 0, self.parts.config.seed)?;
        let step = AlignmentStep::new(self.parts.loss.clone()).with_precision(self.parts.config.precision);
        check_finite("the loss", step.loss(&self.parts.head.valid(), AlignmentBatch::new(batch, &device))?, 0)
    }
}
