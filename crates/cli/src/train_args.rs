//! The arguments of `sail train`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use crate::device_args::DeviceListArgs;
use crate::error::CliError;
use crate::inputs::VerifyArgs;
use crate::recipe_args::RecipeArgs;
use crate::seeds::Seeds;

#[derive(Args, Clone)]
#[command(allow_negative_numbers = true)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
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
    /// Train with several seeds, such as 0..4 (0 to 3) or 0,3,7, each with a subfolder of `--out` as in a sweep: prints means
    /// with 95% intervals, and which settings of a `--sweep` differ by more than their spread.
    #[arg(long, value_name = "SEEDS", conflicts_with = "seed")]
    pub(crate) seeds: Option<Seeds>,
    /// Write an HTML report; `--json` then includes the points of its curves.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write event files for TensorBoard to this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Read the features, time one step, print the size of the training, and write nothing.
    #[arg(long, conflicts_with_all = ["sweep", "seeds"])]
    pub(crate) dry_run: bool,

    /// Rows that go through the head at once. A micro-batch saves memory, costs one more forward pass and computes the
    /// same step [default: the batch].
    #[arg(long, alias = "chunk", value_name = "ROWS")]
    pub(crate) micro_batch: Option<NonZeroUsize>,
    /// Memory limit of a step, such as 8GiB; the largest micro-batch that fits is used.
    #[arg(long, value_name = "SIZE", conflicts_with = "micro_batch")]
    pub(crate) memory: Option<ByteSize>,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    checkpoint_every: f64,
    // Each computes an equal part of every batch, and the first holds the weights.
    #[command(flatten)]
    pub(crate) device: DeviceListArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl TrainArgs {
    pub(crate) fn checkpoint_every(&self) -> Result<Duration, CliError> {
        Duration::try_from_secs_f64(self.checkpoint_every)
            .map_err(|_| CliError::Usage("`--checkpoint-every` is not a number of seconds".into()))
    }
}
