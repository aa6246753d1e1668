//! The run itself.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn::train::{Interrupter, Learner};
use sail_core::{AlignmentHead, Check, ContrastiveLoss, FeatureError};
use sail_data::{BatchSampler, PairBatch, Pairs};
use sail_eval::{BlockSize, project_images, project_texts, retrieval};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Progress};
use crate::memory::{Division, StepMemory, read_ahead};
use crate::optimizer::optimizer;
use crate::record::Record;
use crate::{
    AlignmentBatch, AlignmentTask, EvaluationRecord, Event, History, Observer, RunFolder, StepRecord,
    TrainConfig, TrainError, WarmupCosine,
};

/// Rows that go through the head at once in an evaluation.
const EVALUATION_CHUNK: usize = 1024;

/// Keeps the dropout of neighbouring seeds apart, which would else be that of neighbouring steps.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps taken before it.
    pub steps: usize,
    /// Its mean recall, in percent.
    pub mean_recall: f64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// All steps were taken.
    Complete,
    /// The holdout did not improve for as many evaluations as the patience allows.
    Early,
    /// Somebody used the [`Interrupter`]; the run can be resumed.
    Interrupted,
}

/// What a run gives.
#[derive(Debug)]
pub struct Outcome<H> {
    /// The head at the end, ready for inference.
    pub head: H,
    /// The head that did best on the holdout, if this process saw it.
    pub best_head: Option<H>,
    /// When the best evaluation was, and how good.
    pub best: Option<Best>,
    /// How the run ended.
    pub finish: Finish,
    /// Every step and evaluation, those before a resume included.
    pub history: History,
    /// Time spent in the loop, in seconds, that before a resume included.
    pub seconds: f64,
}

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
/// let config = TrainConfig { batch: 32, epochs: 3, learning_rate: 1e-3, ..TrainConfig::default() };
/// let outcome = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs).run()?;
/// assert_eq!(outcome.history.steps.len(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<'a, H: AlignmentHead> {
    config: TrainConfig,
    head: H,
    loss: Arc<dyn ContrastiveLoss>,
    pairs: Pairs,
    holdout: Option<Pairs>,
    folder: Option<RunFolder>,
    checkpoint_every: Duration,
    observers: Vec<Box<dyn Observer + 'a>>,
    interrupter: Interrupter,
    division: Division,
    others: Vec<Device>,
}

impl<'a, H: AlignmentHead> Trainer<'a, H> {
    /// A run on the device that the head is on, without holdout, folder or observers.
    pub fn new(config: TrainConfig, head: H, loss: Arc<dyn ContrastiveLoss>, pairs: Pairs) -> Self {
        Self {
            config,
            head,
            loss,
            pairs,
            holdout: None,
            folder: None,
            checkpoint_every: Duration::from_secs(60),
            observers: Vec::new(),
            interrupter: Interrupter::new(),
            division: Division::default(),
            others: Vec::new(),
        }
    }

    /// Evaluates on these pairs as the run goes on. An empty set is no holdout.
    pub fn holdout(mut self, pairs: Pairs) -> Self {
        self.holdout = Some(pairs).filter(|pairs| !pairs.is_empty());
        self
    }

    /// Keeps the run's files in this folder, and continues from its checkpoint if it has one.
    pub fn folder(mut self, folder: RunFolder) -> Self {
        self.folder = Some(folder);
        self
    }

    /// How much work a kill may cost; 60 seconds at first. The result does not depend on it.
    pub fn checkpoint_every(mut self, interval: Duration) -> Self {
        self.checkpoint_every = interval;
        self
    }

    /// Sends no more than so many rows through the head at once; at first the whole batch goes in one piece.
    ///
    /// With chunks, memory for the head's activations grows with the chunk instead of the batch, and a step takes one
    /// more forward pass. The step stays that of the whole batch: a chunk has all of it for negatives. Only rounding
    /// tells, so that a run may be resumed with another chunk, though not byte for byte.
    pub fn chunk(mut self, rows: NonZeroUsize) -> Self {
        self.division = Division::Chunks(rows);
        self
    }

