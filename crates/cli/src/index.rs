//! `sail index`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use sail_vl::core::{ConfigError, Named};
use sail_vl::data::source::{RecordSource, SourceOptions};
use sail_vl::search::{CodeKind, Index, IndexError, IndexSource, Manifest, UpdateOptions, Updated, update};
use serde_json::json;

use crate::encode_progress::{EncodeProgress, show_passed_over};
use crate::error::CliError;
use crate::interrupt::stop_flag;
use crate::models::HeadArgs;
use crate::output::print;
use crate::sources::{self, SourceArgs};
#[cfg(feature = "url")]
use crate::url_args::UrlArgs;
use crate::{examples, objects};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    command: Option<IndexCommand>,
    #[command(flatten)]
    update: Option<UpdateArgs>,
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Show the model, the size and the options of an index.
    #[command(after_long_help = examples::INDEX_SHOW)]
    Show(ShowArgs),
}

#[derive(Args)]
struct ShowArgs {
    /// The index.
    index: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is indexed, and how.
#[derive(Args)]
struct UpdateArgs {
    /// The images: a folder, CSV, TSV, JSON lines, Parquet, WebDataset tars or COCO captions.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Folder of the index. An index that exists is brought up to date with the source.
    #[arg(long, value_name = "INDEX")]
    out: PathBuf,
    #[command(flatten)]
    model: HeadArgs,
    #[command(flatten)]
    columns_of_source: SourceArgs,
    /// Folder that the paths in a table are relative to [default: the table's].
    #[arg(long, value_name = "FOLDER")]
    image_root: Option<PathBuf>,
    /// Captions to show with the images, of any kind that `sail encode texts` reads, with the same keys [default: those that
    /// the index has].
    #[arg(long, value_name = "SOURCE")]
    captions: Option<String>,
    /// Column of the captions; can be repeated.
    #[arg(long, value_name = "COLUMN", requires = "captions")]
    caption_column: Vec<String>,
    /// Columns to filter by, texts or integers, of the table of the captions if there is one, else of the source [default:
    /// those that the index has].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// How the embeddings are quantized for searches: `bit` (1 bit a value), `int8` (8 bits), `none` [default: that of the
    /// index; `bit` in a new one].
    #[arg(long, value_name = "KIND")]
    codes: Option<Codes>,
    /// Longer side of the thumbnails in pixels, or `none` [default: that of the index; 256 in a new one].
    #[arg(long, value_name = "PIXELS")]
    thumbnails: Option<Thumbnails>,
    /// Images that are embedded at once.
    #[arg(long, value_name = "IMAGES", default_value_t = 32)]
    batch: usize,
    /// Read all files again, even those whose size and modification time are unchanged.
    #[arg(long)]
    reread: bool,
    /// Allow an update that removes more than half of the images.
    #[arg(long)]
    prune: bool,
    /// Rewrite the files of the index into as few as possible, without the rows of removed images.
    #[arg(long)]
    compact: bool,
    #[cfg(feature = "url")]
    #[command(flatten)]
    urls: UrlArgs,
    /// Load the model and count the images, print what would be indexed, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A kind of codes, or none.
#[derive(Clone, Copy)]
struct Codes(Option<CodeKind>);

impl FromStr for Codes {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|kind| Self(Some(kind))) }
    }
}

/// A number of pixels, 0 for `none`.
#[derive(Clone, Copy)]
struct Thumbnails(u32);

impl FromStr for Thumbnails {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self(0)) } else { text.parse().map(Self) }
    }
}

pub(crate) fn run(args: &IndexArgs) -> Result<(), CliError> {
    match (&args.command, &args.update) {
        (Some(IndexCommand::Show(args)), _) => show(args),
        (None, Some(args)) => args.run(),
        (None, None) => Err(CliError::Usage("expected a source, or a command such as `show`".to_owned())),
    }
}

impl UpdateArgs {
    fn run(&self) -> Result<(), CliError> {
        let source_options =
            SourceOptions { image_root: self.image_root.clone(), ..self.columns_of_source.options() };
        let options = self.options(&source_options)?;
        let device = self.model.device()?;
        let images = sources::images(&self.source, &source_options)?;
        let captions = self.captions.as_ref().map(|spec| self.texts(spec, &self.caption_column, false));
        let captions = captions.transpose()?;
        let columns = self.open_columns()?;
        let model = self.model.open(&device)?.with_batch(self.batch).map_err(CliError::Open)?;
        let passed_over = images.passed_over()?;
        show_passed_over("index", &passed_over);
        let model = model.index_model().map_err(CliError::Open)?;
        if self.dry_run {
            let records = images.count()?;
            return self
                .print_plan(records, &model.embedder.embed_texts(&["a photo"]).map_err(self.error())?);
        }
        let source = IndexSource {
            images: images.as_ref(),
            captions: captions.as_deref(),
            columns: columns.iter().map(|(name, source)| (name.clone(), source.as_ref())).collect(),
        };
        let updated = update(&self.out, &model, &source, &options, &mut EncodeProgress::labelled("index"));
        self.print(&updated.map_err(self.error())?)
    }

    fn options(&self, source: &SourceOptions) -> Result<UpdateOptions, CliError> {
        let stop = stop_flag();
        Ok(UpdateOptions {
            block: self.batch,
            thumbnails: self.thumbnails.map(|Thumbnails(side)| side),
            codes: self.codes.map(|Codes(kind)| kind),
            root: Some(root(&self.source, source)?),
            reread: self.reread,
            prune: self.prune,
            compact: self.compact,
            threads: rayon::current_num_threads(),
            #[cfg(feature = "url")]
            urls: Some(self.urls.fetch(source.max_image_bytes, stop.clone())?),
            stop,
            ..UpdateOptions::default()
        })
    }

