//! `sail train`.

use std::io::{Write, stdout};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use sail_vl::core::{Check, FeatureSource, Modality};
use sail_vl::data::{DataError, Pairs};
use sail_vl::device;
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_vl::losses::{Blocks, Direction, LossConfig, Normalization};
use sail_vl::train::{
    EvaluationRecord, Finish, Interrupter, OptimizerConfig, Outcome, Precision, Progress, RunFolder,
    TrainConfig, Trainer,
};
use serde::Serialize;
use serde_json::json;

use crate::error::CliError;
use crate::inputs::{self, PairArgs};
use crate::{sweep, train_report};

/// A layer by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum HeadKind {
    Linear,
    Mlp,
    Glu,
    Swiglu,
    /// A deep perceptron on the text side; image features stay as they are.
    Sharelock,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LossKind {
    Sigmoid,
    InfoNce,
    BarlowTwins,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NormalizationKind {
    /// By B², the paper's.
    Pairs,
    /// By B, SigLIP's.
    Batch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BlocksKind {
    /// As the reference code does.
    Mean,
    /// As the paper writes it.
    Sum,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionKind {
    F32,
    /// Where the device has it.
    Bf16,
    /// Where the device has it; gradients are scaled.
    F16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OptimizerKind {
    Lion,
    Adamw,
}

// A negative number is a value that can be called wrong, not an option that is not known.
#[derive(Args, Clone)]
#[command(allow_negative_numbers = true)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) pairs: PairArgs,
    /// More captions of the same images, as extra positives; may be given several times. Each time is a set of its
    /// own, which several stores with commas between may hold together.
    #[arg(long, value_name = "FEATURES")]
    extra_texts: Vec<String>,
    /// Folder of the run.
    #[arg(long, value_name = "RUN")]
    pub(crate) out: String,
    /// Continue the run in that folder.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Try several values of an option, such as lr=1e-4,3e-4; with several of these, every combination. Each run has a
    /// folder of its own in that of `--out`, and the results are ranked.
    #[arg(long, value_name = "OPTION=VALUES")]
    pub(crate) sweep: Vec<String>,
    /// Write a report for people, one HTML file; `--json` then has the points of its curves too.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Layer of both sides.
    #[arg(long, value_enum, default_value = "glu")]
    head: HeadKind,
    /// Hidden width as a multiple of the features' [default: 8, or 4 for mlp].
    #[arg(long)]
    width: Option<usize>,
    /// Dimension of the shared space.
    #[arg(long, default_value_t = 1024)]
    dim: usize,

    /// The objective.
    #[arg(long, value_enum, default_value = "sigmoid")]
    loss: LossKind,
    /// What the sigmoid loss divides by [default: pairs].
    #[arg(long, value_enum)]
    normalization: Option<NormalizationKind>,
    /// How the sigmoid loss joins the captions and the extra ones [default: mean].
    #[arg(long, value_enum)]
    blocks: Option<BlocksKind>,

    /// Rows of a batch.
    #[arg(long, default_value_t = 32_768)]
    batch: usize,
    /// Rows that go through the head at once; less memory, one more forward pass, and the same step [default: all].
    #[arg(long, value_name = "ROWS")]
    chunk: Option<NonZeroUsize>,
    /// Memory that a step may take, such as 8GiB; the largest chunk that fits is chosen.
    #[arg(long, value_name = "SIZE", conflicts_with = "chunk")]
    memory: Option<ByteSize>,
    /// What the head's layers compute in; weights, optimiser and loss stay in f32.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionKind,
    /// Passes over the data.
    #[arg(long, default_value_t = 50)]
    epochs: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-5)]
    lr: f64,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 1e-4)]
    weight_decay: f64,
    /// Update rule.
    #[arg(long, value_enum, default_value = "lion")]
    optimizer: OptimizerKind,
    /// Share of the steps in which the learning rate rises.
    #[arg(long, default_value_t = 0.1)]
    warmup: f64,
    /// Source of initial weights, batch order and holdout.
    #[arg(long, default_value_t = 42)]
    seed: u64,

    /// Pairs kept out of the training and used to evaluate it.
    #[arg(long, default_value_t = 0, value_name = "ROWS")]
    pub(crate) holdout: usize,
    /// Epochs between evaluations; 0 for the end only.
    #[arg(long, default_value_t = 5, value_name = "EPOCHS")]
    evaluate_every: usize,
    /// Stop after so many evaluations without a new best.
    #[arg(long, value_name = "EVALUATIONS")]
    patience: Option<usize>,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    checkpoint_every: f64,

    /// Device to compute on. With several, commas between, each takes an equal part of every batch; the first holds
    /// the weights.
    #[arg(long, default_value = "flex", value_delimiter = ',')]
    device: Vec<String>,
    /// Print one JSON object at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `config.json` holds: all that decides the result.
