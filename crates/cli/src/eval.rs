//! `sail eval`.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use sail_vl::core::{FeatureSource, Modality};
use sail_vl::data::Pairs;
use sail_vl::device;
use sail_vl::eval::{
    BlockSize, Retrieval, ZeroShot, class_weights, project_images, project_texts, retrieval, zero_shot,
};
use sail_vl::report::Facts;
use serde::Serialize;

use crate::benchmark::{self, BenchmarkCommand};
use crate::error::CliError;
use crate::features::{self, FeaturesArgs};
use crate::inputs::{self, PairArgs};
use crate::labels;
use crate::retrieval_report::{self, Embedded};
use crate::segment::{self, SegmentArgs};

/// Rows that go through the head at once.
const CHUNK: usize = 4096;

#[derive(Subcommand)]
pub(crate) enum EvalCommand {
    /// Image-to-text and text-to-image retrieval, every caption of a key counting as right.
    Retrieval(RetrievalArgs),
    /// Classification of images by the text features of class prompts.
    ZeroShot(ZeroShotArgs),
    /// How well frozen image features cluster and separate by class, without any head: k-NN, linear probing, clusters.
    Features(FeaturesArgs),
    #[command(flatten)]
    Benchmark(Box<BenchmarkCommand>),
    /// Segmentation of images by the names of the classes, scored with their masks.
    Segment(Box<SegmentArgs>),
}

