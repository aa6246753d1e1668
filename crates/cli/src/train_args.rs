//! The arguments of `sail train`, and the configurations that they stand for.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{Check, Dtype};
use sail_vl::device;
use sail_vl::layers::{HeadConfig, ProjectorConfig, SideConfig};
use sail_vl::losses::{Blocks, Direction, LossConfig, Normalization};
use sail_vl::train::{OptimizerConfig, Precision, TrainConfig};

use crate::choices::{Loss, Optimizer, Projector};
use crate::error::CliError;
use crate::inputs::PairArgs;
use crate::named::{named, named_or};

// Negative numbers are parsed as values, to be rejected with a message about the value.
#[derive(Args, Clone)]
#[command(allow_negative_numbers = true)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) pairs: PairArgs,
    /// More captions of the same images, as extra positives; repeat it for each set of captions. As above, a set can be
    /// several stores, separated by commas.
    #[arg(long, value_name = "FEATURES")]
    pub(crate) extra_texts: Vec<String>,
    /// Folder of the run.
    #[arg(long, value_name = "RUN")]
    pub(crate) out: String,
    /// Resume the run in that folder.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Sweep over the values of an option, such as lr=1e-4,3e-4; repeat it to sweep over all combinations. Each run has
    /// a subfolder of `--out`, and the results are ranked.
    #[arg(long, value_name = "OPTION=VALUES")]
    pub(crate) sweep: Vec<String>,
    /// Write an HTML report; `--json` then includes the points of its curves.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Read the features, print the size of the training, and write nothing.
    #[arg(long, conflicts_with = "sweep")]
    pub(crate) dry_run: bool,

    /// Projector on both sides; `sharelock` is an MLP on the text side, with image features as they are.
    #[arg(long, alias = "head", value_name = "KIND", default_value = "glu", value_parser = named::<Projector>())]
    projector: Projector,
    /// Hidden width of the projector as a multiple of the feature dimension [default: 8, or 4 for `mlp`].
    #[arg(long)]
    width: Option<usize>,
    /// Dimension of the shared embedding space.
    #[arg(long, default_value_t = 1024)]
    dim: usize,

    /// Loss function.
    #[arg(long, value_name = "KIND", default_value = "sigmoid", value_parser = named::<Loss>())]
    loss: Loss,
    /// Divisor of the sigmoid loss: the number of pairs, B² (SAIL), or the batch size, B (SigLIP) [default: pair-count].
    #[arg(long, value_parser = named_or::<Normalization>(&[("pairs", "pair-count")]))]
    normalization: Option<Normalization>,
    /// Reduction of the sigmoid loss over the sets of captions [default: mean].
    #[arg(long, value_parser = named::<Blocks>())]
    blocks: Option<Blocks>,

    /// Batch size.
    #[arg(long, value_name = "ROWS", default_value_t = 32_768)]
    batch: usize,
    /// Rows that go through the head at once. A micro-batch saves memory, costs one more forward pass and computes the
    /// same step [default: the batch].
    #[arg(long, alias = "chunk", value_name = "ROWS")]
    pub(crate) micro_batch: Option<NonZeroUsize>,
    /// Memory limit of a step, such as 8GiB; the largest micro-batch that fits is used.
    #[arg(long, value_name = "SIZE", conflicts_with = "micro_batch")]
    pub(crate) memory: Option<ByteSize>,
    /// Data type of the head's layers; weights, optimizer and loss stay in f32.
    #[arg(long, value_name = "DTYPE", default_value = "f32", value_parser = named::<Dtype>())]
    precision: Dtype,
    /// Number of epochs.
    #[arg(long, default_value_t = 50)]
    epochs: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-5)]
    lr: f64,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 1e-4)]
    weight_decay: f64,
    /// Optimizer.
    #[arg(long, value_name = "KIND", default_value = "lion", value_parser = named::<Optimizer>())]
    optimizer: Optimizer,
    /// Fraction of the steps in which the learning rate warms up linearly.
    #[arg(long, default_value_t = 0.1)]
    warmup: f64,
    /// Seed of the initial weights, the order of the batches and the holdout.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,

    /// Number of pairs that are held out of training and evaluated.
    #[arg(long, default_value_t = 0, value_name = "ROWS")]
    pub(crate) holdout: usize,
    /// Epochs between evaluations; 0 to evaluate at the end only.
    #[arg(long, default_value_t = 5, value_name = "EPOCHS")]
    evaluate_every: usize,
    /// Stop after this number of evaluations without improvement.
    #[arg(long, value_name = "EVALUATIONS")]
    patience: Option<usize>,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    checkpoint_every: f64,

    /// Device to compute on: `cpu`, `auto` or another name that `sail devices` lists. With several, separated by commas,
    /// each computes an equal part of every batch, and the first holds the weights.
    #[arg(
        long,
        value_name = "DEVICE",
        env = "SAIL_DEVICE",
        hide_env_values = true,
        default_value = device::default_name(),
        value_delimiter = ','
    )]
    pub(crate) device: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl TrainArgs {
    pub(crate) fn head_config(&self, image_dim: usize, text_dim: usize) -> Result<HeadConfig, CliError> {
        let projector = match self.projector {
            Projector::Linear => ProjectorConfig::Linear {},
            Projector::Mlp => ProjectorConfig::Mlp { expansion: self.width.unwrap_or(4) },
            Projector::Glu => ProjectorConfig::Glu { width: self.width.unwrap_or(8) },
            Projector::SwiGlu => ProjectorConfig::SwiGlu { width: self.width.unwrap_or(8) },
            Projector::ShareLock => ProjectorConfig::SHARELOCK,
        };
        if self.width.is_some() && matches!(self.projector, Projector::Linear | Projector::ShareLock) {
            return Err(CliError::Usage("`--width` has no meaning for this `--projector`".into()));
        }
        let mut config = HeadConfig::new(image_dim, text_dim, self.dim, projector);
        if self.projector == Projector::ShareLock {
            config.image = Some(SideConfig::new(image_dim, ProjectorConfig::Identity {}));
        }
        config.check()?;
        Ok(config)
    }

    pub(crate) fn loss_config(&self) -> Result<LossConfig, CliError> {
        if self.loss != Loss::Sigmoid && (self.normalization.is_some() || self.blocks.is_some()) {
            return Err(CliError::Usage(
                "`--normalization` and `--blocks` have no meaning for this `--loss`".into(),
            ));
        }
        Ok(match self.loss {
            Loss::Sigmoid => LossConfig::Sigmoid {
                normalization: self.normalization.unwrap_or_default(),
                blocks: self.blocks.unwrap_or_default(),
            },
            Loss::InfoNce => LossConfig::InfoNce { direction: Direction::default() },
            Loss::BarlowTwins => LossConfig::BarlowTwins { lambda: 5e-3 },
        })
    }

    pub(crate) fn train_config(&self) -> Result<TrainConfig, CliError> {
        let config = TrainConfig {
            epochs: self.epochs,
            batch: self.batch,
            learning_rate: self.lr,
            weight_decay: self.weight_decay,
            optimizer: match self.optimizer {
                Optimizer::Lion => OptimizerConfig::LION,
                Optimizer::AdamW => OptimizerConfig::ADAMW,
            },
            precision: match self.precision {
                Dtype::F32 => Precision::F32,
                Dtype::BF16 => Precision::Bf16,
                Dtype::F16 => Precision::F16,
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

    pub(crate) fn checkpoint_every(&self) -> Result<Duration, CliError> {
        Duration::try_from_secs_f64(self.checkpoint_every)
            .map_err(|_| CliError::Usage("`--checkpoint-every` is not a number of seconds".into()))
    }

    pub(crate) fn devices(&self) -> Result<Vec<Device>, CliError> {
        Ok(self.device.iter().map(|name| device::parse(name)).collect::<Result<_, _>>()?)
    }

    /// Checks all arguments, before a file is read.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.train_config()?;
        self.loss_config()?.build()?;
        self.checkpoint_every()?;
        self.head_config(self.dim, self.dim)?;
        self.devices()?;
        Ok(())
    }
}
