//! `sail encode`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sail_vl::core::{ImagePooling, Layer, Provenance, StoreDtype, TextPooling};
use sail_vl::data::source::{PassedOver, RecordSource, SourceOptions};
use sail_vl::extract::{ExtractOptions, Extraction, Part, extract_image_layers, extract_text_layers};
use serde_json::json;

use crate::encode_plan::{Plan, image_dims, text_dims};
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
    /// Layers whose states are encoded, in one pass of the model: `last`, or `-N` for the N-th states from the end, without
    /// the final norm. `--out` is then a folder of stores named `last` and `minus-N`.
    #[arg(long, value_name = "LAYER,...", value_delimiter = ',', allow_hyphen_values = true)]
    layers: Vec<Layer>,
    /// Data type of the stored features; `int8` has a scale for each token, or for each pooled row.
    #[arg(long, value_name = "DTYPE", default_value = "f16", value_parser = named::<StoreDtype>())]
    dtype: StoreDtype,
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
    /// How token states are pooled into one row, or `tokens` for a row of all of them [default: `concat` if the model has a
    /// class token, else the model's own].
    #[arg(long, value_parser = named::<ImagePooling>())]
    pooling: Option<ImagePooling>,
    /// Side of the square that images are resized to [default: the model's].
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// The images: a folder, CSV, TSV, JSON lines, Parquet, WebDataset tars or COCO captions.
    #[arg(long, value_name = "SOURCE")]
    input: String,
    /// Merge the adapters of a head, trained with `sail train --lora-image`, into the model: the features for that head.
    #[arg(long, value_name = "HEAD")]
    adapter: Option<PathBuf>,
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
    /// Returns the stores to write, without those in object stores that are complete.
    fn stores(&self) -> Result<Vec<Store>, CliError> {
        let out = self.out.trim_end_matches('/');
        let named = match &self.layers[..] {
            [] => vec![(Layer::Last, out.to_owned())],
            layers => layers.iter().map(|layer| (*layer, format!("{out}/{}", layer_name(*layer)))).collect(),
        };
        let mut stores = Vec::with_capacity(named.len());
        for (layer, name) in named {
            if let Some(output) = Output::new(&name, self.resume)? {
                stores.push(Store { layer, name, output });
            }
        }
        Ok(stores)
    }

    /// Returns the checked options of the library.
    fn options(
        &self,
        input: &str,
        source: &SourceOptions,
        stores: &[Store],
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
        for store in stores {
            options.check_output(store.output.folder())?;
        }
        Ok(options)
    }

    /// Reports that stores in an object store need no work.
    fn report_complete(&self) -> Result<(), CliError> {
        print(self.json, &json!({"store": self.out, "embedded": 0}), |out| {
            writeln!(out, "the store was complete\nstore: {}", self.out)
        })
    }

    /// Prints what would be encoded: rows of a provenance and a dimension.
    fn print_plan<T>(
        &self,
        model: &ModelArgs,
        (provenance, dims): (Provenance, Vec<usize>),
        source: &dyn RecordSource<T>,
        options: &ExtractOptions,
    ) -> Result<(), CliError> {
        let records = source.count().map_err(CliError::Data)?;
        let devices = model.device.names().join(", ");
        let plan = Plan::new(provenance, (&self.layers, dims), records, options, devices, &self.out);
        plan.passing_over(source.passed_over()?).print(self.json)
    }

    fn report(
        &self,
        stores: &[Store],
        extractions: &[Extraction],
        passed_over: &PassedOver,
    ) -> Result<(), CliError> {
        let of_store = |(store, extraction): (&Store, &Extraction)| {
            let Extraction { rows, skipped, dim, seconds, .. } = *extraction;
            json!({
                "rows": rows, "skipped": skipped, "dim": dim, "seconds": seconds, "rows_per_second": rate(extraction),
                "store": store.name, "passed_over": passed_over,
            })
        };
        let mut results: Vec<_> = stores.iter().zip(extractions).map(of_store).collect();
        let result = match (self.layers.is_empty(), results.pop()) {
            (true, Some(result)) => result,
            (_, last) => json!({"stores": results.into_iter().chain(last).collect::<Vec<_>>()}),
        };
        print(self.json, &result, |out| {
            for (Store { name, .. }, extraction) in stores.iter().zip(extractions) {
                let Extraction { rows, skipped, dim, embedded, seconds } = *extraction;
                match embedded {
                    0 if self.resume => {
                        writeln!(out, "{rows} rows of dimension {dim}: the store was complete")?;
                    }
                    _ => writeln!(
                        out,
                        "{rows} rows of dimension {dim}; {embedded} in {seconds:.1} s ({:.1} rows/s)",
                        rate(extraction)
                    )?,
                }
                if skipped > 0 {
                    let records = if skipped == 1 { "record" } else { "records" };
                    writeln!(out, "{skipped} {records} skipped, see {name}/skipped.jsonl")?;
                }
                if !passed_over.is_empty() {
                    writeln!(out, "passed over {passed_over}; see {name}/passed_over.json")?;
                }
                writeln!(out, "store: {name}")?;
            }
            Ok(())
        })
    }
}