#[derive(Args)]
struct Common {
    /// The head file.
    #[arg(long)]
    head: String,
    /// Use only the rows that `sail train` held out with this number and the seed.
    #[arg(long, value_name = "ROWS")]
    holdout: Option<usize>,
    /// The seed of that run.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Device to compute on.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct RetrievalArgs {
    #[command(flatten)]
    pairs: PairArgs,
    /// Write a report for people, one HTML file; `--json` then has its galleries and similarities too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Folder of the images, whose file names are the keys of the images, to show them in the report.
    #[arg(long, value_name = "FOLDER", requires = "report")]
    images: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(crate) struct ZeroShotArgs {
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR.
    #[arg(long, value_name = "FEATURES")]
    images: String,
    /// Text features of the class prompts. In a store, the prompts of one class share a key, and classes are
    /// numbered in the order of their first prompt; in a single file, row N is the one prompt of class N.
    #[arg(long, value_name = "FEATURES")]
    prompts: String,
    /// The class of each image: an integer tensor, FILE.safetensors:TENSOR, or `folders` for keys such as CLASS/NAME.
    #[arg(long, value_name = "TENSOR")]
    labels: String,
    /// Use features as they are, without checking checksums and every row first.
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(command: &EvalCommand) -> Result<(), CliError> {
    match command {
        EvalCommand::Retrieval(args) => run_retrieval(args),
        EvalCommand::ZeroShot(args) => run_zero_shot(args),
        EvalCommand::Features(args) => features::run(args),
        EvalCommand::Benchmark(command) => benchmark::run(command),
        EvalCommand::Segment(args) => segment::run(args),
    }
}

fn run_retrieval(args: &RetrievalArgs) -> Result<(), CliError> {
    let device = device::parse(&args.common.device)?;
    let verify = !args.pairs.no_verify;
    let images = inputs::features(&args.pairs.images, Modality::Image, verify)?;
    let texts = inputs::features(&args.pairs.texts, Modality::Text, verify)?;
    let head = inputs::head(&args.common.head, &device, &*images, &*texts)?;
    let pairs = inputs::holdout(Pairs::new(images, vec![texts])?, args.common.holdout, args.common.seed)?;
    let image_rows: Vec<usize> = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    let (text_rows, text_to_image) = pairs.text_to_image(0);
    let images = project_images(&head, &**pairs.images(), &image_rows, CHUNK)?;
    let texts = project_texts(&head, &**pairs.captions(0), &text_rows, CHUNK)?;
    let result = retrieval(images.clone(), texts.clone(), &text_to_image, &BlockSize::default())?;
    let mut shown = None;
    if let Some(path) = &args.report {
        let keys = |source: &dyn FeatureSource, rows: &[usize], spec: &str| {
            source.keys(rows).map_err(|source| CliError::Features { spec: spec.to_owned(), source })
        };
        let embedded = Embedded {
            image_keys: keys(&**pairs.images(), &image_rows, &args.pairs.images)?,
            text_keys: keys(&**pairs.captions(0), &text_rows, &args.pairs.texts)?,
            text_to_image: &text_to_image,
            images,
            texts,
        };
        let facts = Facts::new()
            .fact("images", &args.pairs.images)
            .fact("texts", &args.pairs.texts)
            .fact("head", &args.common.head)
            .fact("held out", args.common.holdout.map_or("no: all rows".to_owned(), |rows| rows.to_string()));
        let (report, figures) = retrieval_report::report(facts, &result, &embedded, args.images.as_deref())?;
        report.save(path)?;
        shown = Some(figures);
    }
    let mut out = stdout().lock();
    if args.common.json {
        writeln!(out, "{}", serde_json::to_string(&Reported { result: &result, shown })?)?;
        return Ok(());
    }
    write_retrieval(&mut out, &result)
}

/// A result, and what its report shows beside it.
#[derive(Serialize)]
struct Reported<'a> {
    #[serde(flatten)]
    result: &'a Retrieval,
    #[serde(flatten)]
    shown: Option<retrieval_report::Shown>,
}

/// A retrieval as a table for people.
pub(crate) fn write_retrieval(out: &mut impl Write, result: &Retrieval) -> Result<(), CliError> {
    writeln!(out, "{} images, {} texts", result.n_images, result.n_texts)?;
    writeln!(out, "{:<15}{:>7}{:>7}{:>7}{:>11}{:>13}", "", "R@1", "R@5", "R@10", "mean rank", "median rank")?;
    for (direction, scores) in [("image to text", &result.i2t), ("text to image", &result.t2i)] {
        writeln!(
            out,
            "{direction:<15}{:>7.2}{:>7.2}{:>7.2}{:>11.1}{:>13.1}",
            scores.r1, scores.r5, scores.r10, scores.mean_rank, scores.median_rank
        )?;
    }
    Ok(())
}

fn run_zero_shot(args: &ZeroShotArgs) -> Result<(), CliError> {
    let device = device::parse(&args.common.device)?;
    let images = inputs::features(&args.images, Modality::Image, !args.no_verify)?;
    let prompts = inputs::features(&args.prompts, Modality::Text, !args.no_verify)?;
    let labels = labels::read(&args.labels, &args.images, &*images)?;
    let head = inputs::head(&args.common.head, &device, &*images, &*prompts)?;
    let mut rows: Vec<usize> = (0..images.rows()).collect();
    if args.common.holdout.is_some() {
        // The images paired with themselves split as they do with any texts: by key alone.
        let images: Arc<dyn FeatureSource> = images.clone();
        let pairs = inputs::holdout(
            Pairs::new(images.clone(), vec![images])?,
            args.common.holdout,
            args.common.seed,
        )?;
        rows = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    }
    let labels: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
    let (class_of_prompt, classes) = number_classes(&*prompts);
    let prompt_rows: Vec<usize> = (0..prompts.rows()).collect();
    let prompts = project_texts(&head, &*prompts, &prompt_rows, CHUNK)?;
    let weights = class_weights(prompts, &class_of_prompt, classes)?;
    let images = project_images(&head, &*images, &rows, CHUNK)?;
    let result = zero_shot(images, weights, &labels)?;
    let mut out = stdout().lock();
    if args.common.json {
        writeln!(out, "{}", serde_json::to_string(&result)?)?;
        return Ok(());
    }
    write_zero_shot(&mut out, &result)
}

/// A zero-shot classification for people.
pub(crate) fn write_zero_shot(out: &mut impl Write, result: &ZeroShot) -> Result<(), CliError> {
    writeln!(out, "{} images, {} classes", result.n_images, result.n_classes)?;
    writeln!(out, "top-1           {:>7.2}", result.top1)?;
    writeln!(out, "top-5           {:>7.2}", result.top5)?;
    writeln!(out, "per-class mean  {:>7.2}", result.per_class_mean)?;
    Ok(())
}

/// The class of every prompt, and how many classes there are.
fn number_classes(prompts: &dyn FeatureSource) -> (Vec<usize>, usize) {
    let mut numbers = std::collections::HashMap::new();
    let class = |row| {
        let next = numbers.len();
        *numbers.entry(prompts.key(row).into_owned()).or_insert(next)
    };
    let classes: Vec<usize> = (0..prompts.rows()).map(class).collect();
    (classes, numbers.len())
}