    fn texts(
        &self,
        spec: &str,
        columns: &[String],
        integers: bool,
    ) -> Result<Box<dyn RecordSource<String>>, CliError> {
        let options =
            SourceOptions { caption_columns: columns.to_vec(), integers, ..self.columns_of_source.options() };
        sources::captions(spec, &options)
    }

    fn open_columns(&self) -> Result<BTreeMap<String, Box<dyn RecordSource<String>>>, CliError> {
        let spec = self.captions.as_ref().unwrap_or(&self.source);
        let open = |name: &String| Ok((name.clone(), self.texts(spec, std::slice::from_ref(name), true)?));
        self.columns.iter().map(open).collect()
    }

    fn error<E: Into<IndexError>>(&self) -> impl Fn(E) -> CliError {
        |error| match error.into() {
            IndexError::Config(error) => error.into(),
            IndexError::Stopped { done, records } => CliError::TaskInterrupted { done, records },
            source => CliError::Index { path: self.out.clone(), source },
        }
    }

    fn print_plan(&self, images: u64, embedding: &[Vec<f32>]) -> Result<(), CliError> {
        let dim = embedding.first().map_or(0, Vec::len);
        let before = match Index::open(&self.out) {
            Ok(index) => index.manifest().images(),
            Err(IndexError::NotAnIndex { .. } | IndexError::NoImages { .. }) => 0,
            Err(error) => return Err(self.error()(error)),
        };
        let bytes = images * 2 * dim as u64;
        let index = self.out.display().to_string();
        let plan = json!({
            "index": index, "source": self.source, "images": images, "indexed": before, "dim": dim, "bytes": bytes,
        });
        print(self.json, &plan, |out| {
            writeln!(out, "source      {}", self.source)?;
            writeln!(out, "images      {images}; {before} are in the index")?;
            writeln!(out, "embeddings  {dim} values in f16 each, {}", ByteSize(bytes))?;
            writeln!(out, "index       {index} (dry run: nothing was written)")
        })
    }

    fn print(&self, updated: &Updated) -> Result<(), CliError> {
        let Updated { images, unchanged, added, changed, moved, removed, skipped, embedded, seconds, .. } =
            *updated;
        let index = self.out.display().to_string();
        let result = json!({
            "index": index, "images": images, "unchanged": unchanged, "added": added, "changed": changed,
            "moved": moved, "removed": removed, "skipped": skipped, "embedded": embedded, "noted": updated.noted,
            "seconds": seconds,
        });
        print(self.json, &result, |out| {
            writeln!(
                out,
                "{images} images: {added} added, {changed} changed, {moved} moved, {removed} removed, {unchanged} unchanged"
            )?;
            if embedded > 0 {
                let rate = embedded as f64 / seconds.max(f64::MIN_POSITIVE);
                writeln!(out, "{embedded} embedded in {seconds:.1} s ({rate:.1} images/s)")?;
            }
            if updated.noted > 0 {
                writeln!(out, "{} with captions or columns", updated.noted)?;
            }
            if skipped > 0 {
                writeln!(out, "{skipped} skipped, see {}", self.out.join("skipped.jsonl").display())?;
            }
            writeln!(out, "index: {index}")
        })
    }
}

/// The folder that the files of a source are in.
fn root(source: &str, options: &SourceOptions) -> Result<PathBuf, CliError> {
    let local = objects::local(source)?;
    let path = Path::new(&*local);
    let folder = match &options.image_root {
        Some(root) => root.as_path(),
        None if path.is_dir() => path,
        None => sail_support::parent_folder(path),
    };
    Ok(std::path::absolute(folder)?)
}

fn show(args: &ShowArgs) -> Result<(), CliError> {
    let index =
        Index::open(&args.index).map_err(|source| CliError::Index { path: args.index.clone(), source })?;
    let manifest = index.manifest();
    let bytes: u64 = manifest.segments.iter().map(|segment| segment.bytes).sum();
    let result =
        json!({"images": manifest.images(), "rows": index.rows(), "bytes": bytes, "manifest": manifest});
    print(args.json, &result, |out| write(out, manifest, bytes))
}

fn write(out: &mut impl Write, manifest: &Manifest, bytes: u64) -> std::io::Result<()> {
    let removed = manifest.rows() - manifest.images();
    let identity = &manifest.identity;
    writeln!(out, "images      {}", manifest.images())?;
    writeln!(
        out,
        "rows        {} in {} segments, {removed} removed",
        manifest.rows(),
        manifest.segments.len()
    )?;
    writeln!(out, "size        {}", ByteSize(bytes))?;
    writeln!(out, "embeddings  {} values in f16 each", manifest.dim)?;
    writeln!(out, "codes       {}", manifest.codes.map_or("none", Named::name))?;
    let thumbnails = manifest.thumbnails.map_or("none".to_owned(), |side| format!("{side} pixels"));
    writeln!(out, "thumbnails  {thumbnails}")?;
    writeln!(out, "vision      {}", identity.vision)?;
    writeln!(out, "text        {}", identity.text)?;
    writeln!(out, "head        SHA-256 {}", identity.head_sha256)?;
    if let Some(root) = &manifest.root {
        writeln!(out, "files in    {root}")?;
    }
    if !manifest.columns.is_empty() {
        writeln!(out, "columns     {}", manifest.columns.join(", "))?;
    }
    if !manifest.complete {
        writeln!(out, "unfinished  the last update was interrupted: run it again to continue")?;
    }
    Ok(())
}
