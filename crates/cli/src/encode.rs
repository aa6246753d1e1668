//! `sail encode`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sail_vl::core::{Dtype, ImagePooling, Provenance, TextPooling};
use sail_vl::data::source::{PassedOver, RecordSource, SourceOptions};
use sail_vl::extract::{ExtractOptions, Extraction, Part, extract_images_on, extract_texts_on};
use serde_json::json;

use crate::encode_plan::{Plan, image_dim, text_dim};
use crate::encode_progress::{EncodeProgress, show_passed_over};
use crate::error::CliError;
use crate::interrupt::stop_flag;
use crate::models::{ModelArgs, PromptArgs};
use crate::named::named;
use crate::objects::Output;
use crate::output::print;
use crate::sources::SourceArgs;
#[cfg(feature = "url")]
use crate::url_args::UrlArgs;
use crate::{examples, sources};

#[derive(Subcommand)]
pub(crate) enum EncodeCommand {
    /// Encode images with a vision model, into a store of one row each.
    #[command(after_long_help = examples::ENCODE_IMAGES)]
    Images(Box<ImagesArgs>),
    /// Encode captions with a text model, into a store of one row each.
    #[command(after_long_help = examples::ENCODE_TEXTS)]
    Texts(Box<TextsArgs>),
}

/// What is written, and how much of the source is encoded.
#[derive(Args)]
struct JobArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Folder of the store to write, or with object stores its URL, such as `s3://bucket/folder`.
    #[arg(long, value_name = "STORE")]
    out: String,
    /// Data type of the stored features.
    #[arg(long, value_name = "DTYPE", default_value = "f16", value_parser = named::<Dtype>())]
    dtype: Dtype,
    /// Encode part I of N only, to share the work among machines; `sail store merge` joins the parts.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    part: Part,
    /// Encode only the first records of the source.
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// Resume an interrupted encoding into the same store.
    #[arg(long)]
    resume: bool,
    /// Fail at the first record that cannot be encoded, instead of skipping it.
    #[arg(long)]
    strict: bool,
    /// Load the model and count the records, print what would be encoded, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ImagesArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// How token states are pooled into one row [default: `concat` if the model has a class token, else the model's
    /// own].
    #[arg(long, value_parser = named::<ImagePooling>())]
    pooling: Option<ImagePooling>,
    /// Side of the square that images are resized to [default: the model's].
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// The images: a folder, CSV, TSV, JSON lines, Parquet, WebDataset tars or COCO captions.
    #[arg(long, value_name = "SOURCE")]
    input: String,
    /// Folder that the paths in a table are relative to [default: the table's].
    #[arg(long, value_name = "FOLDER")]
    image_root: Option<PathBuf>,
    /// Batch size [default: 32, or with `--memory` as many as fit].
    #[arg(long, value_name = "IMAGES")]
    batch: Option<usize>,
    #[cfg(feature = "url")]
    #[command(flatten)]
    urls: UrlArgs,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Args)]
pub(crate) struct TextsArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// How token states are pooled into one row [default: the model's]. What the model applies to the pooled row (Dense,
    /// LayerNorm, Normalize) is applied to any pooling.
    #[arg(long, value_parser = named::<TextPooling>())]
    pooling: Option<TextPooling>,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Number of dimensions to keep, for models whose first dimensions are embeddings of their own (Matryoshka) [default: the
    /// model's, mostly all].
    #[arg(long, value_name = "DIMENSIONS")]
    truncate_dim: Option<usize>,
    /// The captions: CSV, TSV, JSON lines, Parquet, WebDataset tars, COCO captions, a text file, or a folder with a text
    /// file beside each image.
    #[arg(long, value_name = "SOURCE")]
    input: String,
    /// Column of the captions in a table, field of the JSON files in tars and folders, or text member of tars, such as
    /// `outputs.txt`; can be repeated.
    #[arg(long, value_name = "COLUMN")]
    caption_column: Vec<String>,
    /// Captions that are sorted by length and encoded together [default: 1024, or with `--memory` as many as fit].
    #[arg(long, value_name = "CAPTIONS")]
    batch: Option<usize>,
    #[command(flatten)]
    job: JobArgs,
}

impl JobArgs {
    /// Returns the checked options of the library.
    fn options(
        &self,
        input: &str,
        source: &SourceOptions,
        out: &Output,
        base: ExtractOptions,
    ) -> Result<ExtractOptions, CliError> {
        let options = ExtractOptions {
            dtype: self.dtype,
            limit: self.limit,
            part: self.part,
            source: sources::describe(input, source),
            settings: sources::settings(source).into_iter().collect(),
            resume: self.resume,
            strict: self.strict,
            threads: rayon::current_num_threads(),
            ..base
        };
        options.check_output(out.folder())?;
        Ok(options)
    }

    /// Reports that a store in an object store needs no work.
    fn report_complete(&self) -> Result<(), CliError> {
        print(self.json, &json!({"store": self.out, "embedded": 0}), |out| {
            writeln!(out, "the store was complete\nstore: {}", self.out)
        })
    }