    /// Keeps a step within about so many bytes: the batch is cut into the largest [`chunk`](Trainer::chunk)s that fit,
    /// or not at all where it fits whole.
    ///
    /// Counted are weights, gradients, optimiser, the batches that are read ahead, embeddings, the loss, and what the
    /// head's layers hold. Features that lie in memory themselves, evaluations and the program are not.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.division = Division::Budget(bytes);
        self
    }

    /// Shares each batch among the head's device and these, in equal parts. The step stays that of the whole batch:
    /// the embeddings of all devices meet on the head's, which takes the loss and the update, every tile of pairs
    /// once; the gradients of the parts are added up there. [`chunk`](Trainer::chunk) and
    /// [`memory`](Trainer::memory) then speak of each device.
    pub fn devices(mut self, others: Vec<Device>) -> Self {
        self.others = others;
        self
    }

    /// Sends the run's events to an observer.
    pub fn observer(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Stops the run when this handle says so: after the step at hand, with a checkpoint.
    pub fn interrupter(mut self, interrupter: Interrupter) -> Self {
        self.interrupter = interrupter;
        self
    }

    /// Finds what [`run`](Trainer::run) would refuse, without training: a caller can ask before it makes a
    /// [`RunFolder`].
    ///
    /// # Errors
    /// [`TrainError`] for anything that can be known by now: the configuration, the size of the data, a head or a
    /// loss that does not fit, a loss that is not finite from the start.
    pub fn check(&self) -> Result<(), TrainError> {
        self.prepare().map(drop)
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Those of [`check`](Trainer::check) before the first step. Later for features that cannot be used, a full
    /// disk, and a loss or a weight that is not finite, which is never saved. A new folder in which no step was
    /// taken is removed again.
    pub fn run(self) -> Result<Outcome<H>, TrainError> {
        let _span =
            tracing::info_span!("train", pairs = self.pairs.len(), epochs = self.config.epochs).entered();
        let (sampler, chunk) = self.prepare()?;
        Run::start(self, sampler, chunk)?.finish()
    }

    /// What a run needs beside its parts: the order of the pairs, and the rows of a chunk.
    fn prepare(&self) -> Result<(BatchSampler, Option<NonZeroUsize>), TrainError> {
        let TrainConfig { batch, seed, .. } = self.config;
        self.config.check()?;
        let sampler = BatchSampler::new(self.pairs.len(), batch, seed)?;
        self.rehearse()?;
        Ok((sampler, self.chunk_rows()?))
    }

    /// Rows of a chunk; nothing where the batch goes through the head in one piece.
    fn chunk_rows(&self) -> Result<Option<NonZeroUsize>, TrainError> {
        let divisible = self.head.rows_are_independent();
        if !self.others.is_empty() && !divisible {
            return Err(TrainError::Chunk { rows: self.config.batch.div_ceil(1 + self.others.len()) });
        }
        match self.division {
            Division::Whole => Ok(None),
            Division::Chunks(rows) if rows.get() >= self.config.batch => Ok(None),
            Division::Chunks(rows) if divisible => Ok(Some(rows)),
            Division::Chunks(rows) => Err(TrainError::Chunk { rows: rows.get() }),
            Division::Budget(bytes) => {
                let memory = StepMemory::of(&self.config, &self.head, &*self.loss, &self.pairs)?;
                memory.chunk(bytes, divisible)
            }
        }
    }

    /// Sends two rows through the head and the loss, so that what does not fit is said at once.
    fn rehearse(&self) -> Result<(), TrainError> {
        let device = device(&self.head).inner();
        self.config.precision.check(&device)?;
        for other in &self.others {
            self.config.precision.check(other)?;
        }
        let task =
            AlignmentTask::new(self.head.valid(), self.loss.clone()).with_precision(self.config.precision);
        let batch = self.pairs.batch(&[0, 1], 0, self.config.seed)?;
        let output = burn::train::InferenceStep::step(&task, AlignmentBatch::new(batch, &device));
        let [loss, ..] = output.read()?;
        check_loss(loss, 0)
    }
}

fn check_loss(loss: f64, step: usize) -> Result<(), TrainError> {
    if loss.is_finite() {
        return Ok(());
    }
    Err(TrainError::NotFinite { what: "the loss", step, value: loss })
}

fn device(head: &impl AlignmentHead) -> Device {
    head.log_scale().device()
}

/// A run under way.
struct Run<'a, H: AlignmentHead> {
    trainer: Trainer<'a, H>,
    sampler: BatchSampler,
    learner: Learner<AlignmentTask<H>>,
    device: Device,
    progress: Progress,
    best_head: Option<H>,
    /// Whether the best head is newer than its file.
    best_is_new: bool,
    history: History,
    steps: usize,
    chunk: Option<NonZeroUsize>,
    started: Instant,
    saved: Instant,
}

