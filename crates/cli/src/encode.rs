//! `sail encode`.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Subcommand};
use sail_vl::core::{Dtype, ImagePooling, TextPooling};
use sail_vl::data::source::SourceOptions;
use sail_vl::device;
use sail_vl::extract::{ExtractOptions, Extraction, extract_images, extract_texts};
use serde_json::json;

use crate::encode_progress::EncodeProgress;
use crate::error::CliError;
use crate::named::named;
use crate::towers;

#[derive(Subcommand)]
pub(crate) enum EncodeCommand {
    /// Run every image through a vision model once and keep the features.
    Images(Box<ImagesArgs>),
    /// Run every caption through a text model once and keep the features.
    Texts(Box<TextsArgs>),
}

/// The model, and what is made with it.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The model: a folder, or its id on the hub.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    pub(crate) model: String,
    /// Branch, tag or commit of a model on the hub.
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// Number type that the model computes in.
    #[arg(long, value_parser = named::<Dtype>(), default_value = "f32")]
    pub(crate) precision: Dtype,
    /// Device to compute on.
    #[arg(long, default_value = "flex")]
    device: String,
}

/// What is read, what is written, and how much of it.
#[derive(Args)]
struct JobArgs {
    /// Column of the keys in a table.
    #[arg(long, value_name = "COLUMN")]
    key_column: Option<String>,
    /// Folder of the store to write.
    #[arg(long, value_name = "STORE")]
    out: String,
    /// Number type of the store: f16, bf16 or f32.
    #[arg(long, default_value = "f16")]
    dtype: String,
    /// Only the part I of N, for several machines; `sail store merge` joins the parts.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    part: String,
    /// Only the first records.
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// Continue the encoding in that folder.
    #[arg(long)]
    resume: bool,
    /// Make the first record that cannot be used an error instead of skipping it.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ImagesArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// How token states become one row [default: concat where the model has a class token, else its own].
    #[arg(long, value_parser = named::<ImagePooling>())]
    pub(crate) pooling: Option<ImagePooling>,
    /// Side of the square that images are resized to [default: as the model says].
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// The images: a folder, CSV, TSV, JSON lines, Parquet, WebDataset tars or COCO captions.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) input: String,
    /// Column of the images in a table: paths or bytes.
    #[arg(long, value_name = "COLUMN")]
    image_column: Option<String>,
    /// Folder that the paths in a table are relative to [default: the table's].
    #[arg(long, value_name = "FOLDER")]
    image_root: Option<PathBuf>,
    /// Images embedded at a time.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Args)]
pub(crate) struct TextsArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// How token states become one row [default: as the model says].
    #[arg(long, value_parser = named::<TextPooling>())]
    pub(crate) pooling: Option<TextPooling>,
    /// The captions: CSV, TSV, JSON lines, Parquet, WebDataset tars, COCO captions, or a text file.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) input: String,
    /// Column of the captions in a table; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    caption_column: Vec<String>,
    /// Captions that are sorted by length and embedded at a time.
    #[arg(long, default_value_t = 1024)]
    batch: usize,
    #[command(flatten)]
    job: JobArgs,
}

/// The source in one line: what a resume compares.
fn describe(input: &str, options: &SourceOptions) -> String {
    let mut text = input.trim_end_matches('/').to_owned();
    let named = [("key column", &options.key_column), ("image column", &options.image_column)];
    let named = named.into_iter().filter_map(|(what, name)| Some((what, name.as_ref()?)));
    for (what, name) in named.chain(options.caption_columns.iter().map(|column| ("caption column", column))) {
        text.push_str(&format!(", {what} {name}"));
    }
    if let Some(root) = &options.image_root {
        text.push_str(&format!(", images in {}", root.display()));
    }
    text
}

impl JobArgs {
    /// The options of the library, and nothing that can be wrong with the command left unsaid.
    fn options(&self, model: &ModelArgs, base: ExtractOptions) -> Result<ExtractOptions, CliError> {
        let options = ExtractOptions {
            dtype: self.dtype.parse()?,
            limit: self.limit,
            part: self.part.parse()?,
            settings: [("precision".to_owned(), model.precision.to_string())].into(),
            resume: self.resume,
            strict: self.strict,
            ..base
        };
        options.check_output(Path::new(&self.out))?;
        Ok(options)
    }

    fn report(&self, extraction: &Extraction) -> Result<(), CliError> {
        let Extraction { rows, skipped, dim, embedded, seconds } = *extraction;
        let rate = embedded as f64 / seconds.max(f64::MIN_POSITIVE);
        let store = self.out.trim_end_matches('/');
        let mut out = stdout().lock();
        if self.json {
            let result = json!({
                "rows": rows, "skipped": skipped, "dim": dim, "seconds": seconds, "rows_per_second": rate,
                "store": store,
            });
            writeln!(out, "{result}")?;
            return Ok(());
        }
        writeln!(out, "{rows} rows of {dim} numbers; {embedded} in {seconds:.1} s ({rate:.1} a second)")?;
        if skipped > 0 {
            writeln!(out, "{skipped} records skipped: {store}/skipped.jsonl says why")?;
        }
        writeln!(out, "store: {store}")?;
        Ok(())
    }
}

/// A flag that an interrupt sets.
pub(crate) fn interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let handle = stop.clone();
    // Where no handler can be set, an interrupt kills the process, which a resume survives as well.
    let _ = ctrlc::set_handler(move || handle.store(true, Ordering::Relaxed));
    stop
}

pub(crate) fn run(command: &EncodeCommand) -> Result<(), CliError> {
    match command {
        EncodeCommand::Images(args) => images(args),
        EncodeCommand::Texts(args) => texts(args),
    }
}

fn images(args: &ImagesArgs) -> Result<(), CliError> {
    let columns = SourceOptions {
        key_column: args.job.key_column.clone(),
        image_column: args.image_column.clone(),
        image_root: args.image_root.clone(),
        ..SourceOptions::default()
    };
    let base = ExtractOptions { block: args.batch, ..ExtractOptions::images() };
    let options = args.job.options(&args.model, base)?;
    let options = ExtractOptions { source: describe(&args.input, &columns), stop: interrupt(), ..options };
    let device = device::parse(&args.model.device)?;
    let source = towers::images(&args.input, &columns)?;
    let tower = towers::vision(args, &device)?;
    let out = Path::new(&args.job.out);
    let mut progress = EncodeProgress::new();
    args.job.report(&extract_images(&tower, source.as_ref(), out, &options, &mut progress)?)
}

fn texts(args: &TextsArgs) -> Result<(), CliError> {
    let columns = SourceOptions {
        key_column: args.job.key_column.clone(),
        caption_columns: args.caption_column.clone(),
        ..SourceOptions::default()
    };
    let base = ExtractOptions { block: args.batch, ..ExtractOptions::texts() };
    let options = args.job.options(&args.model, base)?;
    let options = ExtractOptions { source: describe(&args.input, &columns), stop: interrupt(), ..options };
    let device = device::parse(&args.model.device)?;
    let source = towers::captions(&args.input, &columns)?;
    let tower = towers::text(args, &device)?;
    let out = Path::new(&args.job.out);
    let mut progress = EncodeProgress::new();
    args.job.report(&extract_texts(&tower, source.as_ref(), out, &options, &mut progress)?)
}