    /// Prints what would be encoded: rows of a provenance and a dimension.
    fn print_plan<T>(
        &self,
        model: &ModelArgs,
        (provenance, dim): (Provenance, usize),
        source: &dyn RecordSource<T>,
        options: &ExtractOptions,
    ) -> Result<(), CliError> {
        let records = source.count().map_err(CliError::Data)?;
        let plan = Plan::new(provenance, dim, records, options, model.device.names().join(", "), &self.out);
        plan.passing_over(source.passed_over()?).print(self.json)
    }

    fn report(&self, extraction: &Extraction, passed_over: &PassedOver) -> Result<(), CliError> {
        let Extraction { rows, skipped, dim, embedded, seconds } = *extraction;
        let rate = embedded as f64 / seconds.max(f64::MIN_POSITIVE);
        let store = self.out.trim_end_matches('/');
        let result = json!({
            "rows": rows, "skipped": skipped, "dim": dim, "seconds": seconds, "rows_per_second": rate,
            "store": store, "passed_over": passed_over,
        });
        print(self.json, &result, |out| {
            match embedded {
                0 if self.resume => writeln!(out, "{rows} rows of dimension {dim}: the store was complete")?,
                _ => writeln!(
                    out,
                    "{rows} rows of dimension {dim}; {embedded} in {seconds:.1} s ({rate:.1} rows/s)"
                )?,
            }
            if skipped > 0 {
                let records = if skipped == 1 { "record" } else { "records" };
                writeln!(out, "{skipped} {records} skipped, see {store}/skipped.jsonl")?;
            }
            if !passed_over.is_empty() {
                writeln!(out, "passed over {passed_over}; see {store}/passed_over.json")?;
            }
            writeln!(out, "store: {store}")
        })
    }
}

pub(crate) fn run(command: &EncodeCommand) -> Result<(), CliError> {
    match command {
        EncodeCommand::Images(args) => images(args),
        EncodeCommand::Texts(args) => texts(args),
    }
}

fn batched(options: ExtractOptions, batch: Option<usize>) -> ExtractOptions {
    ExtractOptions { block: batch.unwrap_or(options.block), ..options }
}

fn images(args: &ImagesArgs) -> Result<(), CliError> {
    let ImagesArgs { model, job, .. } = args;
    let columns = SourceOptions { image_root: args.image_root.clone(), ..job.source.options() };
    let Some(out) = Output::new(&job.out, job.resume)? else { return job.report_complete() };
    let base = batched(ExtractOptions::images(), args.batch);
    let options = job.options(&args.input, &columns, &out, base)?;
    let options = ExtractOptions { stop: stop_flag(), ..options };
    #[cfg(feature = "url")]
    let options = ExtractOptions {
        urls: Some(args.urls.fetch(columns.max_image_bytes, options.stop.clone())?),
        ..options
    };
    let devices = model.device.open()?;
    let source = sources::images(&args.input, &columns)?;
    let towers = model.vision(args.pooling, args.size, &devices)?;
    let preferred = towers.first().and_then(|tower| tower.encoder.preferred_rows());
    let options = batched(options, args.batch.or(preferred));
    if job.dry_run
        && let Some(tower) = towers.first()
    {
        let plan = (tower.provenance(), image_dim(tower)?);
        return job.print_plan(model, plan, source.as_ref(), &options);
    }
    let passed_over = source.passed_over()?;
    show_passed_over("encode", &passed_over);
    let extraction =
        extract_images_on(&towers, source.as_ref(), out.folder(), &options, &mut EncodeProgress::new())?;
    out.finish()?;
    job.report(&extraction, &passed_over)
}

fn texts(args: &TextsArgs) -> Result<(), CliError> {
    let TextsArgs { model, job, .. } = args;
    let columns = SourceOptions { caption_columns: args.caption_column.clone(), ..job.source.options() };
    let Some(out) = Output::new(&job.out, job.resume)? else { return job.report_complete() };
    let base = batched(ExtractOptions::texts(), args.batch);
    let options = job.options(&args.input, &columns, &out, base)?;
    let options = ExtractOptions { stop: stop_flag(), ..options };
    let devices = model.device.open()?;
    let source = sources::captions(&args.input, &columns)?;
    let towers = model.text(args.pooling, &args.prompt, args.truncate_dim, &devices)?;
    let preferred = towers.first().and_then(|tower| tower.encoder.preferred_rows());
    let options = batched(options, args.batch.or(preferred));
    if job.dry_run
        && let Some(tower) = towers.first()
    {
        let plan = (tower.provenance(), text_dim(tower)?);
        return job.print_plan(model, plan, source.as_ref(), &options);
    }
    let passed_over = source.passed_over()?;
    show_passed_over("encode", &passed_over);
    let extraction =
        extract_texts_on(&towers, source.as_ref(), out.folder(), &options, &mut EncodeProgress::new())?;
    out.finish()?;
    job.report(&extraction, &passed_over)
}