impl<'a, H: AlignmentHead> Run<'a, H> {
    fn start(
        mut trainer: Trainer<'a, H>,
        sampler: BatchSampler,
        chunk: Option<NonZeroUsize>,
    ) -> Result<Self, TrainError> {
        let device = device(&trainer.head).inner().autodiff();
        let config = &trainer.config;
        let steps = config.epochs.saturating_mul(sampler.steps_per_epoch());
        let task = AlignmentTask::new(trainer.head.clone().fork(&device).train(), trainer.loss.clone())
            .with_chunk(chunk)
            .with_precision(config.precision)
            .with_devices(trainer.others.clone());
        let optimizer = |task: &_| optimizer(config, task);
        let rows = trainer.pairs.len();
        let fresh =
            Progress { steps: 0, rows, metrics: 0, best: None, stale: 0, stopped: false, seconds: 0.0 };
        let (progress, task, optimizer) = match &trainer.folder {
            Some(folder) if folder.resumed() && folder.checkpoint().exists() => {
                let path = folder.checkpoint();
                let (progress, task, optimizer) = checkpoint::load(&path, task, optimizer)?;
                if progress.rows != rows || progress.steps > steps {
                    let reason = format!(
                        "made after {} steps on {} rows, expected at most {steps} steps on {rows} rows: the data changed",
                        progress.steps, progress.rows
                    );
                    return Err(TrainError::Damaged { path, reason });
                }
                (progress, task, optimizer)
            }
            _ => {
                let optimizer = optimizer(&task);
                (fresh, task, optimizer)
            }
        };
        let history = match &mut trainer.folder {
            Some(folder) => folder.rewind_metrics(progress.metrics)?,
            None => History::default(),
        };
        let schedule = WarmupCosine::new(config.learning_rate, steps, config.warmup, progress.steps);
        let now = Instant::now();
        Ok(Self {
            learner: Learner::new(task, optimizer, schedule),
            trainer,
            sampler,
            device,
            progress,
            best_head: None,
            best_is_new: false,
            history,
            steps,
            chunk,
            started: now,
            saved: now,
        })
    }

    fn notify(&mut self, event: Event<'_>) {
        for observer in &mut self.trainer.observers {
            observer.observe(event);
        }
    }

