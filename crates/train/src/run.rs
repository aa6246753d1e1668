//! The training loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use burn::module::ParamId;
use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, ContrastiveLoss, Dtype, FeatureError, LossStatistics};
use sail_data::{BatchSampler, Pairs, Samples};
use sail_support::catch_panic;
use serde_json::Value;

use crate::batch::{Batches, StepFeatures};
use crate::checkpoint::{self, Checkpoint, Progress};
use crate::ema::Ema;
use crate::memory::read_ahead;
use crate::mixup::Mixup;
use crate::model::{Model, check_finite};
use crate::parameters::parameters;
use crate::record::Record;
use crate::signature::{differences, signature};
use crate::unpaired::UnpairedSampler;
use crate::{
    AlignmentStep, Auxiliary, Best, EvaluationRecord, Evaluator, Event, Finish, History, Interrupter,
    LearningRate, Observer, Outcome, PairStatistics, Plan, RunFolder, StepGradients, StepRecord,
    StepStatistics, TrainConfig, TrainError, Unpaired, gradients, optimizer,
};

/// Separates the dropout of adjacent seeds, which would otherwise equal that of adjacent steps.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Runs tensor operations. Some backends panic when they run out of memory, or a device is lost.
fn on_device<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_panic(work).map_err(|panic| TrainError::Device(panic.into()))?
}

/// The parts of a run before it starts.
pub(crate) struct RunParts<'a, H: AlignmentHead> {
    pub(crate) config: TrainConfig,
    pub(crate) head: H,
    pub(crate) loss: Arc<dyn ContrastiveLoss>,
    pub(crate) pairs: Pairs,
    pub(crate) auxiliary: Vec<Auxiliary>,
    pub(crate) unpaired: Option<Unpaired>,
    pub(crate) evaluator: Option<Box<dyn Evaluator<H> + 'a>>,
    pub(crate) folder: Option<RunFolder>,
    pub(crate) checkpoint_every: Duration,
    pub(crate) observers: Vec<Box<dyn Observer<H> + 'a>>,
    pub(crate) interrupter: Interrupter,
}

/// A run in progress.
pub(crate) struct Run<'a, H: AlignmentHead> {
    parts: RunParts<'a, H>,
    step: AlignmentStep,
    plan: Plan,
    samples: Samples,
    sampler: BatchSampler,
    unpaired: Option<UnpairedSampler>,
    rate: LearningRate,
    signature: Value,
    frozen: Vec<ParamId>,
    device: Device,
    progress: Progress,
    best_head: Option<H>,
    /// Whether the best head is newer than its file.
    best_is_new: bool,
    history: History,
    started: Instant,
    saved: Instant,
    /// Time and step of the last statistics.
    statistics_at: (Instant, usize),
}