#[derive(Serialize)]
struct RunConfig<'a> {
    images: &'a str,
    texts: &'a str,
    extra_texts: &'a [String],
    rows: usize,
    holdout: usize,
    head: HeadConfig,
    loss: &'a LossConfig,
    train: TrainConfig,
}

impl TrainArgs {
    fn head_config(&self, image_dim: usize, text_dim: usize) -> Result<HeadConfig, CliError> {
        let projector = match self.head {
            HeadKind::Linear => ProjectorConfig::Linear {},
            HeadKind::Mlp => ProjectorConfig::Mlp { expansion: self.width.unwrap_or(4) },
            HeadKind::Glu => ProjectorConfig::Glu { width: self.width.unwrap_or(8) },
            HeadKind::Swiglu => ProjectorConfig::SwiGlu { width: self.width.unwrap_or(8) },
            HeadKind::Sharelock => ProjectorConfig::SHARELOCK,
        };
        if self.width.is_some() && matches!(self.head, HeadKind::Linear | HeadKind::Sharelock) {
            return Err(CliError::Usage("`--width` has no meaning for this `--head`".into()));
        }
        let mut config = HeadConfig::new(image_dim, text_dim, self.dim, projector);
        if matches!(self.head, HeadKind::Sharelock) {
            config.image = Some(SideConfig::new(image_dim, ProjectorConfig::Identity {}));
        }
        config.check()?;
        Ok(config)
    }

    fn loss_config(&self) -> Result<LossConfig, CliError> {
        let sigmoid = matches!(self.loss, LossKind::Sigmoid);
        if !sigmoid && (self.normalization.is_some() || self.blocks.is_some()) {
            return Err(CliError::Usage(
                "`--normalization` and `--blocks` have no meaning for this `--loss`".into(),
            ));
        }
        Ok(match self.loss {
            LossKind::Sigmoid => LossConfig::Sigmoid {
                normalization: match self.normalization {
                    None | Some(NormalizationKind::Pairs) => Normalization::PairCount,
                    Some(NormalizationKind::Batch) => Normalization::Batch,
                },
                blocks: match self.blocks {
                    None | Some(BlocksKind::Mean) => Blocks::Mean,
                    Some(BlocksKind::Sum) => Blocks::Sum,
                },
            },
            LossKind::InfoNce => LossConfig::InfoNce { direction: Direction::default() },
            LossKind::BarlowTwins => LossConfig::BarlowTwins { lambda: 5e-3 },
        })
    }

    fn train_config(&self) -> Result<TrainConfig, CliError> {
        let config = TrainConfig {
            epochs: self.epochs,
            batch: self.batch,
            learning_rate: self.lr,
            weight_decay: self.weight_decay,
            optimizer: match self.optimizer {
                OptimizerKind::Lion => OptimizerConfig::LION,
                OptimizerKind::Adamw => OptimizerConfig::ADAMW,
            },
            precision: match self.precision {
                PrecisionKind::F32 => Precision::F32,
                PrecisionKind::Bf16 => Precision::Bf16,
                PrecisionKind::F16 => Precision::F16,
            },
            warmup: self.warmup,
            seed: self.seed,
            evaluate_every: self.evaluate_every,
            patience: self.patience,
        };
        config.check()?;
        if self.patience.is_some() && self.holdout == 0 {
            return Err(CliError::Usage("`--patience` has no meaning without a `--holdout`".into()));
        }
        Ok(config)
    }

    /// Says everything that can be wrong with the command before a file is read.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.train_config()?;
        self.loss_config()?.build()?;
        self.checkpoint_every()?;
        self.head_config(self.dim, self.dim)?;
        self.device.iter().try_for_each(|name| device::parse(name).map(drop))?;
        Ok(())
    }

    fn checkpoint_every(&self) -> Result<Duration, CliError> {
        Duration::try_from_secs_f64(self.checkpoint_every)
            .map_err(|_| CliError::Usage("`--checkpoint-every` is not a number of seconds".into()))
    }
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    if !args.sweep.is_empty() {
        return sweep::run(args);
    }
    let interrupter = inputs::interrupter();
    let outcome = execute(args, &interrupter)?;
    if outcome.finish == Finish::Interrupted {
        return Err(CliError::Interrupted { steps: outcome.history.steps.len() });
    }
    if let Some(path) = &args.report {
        train_report::report(&[(args.out.clone(), &outcome)]).save(path)?;
    }
    report(args, &outcome)
}

