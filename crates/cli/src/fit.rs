//! `sail fit`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use sail_vl::core::Check;
use sail_vl::data::Pairing;
use sail_vl::eval::Retrieval;
use sail_vl::fit::{Direction, Fit, FitConfig, FitSummary};
use sail_vl::train::pair_retrieval;
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::examples;
use crate::fit_translate::{self, TranslateArgs};
use crate::head::refuse_existing;
use crate::holdout::DEFAULT_SEED;
use crate::inputs::PairArgs;
use crate::named::named;
use crate::output::print;
use crate::score_tables::write_recalls;

#[derive(Subcommand)]
pub(crate) enum FitCommand {
    /// Orthogonal maps of both sides (Procrustes).
    #[command(after_long_help = examples::FIT_PROCRUSTES)]
    Procrustes(ProcrustesArgs),
    /// The directions of the largest correlations (canonical correlation analysis), scaled by them.
    #[command(after_long_help = examples::FIT_CCA)]
    Cca(CanonicalArgs),
    /// The same directions with a weighted cosine (CSA).
    #[command(after_long_help = examples::FIT_CSA)]
    Csa(CanonicalArgs),
    /// Ridge regression of one side on the other.
    #[command(after_long_help = examples::FIT_RIDGE)]
    Ridge(RidgeArgs),
    /// Use a head with another image encoder, from the features of both encoders for the same images, without captions.
    #[command(after_long_help = examples::FIT_TRANSLATE)]
    Translate(TranslateArgs),
}

/// What every method takes.
#[derive(Args)]
pub(crate) struct FitArgs {
    #[command(flatten)]
    pairs: PairArgs,
    /// More captions of the same images, each of which makes a pair; repeat it for each set of captions.
    #[arg(long, value_name = "FEATURES")]
    extra_texts: Vec<String>,
    /// Number of pairs that are held out of the fit and evaluated.
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    holdout: usize,
    /// Seed of the holdout.
    #[arg(long, default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// The head file to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    // The fit itself runs on the CPU.
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ProcrustesArgs {
    #[command(flatten)]
    fit: FitArgs,
    /// Maximum embedding dimension [default: the rank of the cross-covariance].
    #[arg(long)]
    dim: Option<usize>,
}

// Negative numbers are parsed as values, to be rejected with a message about the value.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct CanonicalArgs {
    #[command(flatten)]
    fit: FitArgs,
    /// Maximum number of directions [default: the rank of the cross-covariance].
    #[arg(long)]
    dim: Option<usize>,
    /// Regularization of both covariances, relative to the mean variance of a column [default: by cross-validation].
    #[arg(long, value_name = "VALUE")]
    regularization: Option<f64>,
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct RidgeArgs {
    #[command(flatten)]
    fit: FitArgs,
    /// Which side is predicted from the other [default: image-to-text].
    #[arg(long, value_parser = named::<Direction>())]
    direction: Option<Direction>,
    /// Regularization of the predictor, relative to the mean variance of a column [default: by cross-validation].
    #[arg(long, value_name = "VALUE")]
    regularization: Option<f64>,
}

pub(crate) fn run(command: &FitCommand) -> Result<(), CliError> {
    match command {
        FitCommand::Procrustes(args) => fit(&FitConfig::Procrustes { dim: args.dim }, &args.fit),
        FitCommand::Cca(args) => {
            fit(&FitConfig::Cca { dim: args.dim, regularization: args.regularization }, &args.fit)
        }
        FitCommand::Csa(args) => {
            fit(&FitConfig::Csa { dim: args.dim, regularization: args.regularization }, &args.fit)
        }
        FitCommand::Ridge(args) => {
            let direction = args.direction.unwrap_or_default();
            fit(&FitConfig::Ridge { direction, regularization: args.regularization }, &args.fit)
        }
        FitCommand::Translate(args) => fit_translate::run(args),
    }
}

#[derive(Serialize)]
struct Fitted<'a> {
    #[serde(flatten)]
    summary: &'a FitSummary,
    holdout: Option<Retrieval>,
    seconds: f64,
    head: String,
    pairing: &'a Pairing,
}

fn fit(config: &FitConfig, args: &FitArgs) -> Result<(), CliError> {
    config.check()?;
    refuse_existing(&args.out)?;
    let device = args.device.open()?;
    let pairs = args.pairs.open_with(&args.extra_texts)?;
    let start = Instant::now();
    let (Fit { head, summary }, held_out) =
        config.fit_with_holdout(&pairs, args.holdout, args.seed, &device)?;
    let seconds = start.elapsed().as_secs_f64();
    let holdout = if held_out.is_empty() { None } else { Some(pair_retrieval(&head, &held_out)?) };
    head.save(&args.out)?;
    let head = args.out.display().to_string();
    let fitted = Fitted { summary: &summary, holdout, seconds, head, pairing: pairs.pairing() };
    print(args.json, &fitted, |out| {
        if !fitted.pairing.is_complete() {
            writeln!(out, "{}", fitted.pairing)?;
        }
        writeln!(out, "{summary}")?;
        if let Some(scores) = &fitted.holdout {
            write_recalls(out, scores)?;
        }
        writeln!(out, "head: {}", fitted.head)
    })
}