/// A store to write.
struct Store {
    layer: Layer,
    /// Its folder or URL.
    name: String,
    output: Output,
}

impl Store {
    fn folder(&self) -> (Layer, PathBuf) {
        (self.layer, self.output.folder().to_owned())
    }
}

/// The name of the store of a layer. One that begins with `-` would look like an option.
fn layer_name(layer: Layer) -> String {
    match layer {
        Layer::Last => layer.to_string(),
        Layer::FromEnd(n) => format!("minus-{n}"),
    }
}

/// Rows per second.
fn rate(extraction: &Extraction) -> f64 {
    extraction.embedded as f64 / extraction.seconds.max(f64::MIN_POSITIVE)
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
    let stores = job.stores()?;
    if stores.is_empty() {
        return job.report_complete();
    }
    let layers: Vec<Layer> = stores.iter().map(|store| store.layer).collect();
    let base = batched(ExtractOptions::images(), args.batch);
    let options = job.options(&args.input, &columns, &stores, base)?;
    let options = ExtractOptions { stop: stop_flag(), ..options };
    #[cfg(feature = "url")]
    let options = ExtractOptions {
        urls: Some(args.urls.fetch(columns.max_image_bytes, options.stop.clone())?),
        ..options
    };
    let devices = model.device.open()?;
    let source = sources::images(&args.input, &columns)?;
    let towers = model.vision(args.pooling, args.size, args.adapter.as_deref(), &devices)?;
    let preferred = towers.first().and_then(|tower| tower.encoder.preferred_rows());
    let options = batched(options, args.batch.or(preferred));
    if job.dry_run
        && let Some(tower) = towers.first()
    {
        let plan = (tower.provenance(), image_dims(tower, &layers)?);
        return job.print_plan(model, plan, source.as_ref(), &options);
    }
    let passed_over = source.passed_over()?;
    show_passed_over("encode", &passed_over);
    let folders: Vec<_> = stores.iter().map(Store::folder).collect();
    let extractions =
        extract_image_layers(&towers, source.as_ref(), &folders, &options, &mut EncodeProgress::new())?;
    for store in &stores {
        store.output.finish()?;
    }
    job.report(&stores, &extractions, &passed_over)
}

fn texts(args: &TextsArgs) -> Result<(), CliError> {
    let TextsArgs { model, job, .. } = args;
    let columns = SourceOptions { caption_columns: args.caption_column.clone(), ..job.source.options() };
    let stores = job.stores()?;
    if stores.is_empty() {
        return job.report_complete();
    }
    let layers: Vec<Layer> = stores.iter().map(|store| store.layer).collect();
    let base = batched(ExtractOptions::texts(), args.batch);
    let options = job.options(&args.input, &columns, &stores, base)?;
    let options = ExtractOptions { stop: stop_flag(), ..options };
    let devices = model.device.open()?;
    let source = sources::captions(&args.input, &columns)?;
    let towers = model.text(args.pooling, &args.prompt, args.truncate_dim, &devices)?;
    let preferred = towers.first().and_then(|tower| tower.encoder.preferred_rows());
    let options = batched(options, args.batch.or(preferred));
    if job.dry_run
        && let Some(tower) = towers.first()
    {
        let plan = (tower.provenance(), text_dims(tower, &layers)?);
        return job.print_plan(model, plan, source.as_ref(), &options);
    }
    let passed_over = source.passed_over()?;
    show_passed_over("encode", &passed_over);
    let folders: Vec<_> = stores.iter().map(Store::folder).collect();
    let extractions =
        extract_text_layers(&towers, source.as_ref(), &folders, &options, &mut EncodeProgress::new())?;
    for store in &stores {
        store.output.finish()?;
    }
    job.report(&stores, &extractions, &passed_over)
}