    fn record(&mut self, record: Record) -> Result<(), TrainError> {
        if let Some(folder) = &mut self.trainer.folder {
            folder.record(&record)?;
        }
        match &record {
            Record::Step(step) => self.notify(Event::Step(step)),
            Record::Evaluation(evaluation) => self.notify(Event::Evaluated(evaluation)),
        }
        self.history.push(record);
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome<H>, TrainError> {
        let event = Event::Started {
            start: self.progress.steps,
            steps: self.steps,
            steps_per_epoch: self.sampler.steps_per_epoch(),
            parameters: self.learner.model().num_params(),
            chunk: self.chunk,
        };
        self.notify(event);
        let (pairs, sampler, seed) =
            (self.trainer.pairs.clone(), self.sampler.clone(), self.trainer.config.seed);
        let range = self.progress.steps..if self.progress.stopped { self.progress.steps } else { self.steps };
        let (sender, batches) = sync_channel(read_ahead(&self.trainer.pairs, self.trainer.config.batch));
        let interrupted = std::thread::scope(|scope| {
            scope.spawn(move || {
                for step in range {
                    let epoch = step / sampler.steps_per_epoch();
                    let indices = sampler.indices(epoch as u64, step % sampler.steps_per_epoch());
                    // The receiver is gone when the run stopped: nobody wants the rest.
                    if sender.send(pairs.batch(&indices, epoch as u64, seed)).is_err() {
                        return;
                    }
                }
            });
            self.steps(batches)
        });
        if interrupted.is_err()
            && self.progress.steps == 0
            && let Some(folder) = self.trainer.folder.take()
        {
            folder.discard();
        }
        let interrupted = interrupted?;
        self.progress.seconds += self.started.elapsed().as_secs_f64();
        let head = self.learner.model().valid().head().clone();
        if let Some(folder) = &self.trainer.folder
            && !interrupted
        {
            folder.write("head.safetensors", &head.to_bytes()?)?;
        }
        self.notify(Event::Finished);
        let finish = match (interrupted, self.progress.stopped) {
            (true, _) => Finish::Interrupted,
            (false, true) => Finish::Early,
            (false, false) => Finish::Complete,
        };
        Ok(Outcome {
            head,
            best_head: self.best_head,
            best: self.progress.best,
            finish,
            history: self.history,
            seconds: self.progress.seconds,
        })
    }

    /// Takes the steps; true when interrupted.
    fn steps(&mut self, batches: Receiver<Result<PairBatch, FeatureError>>) -> Result<bool, TrainError> {
        for batch in batches {
            let interrupted = self.trainer.interrupter.should_stop();
            let last = self.progress.steps + 1 == self.steps;
            let evaluate = self.evaluation_is_due();
            let save = interrupted || last || self.saved.elapsed() >= self.trainer.checkpoint_every;
            // An evaluation can end the run, and then there is something to save as well.
            let may_save = save || (evaluate && self.trainer.config.patience.is_some());
            if self.trainer.folder.is_some() && may_save {
                self.learner.model().request_optimizer();
            }
            self.step(batch?)?;
            if evaluate || save {
                self.check_weights()?;
            }
            let stop = evaluate && self.evaluate()?;
            self.progress.stopped = stop && !last;
            if save || stop {
                self.save()?;
            } else {
                drop(self.learner.model().take_optimizer());
            }
            if interrupted || stop {
                // A run that was asked to stop after its last step is complete.
                return Ok(interrupted && !last && !stop);
            }
        }
        Ok(false)
    }

    fn step(&mut self, batch: PairBatch) -> Result<(), TrainError> {
        let step = self.progress.steps;
        // Dropout draws from the device: the same in a step however the run came there.
        let seed = self.trainer.config.seed.wrapping_mul(SPREAD);
        self.device.seed(seed.wrapping_add(step as u64));
        let output = self.learner.train_step(AlignmentBatch::new(batch, &self.device));
        let [loss, log_scale, bias] = output.item.read()?;
        check_loss(loss, step)?;
        self.learner.lr_step();
        self.learner.optimizer_step(output.grads);
        self.progress.steps += 1;
        self.record(Record::Step(StepRecord {
            step,
            epoch: step / self.sampler.steps_per_epoch(),
            loss,
            learning_rate: self.learner.lr_current().base(),
            scale: log_scale.exp(),
            bias,
        }))
    }

    /// Whether the step to come ends an epoch that is to be evaluated.
    fn evaluation_is_due(&self) -> bool {
        let (done, per_epoch) = (self.progress.steps + 1, self.sampler.steps_per_epoch());
        let every = self.trainer.config.evaluate_every;
        let epoch_ends = done.is_multiple_of(per_epoch);
        let due = done == self.steps || (every > 0 && (done / per_epoch).is_multiple_of(every));
        self.trainer.holdout.is_some() && epoch_ends && due
    }

    /// Evaluates the holdout; true when the patience is over.
    fn evaluate(&mut self) -> Result<bool, TrainError> {
        let Some(holdout) = &self.trainer.holdout else {
            return Ok(false);
        };
        let head = self.learner.model().valid().head().clone();
        let record = EvaluationRecord {
            steps: self.progress.steps,
            epochs: self.progress.steps / self.sampler.steps_per_epoch(),
            holdout: evaluate(&head, holdout, &self.device.clone().inner())?,
        };
        let mean_recall = record.mean_recall();
        self.record(Record::Evaluation(record))?;
        if self.progress.best.is_none_or(|best| mean_recall > best.mean_recall) {
            self.progress.best = Some(Best { steps: self.progress.steps, mean_recall });
            self.progress.stale = 0;
            self.best_head = Some(head);
            self.best_is_new = true;
        } else {
            self.progress.stale += 1;
        }
        Ok(self.trainer.config.patience.is_some_and(|patience| self.progress.stale >= patience))
    }

    /// Fails where the last step left a weight that is not finite, before it can be evaluated or saved.
    fn check_weights(&self) -> Result<(), TrainError> {
        let mut finite = Finite(None);
        self.learner.model().valid().visit(&mut finite);
        match finite.0 {
            None => Ok(()),
            Some(value) => {
                Err(TrainError::NotFinite { what: "a weight", step: self.progress.steps - 1, value })
            }
        }
    }

    /// Writes a checkpoint, and the best head if it is newer than the last one.
    fn save(&mut self) -> Result<(), TrainError> {
        let task = self.learner.model();
        let (Some(folder), Some(optimizer)) = (&mut self.trainer.folder, task.take_optimizer()) else {
            return Ok(());
        };
        // The best head goes first: a checkpoint must never speak of one that is not there.
        if let Some(head) = self.best_head.as_ref().filter(|_| self.best_is_new) {
            folder.write("best.safetensors", &head.to_bytes()?)?;
            self.best_is_new = false;
        }
        let mut progress = self.progress.clone();
        progress.metrics = folder.sync_metrics()?;
        progress.seconds += self.started.elapsed().as_secs_f64();
        let path = folder.checkpoint();
        // burn's batch norm keeps its last update aside until a module is made ready for inference.
        checkpoint::save(&path, &progress, task.valid(), &optimizer)?;
        self.saved = Instant::now();
        self.notify(Event::Saved { path: &path, steps: progress.steps });
        Ok(())
    }
}

/// Retrieval among pairs with the first caption set.
fn evaluate<H: AlignmentHead>(
    head: &H,
    pairs: &Pairs,
    device: &Device,
) -> Result<sail_eval::Retrieval, TrainError> {
    let image_rows: Vec<usize> = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    let (text_rows, text_to_image) = pairs.text_to_image(0);
    let images = project_images(head, &**pairs.images(), &image_rows, device, EVALUATION_CHUNK)?;
    let texts = project_texts(head, &**pairs.captions(0), &text_rows, device, EVALUATION_CHUNK)?;
    Ok(retrieval(images, texts, &text_to_image, &BlockSize::default())?)
}

/// Finds a parameter that is not finite.
struct Finite(Option<f64>);

impl ModuleVisitor for Finite {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A sum is finite only if all its terms are; one number leaves the device.
        let sum = f64::from(param.val().without_autodiff().abs().sum().into_scalar::<f32>());
        if !sum.is_finite() {
            self.0 = Some(sum);
        }
    }
}
