//! `sail fit translate`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use sail_vl::core::{FeatureSource, Modality, Side};
use sail_vl::data::{Pairs, Split};
use sail_vl::fit::{Explained, Translated, translate};
use sail_vl::layers::Head;
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::head::refuse_existing;
use crate::head_spec::HeadSpec;
use crate::inputs::{UnmatchedArgs, VerifyArgs};
use crate::output::print;

#[derive(Args)]
pub(crate) struct TranslateArgs {
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(long, value_name = "FILE_OR_PAIR")]
    head: String,
    /// Features of images by the new encoder: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by
    /// commas, are read as one.
    #[arg(long, value_name = "FEATURES")]
    from: String,
    /// Features of the same images by the encoder of the head, joined by key; several as above.
    #[arg(long, value_name = "FEATURES")]
    to: String,
    #[command(flatten)]
    unmatched: UnmatchedArgs,
    #[command(flatten)]
    verify: VerifyArgs,
    /// The head file to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    images: usize,
    directions: usize,
    scale: f64,
    fitted: Explained,
    held_out: Option<Explained>,
    head: String,
}

pub(crate) fn run(args: &TranslateArgs) -> Result<(), CliError> {
    refuse_existing(&args.out)?;
    let device = args.device.open()?;
    let from = args.verify.open(&args.from, Modality::Image)?;
    let to = args.verify.open(&args.to, Modality::Image)?;
    let head = HeadSpec::parse(&args.head).load(&device)?;
    head.accepts(Side::Image, to.dim(), to.provenance())?;
    let pairs = Pairs::join(from, vec![to], args.unmatched.unmatched.unwrap_or_default())?;
    let [first, second] = [pairs.pairing().images, pairs.pairing().captions[0]];
    if !pairs.pairing().is_complete() {
        tracing::warn!(
            "{first} images of {} and {second} of {} have the same keys; the others are left out",
            args.from,
            args.to
        );
    }
    let (train, held_out) = split(&head, pairs)?;
    let Translated { head, images, directions, scale, fitted, held_out } =
        translate(head, &train, held_out.as_ref())?;
    head.save(&args.out)?;
    let path = args.out.display().to_string();
    let report = Report { images, directions, scale, fitted, held_out, head: path };
    print(args.json, &report, |out| {
        writeln!(out, "{images} images, {directions} directions, scale {scale:.4}")?;
        writeln!(out, "explained variance  {:.4} of these images", fitted.variance)?;
        if let Some(found) = report.held_out {
            writeln!(out, "                    {:.4} of {} held-out images", found.variance, found.images)?;
        }
        writeln!(out, "head: {}", report.head)
    })
}

/// Leaves out the images that the training of the head held out, if these are the images of its training.
fn split(head: &Head, pairs: Pairs) -> Result<(Pairs, Option<Pairs>), CliError> {
    if let Some(record) = head.holdout().filter(|record| (1..pairs.len()).contains(&record.rows)) {
        let Split { train, holdout, holdout_sha256 } = pairs.split(record.rows, record.seed)?;
        if holdout_sha256 == record.keys_sha256 {
            return Ok((train, Some(holdout)));
        }
    }
    Ok((pairs, None))
}
