//! `sail index`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytesize::ByteSize;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand as _};
use sail_vl::core::Named;
use sail_vl::data::source::{RecordSource, SourceOptions};
use sail_vl::search::{CodeKind, Index, IndexError, IndexModel, IndexSource, UpdateOptions, Updated, update};
use serde_json::json;

use crate::encode_progress::{EncodeProgress, show_passed_over};
use crate::error::CliError;
use crate::index_commands::{self, IndexCommand, error};
use crate::interrupt::stop_flag;
use crate::models::HeadArgs;
use crate::named::named;
use crate::objects;
use crate::output::print;
use crate::sources::{self, SourceArgs};
#[cfg(feature = "url")]
use crate::url_args::UrlArgs;

/// An update, or one of the other commands.
pub(crate) enum IndexArgs {
    Update(Box<UpdateArgs>),
    Other(IndexCommand),
}

// The derive has no optional arguments that are required together.
impl FromArgMatches for IndexArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_name() {
            Some(_) => IndexCommand::from_arg_matches(matches).map(Self::Other),
            None => UpdateArgs::from_arg_matches(matches).map(Box::new).map(Self::Update),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for IndexArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = IndexCommand::augment_subcommands(UpdateArgs::augment_args(command));
        command.args_conflicts_with_subcommands(true).subcommand_negates_reqs(true)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// What is indexed, and how.
#[derive(Args)]
pub(crate) struct UpdateArgs {
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
    /// Columns to filter by, texts, numbers or booleans, of the table of the captions if there is one, else of the source [default:
    /// those that the index has].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// Bits of a value in the codes that searches scan before they read embeddings: 1 (`bit`) or 8 (`int8`) [default: those of
    /// the index; `bit` in a new one].
    #[arg(long, value_name = "KIND", value_parser = named::<Codes>())]
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
    /// Build a graph for approximate search, for millions of images: a query visits some thousands of them instead of all. A new
    /// index then has int8 codes. Later updates keep the graph up to date.
    #[cfg(feature = "approximate")]
    #[arg(long)]
    approximate: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Codes(Option<CodeKind>);

impl Named for Codes {
    const ALL: &'static [Self] = &[Self(Some(CodeKind::Bit)), Self(Some(CodeKind::Int8)), Self(None)];

    fn name(self) -> &'static str {
        self.0.map_or("none", Named::name)
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
    match args {
        IndexArgs::Update(args) => args.run(),
        IndexArgs::Other(command) => index_commands::run(command),
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
        let model =
            IndexModel { encoders: self.model.encoders()?, ..model.index_model().map_err(CliError::Open)? };
        if self.dry_run {
            let records = images.count()?;
            let text = model.embedder.embed_texts(&["a photo"]);
            return self.print_plan(records, &text.map_err(error(&self.out))?);
        }
        let source = IndexSource {
            images: images.as_ref(),
            captions: captions.as_deref(),
            columns: columns.iter().map(|(name, source)| (name.clone(), source.as_ref())).collect(),
        };
        let updated = update(&self.out, &model, &source, &options, &mut EncodeProgress::labelled("index"));
        let updated = updated.map_err(error(&self.out))?;
        #[cfg(feature = "approximate")]
        self.build_graph(&options)?;
        self.print(&updated)
    }

    /// Builds the graph, or brings that of the index up to date.
    #[cfg(feature = "approximate")]
    fn build_graph(&self, options: &UpdateOptions) -> Result<(), CliError> {
        use crate::progress::{ROWS, bar};
        let index = match Index::open(&self.out) {
            Err(IndexError::NoImages { .. }) => return Ok(()),
            opened => opened.map_err(error(&self.out))?,
        };
        if !self.approximate && index.graph_path().is_none() {
            return Ok(());
        }
        let shown = bar(index.rows() as u64, "graph", ROWS);
        let config = sail_vl::search::GraphConfig::default();
        let built = index.build_graph(config, &options.stop, |report| {
            shown.set_length(report.total);
            shown.set_position(report.done);
        });
        shown.finish_and_clear();
        built.map_err(error(&self.out))
    }

    /// How the embeddings are to be quantized, if that was asked for.
    fn codes(&self) -> Option<Option<CodeKind>> {
        #[cfg(feature = "approximate")]
        if self.approximate && self.codes.is_none() {
            return Some(Some(CodeKind::Int8));
        }
        self.codes.map(|Codes(kind)| kind)
    }

    fn options(&self, source: &SourceOptions) -> Result<UpdateOptions, CliError> {
        let stop = stop_flag();
        Ok(UpdateOptions {
            block: self.batch,
            thumbnails: self.thumbnails.map(|Thumbnails(side)| side),
            codes: self.codes(),
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
        scalars: bool,
    ) -> Result<Box<dyn RecordSource<String>>, CliError> {
        let options =
            SourceOptions { caption_columns: columns.to_vec(), scalars, ..self.columns_of_source.options() };
        sources::captions(spec, &options)
    }

    fn open_columns(&self) -> Result<BTreeMap<String, Box<dyn RecordSource<String>>>, CliError> {
        let spec = self.captions.as_ref().unwrap_or(&self.source);
        let open = |name: &String| Ok((name.clone(), self.texts(spec, std::slice::from_ref(name), true)?));
        self.columns.iter().map(open).collect()
    }

    fn print_plan(&self, images: u64, embedding: &[Vec<f32>]) -> Result<(), CliError> {
        let dim = embedding.first().map_or(0, Vec::len);
        let before = match Index::open(&self.out) {
            Ok(index) => index.manifest().images(),
            Err(IndexError::NotAnIndex { .. } | IndexError::NoImages { .. }) => 0,
            Err(source) => return Err(error(&self.out)(source)),
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