impl<'a, H: AlignmentHead> Run<'a, H> {
    /// Starts a run, or resumes the one in its folder.
    pub(crate) fn start(
        mut parts: RunParts<'a, H>,
        step: AlignmentStep,
        plan: Plan,
        samples: Samples,
        sampler: BatchSampler,
    ) -> Result<(Self, Model<H>), TrainError> {
        let config = &parts.config;
        let unpaired = parts.unpaired.as_ref().map(|unpaired| unpaired.sampler(config.seed)).transpose()?;
        let device = parts.head.log_scale().device().inner().autodiff();
        let head = parts.head.clone().fork(&device).train();
        // The signature reads every key, so it is only computed for runs with checkpoints.
        let signature = match &parts.folder {
            Some(_) => signature(
                config,
                &*parts.loss,
                &head,
                &parts.pairs,
                &parts.auxiliary,
                parts.unpaired.as_ref(),
            )?,
            None => Value::Null,
        };
        let path = parts.folder.as_ref().filter(|folder| folder.resumed()).map(|folder| folder.checkpoint());
        let (progress, model) = match path.filter(|path| path.exists()) {
            Some(path) => {
                let found = checkpoint::load(&path, head, |head| optimizer(config, head))?;
                let fields = found.signature.as_ref().map(|found| differences(found, &signature));
                if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                    return Err(TrainError::Changed { path, fields });
                }
                let Checkpoint { progress, head, optimizer, ema, .. } = found;
                if progress.rows != parts.pairs.len() || progress.steps > plan.steps {
                    let (steps, pairs) = (plan.steps, parts.pairs.len());
                    let reason = format!(
                        "created after {} steps on {} pairs, expected at most {steps} steps on {pairs} pairs: the data \
                         changed",
                        progress.steps, progress.rows
                    );
                    return Err(TrainError::Damaged { path, reason });
                }
                let ema = config.ema_decay.map(|decay| Ema::new(ema.as_ref().unwrap_or(&head), decay));
                (progress, Model { head, optimizer, ema })
            }
            None => {
                let ema = config.ema_decay.map(|decay| Ema::new(&head, decay));
                let optimizer = optimizer(config, &head);
                (Progress::new(parts.pairs.len()), Model { head, optimizer, ema })
            }
        };
        let history = match &mut parts.folder {
            Some(folder) => folder.rewind_metrics(progress.metrics)?,
            None => History::default(),
        };
        let frozen = parameters(&model.head)
            .into_iter()
            .filter(|parameter| parameter.group(&config.parameter_groups).is_some_and(|group| group.frozen))
            .map(|parameter| parameter.id)
            .collect();
        let now = Instant::now();
        let run = Self {
            rate: LearningRate::new(config, plan.steps),
            statistics_at: (now, progress.steps),
            parts,
            step,
            plan,
            samples,
            sampler,
            unpaired,
            signature,
            frozen,
            device,
            progress,
            best_head: None,
            best_is_new: false,
            history,
            started: now,
            saved: now,
        };
        Ok((run, model))
    }

    /// Runs all steps and writes the head.
    pub(crate) fn finish(mut self, model: Model<H>) -> Result<Outcome<H>, TrainError> {
        let Plan { steps, steps_per_epoch, parameters, micro_batch, .. } = self.plan;
        let start = self.progress.steps;
        self.notify(Event::Started { start, steps, steps_per_epoch, parameters, micro_batch }, &model);

        let result = std::thread::scope(|scope| {
            let config = &self.parts.config;
            let range = start..if self.progress.stopped { start } else { steps };
            let depth = read_ahead(&self.parts.pairs, config.batch_size, self.parts.unpaired.as_ref());
            let batches = Batches {
                samples: self.samples.clone(),
                sampler: self.sampler.clone(),
                unpaired: self.unpaired.clone(),
                mixup: Mixup::new(config.mixup, &self.sampler, config.seed),
                seed: config.seed,
            };
            self.train(model, batches.prefetch(scope, range, depth))
        });
        if result.is_err()
            && self.progress.steps == 0
            && let Some(folder) = self.parts.folder.take()
        {
            folder.discard();
        }
        let (model, finish) = result?;

        self.progress.seconds += self.started.elapsed().as_secs_f64();
        let head = model.result();
        if let Some(folder) = &self.parts.folder
            && finish != Finish::Interrupted
        {
            folder.write("head.safetensors", &head.to_bytes()?)?;
        }
        self.notify(Event::Finished, &model);
        Ok(Outcome {
            head,
            best_head: self.best_head,
            best: self.progress.best,
            finish,
            history: self.history,
            seconds: self.progress.seconds,
        })
    }

    /// Runs the training loop: batch, gradient, update, and evaluations and checkpoints when they are due.
    fn train(
        &mut self,
        mut model: Model<H>,
        batches: Receiver<Result<StepFeatures, FeatureError>>,
    ) -> Result<(Model<H>, Finish), TrainError> {
        for batch in batches {
            let interrupted = self.parts.interrupter.is_stopped();
            model = self.take_step(model, batch?)?;
            let last = self.progress.steps == self.plan.steps;
            if self.evaluation_is_due() {
                self.evaluate(&model)?;
                self.progress.stopped &= !last;
            }
            if self.is_due(self.parts.config.keep_every) {
                self.keep(&model)?;
            }
            let stop = interrupted || last || self.progress.stopped;
            if stop || self.saved.elapsed() >= self.parts.checkpoint_every {
                self.save(&model)?;
            }
            // A run that is stopped during its last step is complete.
            if interrupted && !last && !self.progress.stopped {
                return Ok((model, Finish::Interrupted));
            }
            if self.progress.stopped {
                break;
            }
        }
        let finish = if self.progress.stopped { Finish::Early } else { Finish::Complete };
        Ok((model, finish))
    }

    /// Performs one step and records it.
    fn take_step(&mut self, mut model: Model<H>, batch: StepFeatures) -> Result<Model<H>, TrainError> {
        let (step, config) = (self.progress.steps, &self.parts.config);
        // Seeds dropout by the step, so that a resumed run draws the same values.
        self.device.seed(config.seed.wrapping_mul(SPREAD).wrapping_add(step as u64));
        let statistics = self.is_due_after(config.statistics_every, step + 1);
        let batch = batch.into_batch(config.positives, &self.device);
        let computation =
            self.step.clone().with_loss_scale(self.progress.loss_scale.factor()).with_statistics(statistics);
        let (mut found, read) = on_device(|| {
            let mut found = computation.gradients(&model.head, batch)?;
            let read = self.read(&model, &mut found)?;
            Ok((found, read))
        })?;
        check_finite("the loss", read.loss, step)?;
        for value in read.auxiliary.values() {
            check_finite("an auxiliary loss", *value, step)?;
        }

        let rate = self.rate.at(step);
        let skipped = !read.gradient_norm.is_finite();
        if skipped {
            // In f16, a gradient may overflow in the head. In other dtypes, this is an error.
            if config.precision != Dtype::F16 || !self.progress.loss_scale.halve() {
                let value = read.gradient_norm;
                return Err(TrainError::NotFinite { what: "the gradient", step, value });
            }
        } else {
            let clip = self.parts.config.max_gradient_norm.map_or(1.0, |max| {
                // The same as PyTorch's `clip_grad_norm_`.
                (max / (read.gradient_norm + 1e-6)).min(1.0)
            });
            gradients::scale(&mut found.gradients, &model.head, (f64::from(found.unscale) * clip) as f32);
            model = on_device(|| Ok(model.update(rate, found)))?;
            self.progress.loss_scale.count();
        }
        self.progress.steps += 1;
        let statistics = statistics.then(|| self.statistics(read.pairs));
        let record = StepRecord {
            step,
            epoch: step / self.plan.steps_per_epoch,
            loss: read.loss,
            auxiliary: read.auxiliary,
            learning_rate: rate,
            scale: read.log_scale.exp(),
            bias: read.bias,
            gradient_norm: Some(read.gradient_norm).filter(|norm| norm.is_finite()),
            skipped,
            statistics,
        };
        self.record(Record::Step(record), &model)?;
        Ok(model)
    }

    /// Reads all values of a step that the host needs, with one transfer from the device.
    fn read(&self, model: &Model<H>, found: &mut StepGradients) -> Result<Read, TrainError> {
        let (head, device) = (&model.head, self.device.clone().inner());
        gradients::drop_frozen(&mut found.gradients, head, &self.frozen);
        let norm = gradients::norm(&mut found.gradients, head, &device);
        let mut values = vec![found.loss.clone(), head.log_scale().inner(), head.bias().inner(), norm];
        let names: Vec<String> = found
            .auxiliary
            .drain(..)
            .map(|(name, value)| {
                values.push(value);
                name
            })
            .collect();
        if let Some(LossStatistics { positive_loss, negative_loss, positive_accuracy, negative_accuracy }) =
            found.statistics.take()
        {
            values.extend([positive_loss, negative_loss, positive_accuracy, negative_accuracy]);
        }
        let values: Vec<f64> = Tensor::cat(values, 0).try_into_data()?.iter::<f64>().collect();
        let value = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let statistics = 4 + names.len();
        Ok(Read {
            loss: value(0),
            log_scale: value(1),
            bias: value(2),
            gradient_norm: value(3) * f64::from(found.unscale),
            pairs: (values.len() > statistics).then(|| PairStatistics {
                positive_loss: value(statistics),
                negative_loss: value(statistics + 1),
                positive_accuracy: value(statistics + 2),
                negative_accuracy: value(statistics + 3),
            }),
            auxiliary: names.into_iter().enumerate().map(|(index, name)| (name, value(4 + index))).collect(),
        })
    }

    fn statistics(&mut self, pairs: Option<PairStatistics>) -> StepStatistics {
        let (since, at) = std::mem::replace(&mut self.statistics_at, (Instant::now(), self.progress.steps));
        let seconds = self.statistics_at.0.duration_since(since).as_secs_f64();
        let count = (self.progress.steps - at) * self.parts.config.batch_size;
        StepStatistics {
            pairs,
            pairs_per_second: count as f64 / seconds.max(f64::MIN_POSITIVE),
            memory: memory_stats::memory_stats().map(|memory| memory.physical_mem),
        }
    }

    fn is_due(&self, interval: crate::Interval) -> bool {
        self.is_due_after(interval, self.progress.steps)
    }

    fn is_due_after(&self, interval: crate::Interval, steps: usize) -> bool {
        interval.is_due(steps, self.plan.steps_per_epoch)
    }

    fn evaluation_is_due(&self) -> bool {
        let last = self.progress.steps == self.plan.steps;
        self.parts.evaluator.is_some() && (last || self.is_due(self.parts.config.evaluate_every))
    }

    /// Evaluates the head, and stops the run if the patience is exhausted.
    fn evaluate(&mut self, model: &Model<H>) -> Result<(), TrainError> {
        let head = model.finite(self.progress.steps - 1)?;
        let Some(evaluator) = &mut self.parts.evaluator else {
            return Ok(());
        };
        let found = evaluator.evaluate(&head).map_err(|error| match error.downcast::<TrainError>() {
            Ok(error) => *error,
            Err(error) => TrainError::Evaluator(error),
        })?;
        let steps = self.progress.steps;
        if self.progress.best.is_none_or(|best| found.score > best.score) {
            self.progress.best = Some(Best { steps, score: found.score });
            self.progress.stale = 0;
            self.best_head = Some(head);
            self.best_is_new = true;
        } else {
            self.progress.stale += 1;
        }
        let patience = self.parts.config.patience;
        self.progress.stopped = patience.is_some_and(|patience| self.progress.stale >= patience);
        let record = EvaluationRecord {
            steps,
            epochs: steps / self.plan.steps_per_epoch,
            holdout: found.retrieval,
            loss: found.loss,
            metrics: found.metrics,
            score: Some(found.score),
        };
        self.record(Record::Evaluation(record), model)
    }

    /// Saves a copy of the head in the folder of the run.
    fn keep(&mut self, model: &Model<H>) -> Result<(), TrainError> {
        let head = model.finite(self.progress.steps - 1)?;
        match &self.parts.folder {
            Some(folder) => folder.keep(self.progress.steps, &head.to_bytes()?),
            None => Ok(()),
        }
    }

    /// Writes a checkpoint, and the best head if it is newer than its file.
    fn save(&mut self, model: &Model<H>) -> Result<(), TrainError> {
        self.saved = Instant::now();
        model.finite(self.progress.steps - 1)?;
        let Some(folder) = &mut self.parts.folder else {
            return Ok(());
        };
        // The best head is written first, because a checkpoint must not refer to a missing file.
        if let Some(head) = self.best_head.as_ref().filter(|_| self.best_is_new) {
            folder.write("best.safetensors", &head.to_bytes()?)?;
            self.best_is_new = false;
        }
        let mut progress = self.progress.clone();
        progress.metrics = folder.sync_metrics()?;
        progress.seconds += self.started.elapsed().as_secs_f64();
        let path = folder.checkpoint();
        // burn's batch norm applies its last update when the module is switched to inference mode.
        let (head, ema) = (model.head.valid(), model.ema.as_ref().map(|ema| ema.head.clone()));
        checkpoint::save(&path, &progress, &self.signature, head, &model.optimizer, ema)?;
        self.notify(Event::Saved { path: &path, steps: progress.steps }, model);
        Ok(())
    }

    fn record(&mut self, record: Record, model: &Model<H>) -> Result<(), TrainError> {
        if let Some(folder) = &mut self.parts.folder {
            folder.record(&record)?;
        }
        match &record {
            Record::Step(step) => self.notify(Event::Step(step), model),
            Record::Evaluation(evaluation) => self.notify(Event::Evaluated(evaluation), model),
        }
        self.history.push(record);
        Ok(())
    }

    fn notify(&mut self, event: Event<'_>, model: &Model<H>) {
        for observer in &mut self.parts.observers {
            observer.observe(event, &model.head);
        }
    }
}

/// The values of a step that the host reads.
struct Read {
    loss: f64,
    log_scale: f64,
    bias: f64,
    gradient_norm: f64,
    auxiliary: BTreeMap<String, f64>,
    pairs: Option<PairStatistics>,
}