/// One run.
pub(crate) fn execute(args: &TrainArgs, interrupter: &Interrupter) -> Result<Outcome<Head>, CliError> {
    args.check()?;
    let train = args.train_config()?;
    let loss = args.loss_config()?;
    let objective = loss.build()?;
    let mut devices = args.device.iter().map(|name| device::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let others = devices.split_off(1);
    let device = &devices[0];
    let checkpoint_every = args.checkpoint_every()?;
    let out = Path::new(&args.out);
    inputs::check_folder(out, args.resume)?;

    let verify = !args.pairs.no_verify;
    let images = inputs::features(&args.pairs.images, Modality::Image, verify)?;
    let texts = inputs::features(&args.pairs.texts, Modality::Text, verify)?;
    let mut captions: Vec<Arc<dyn FeatureSource>> = vec![texts.clone()];
    for spec in &args.extra_texts {
        captions.push(inputs::features(spec, Modality::Text, verify)?);
    }
    let head_config = args.head_config(images.dim(), texts.dim())?;
    let head =
        Head::new(&head_config, args.seed, device)?.with_provenance(images.provenance(), texts.provenance());
    let pairs = Pairs::new(images, captions).map_err(|error| match error {
        DataError::CaptionSets { set, field, found, expected } => {
            let (extra, texts) = (&args.extra_texts[set - 1], &args.pairs.texts);
            CliError::Usage(format!("{extra} has the {field} {found}, expected {expected} as {texts} has"))
        }
        other => other.into(),
    })?;
    let config = RunConfig {
        images: &args.pairs.images,
        texts: &args.pairs.texts,
        extra_texts: &args.extra_texts,
        rows: pairs.len(),
        holdout: args.holdout,
        head: head.config().clone(),
        loss: &loss,
        train: train.clone(),
    };
    let split = pairs.split(args.holdout, args.seed)?;
    let mut trainer =
        Trainer::new(train, head, objective.into(), split.train).holdout(split.holdout).devices(others);
    if let Some(rows) = args.chunk {
        trainer = trainer.chunk(rows);
    }
    if let Some(memory) = args.memory {
        trainer = trainer.memory(memory.as_u64());
    }
    trainer.check()?;
    let folder =
        if args.resume { RunFolder::resume(out, &config)? } else { RunFolder::create(out, &config)? };
    let trainer = trainer.folder(folder).checkpoint_every(checkpoint_every);
    Ok(trainer.observer(Progress::new("train")).interrupter(interrupter.clone()).run()?)
}

fn report(args: &TrainArgs, outcome: &Outcome<Head>) -> Result<(), CliError> {
    let steps = outcome.history.steps.len();
    let head = format!("{}/head.safetensors", args.out.trim_end_matches('/'));
    let loss = outcome.history.steps.last().map(|step| step.loss);
    let holdout = outcome.history.evaluations.last().map(|evaluation| &evaluation.holdout);
    let mut out = stdout().lock();
    if args.json {
        let mut result = json!({
            "holdout": holdout, "loss": loss, "steps": steps, "seconds": outcome.seconds, "head": head,
            "stopped_early": outcome.finish == Finish::Early,
        });
        if args.report.is_some() {
            result["mean_recall"] =
                outcome.history.evaluations.last().map(EvaluationRecord::mean_recall).into();
            result["curves"] = train_report::curves(&[(args.out.clone(), outcome)]);
        }
        writeln!(out, "{result}")?;
        return Ok(());
    }
    let rate = outcome.seconds / steps.max(1) as f64;
    writeln!(
        out,
        "{steps} steps in {:.1} s ({rate:.3} s a step), loss {:.6}",
        outcome.seconds,
        loss.unwrap_or(f64::NAN)
    )?;
    if let Some(scores) = holdout {
        for (direction, scores) in [("image to text", &scores.i2t), ("text to image", &scores.t2i)] {
            writeln!(
                out,
                "{direction}  R@1 {:5.2}  R@5 {:5.2}  R@10 {:5.2}",
                scores.r1, scores.r5, scores.r10
            )?;
        }
    }
    writeln!(out, "head: {head}")?;
    Ok(())
}
