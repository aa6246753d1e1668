//! `sail eval`.

use clap::Subcommand;

use crate::benchmark::{self, BenchmarkCommand};
use crate::error::CliError;
use crate::examples;
use crate::features::{self, FeaturesArgs};
use crate::retrieval::{self, RetrievalArgs};
use crate::segment::{self, SegmentArgs};
use crate::zero_shot::{self, ZeroShotArgs};

#[derive(Subcommand)]
pub(crate) enum EvalCommand {
    /// Image-to-text and text-to-image retrieval between features; every caption of an image counts as correct.
    #[command(after_long_help = examples::RETRIEVAL)]
    Retrieval(RetrievalArgs),
    /// Zero-shot classification of image features by the text features of class prompts.
    #[command(after_long_help = examples::ZERO_SHOT)]
    ZeroShot(ZeroShotArgs),
    /// Evaluate frozen image features without a head: k-NN, linear probing, clusters.
    #[command(after_long_help = examples::FEATURES)]
    Features(FeaturesArgs),
    #[command(flatten)]
    Benchmark(Box<BenchmarkCommand>),
    /// Open-vocabulary segmentation, scored with masks.
    #[command(after_long_help = examples::SEGMENT)]
    Segment(Box<SegmentArgs>),
}

pub(crate) fn run(command: &EvalCommand) -> Result<(), CliError> {
    match command {
        EvalCommand::Retrieval(args) => retrieval::run(args),
        EvalCommand::ZeroShot(args) => zero_shot::run(args),
        EvalCommand::Features(args) => features::run(args),
        EvalCommand::Benchmark(command) => benchmark::run(command),
        EvalCommand::Segment(args) => segment::run(args),
    }
}
