//! `sail index show`, `verify` and `merge`.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use sail_vl::core::Named;
use sail_vl::search::{Index, IndexError, Manifest, merge};
use serde_json::json;

use crate::error::CliError;
use crate::examples;
use crate::interrupt::{self, Saving};
use crate::output::print;
use crate::progress::{ROWS, bar};

#[derive(Subcommand)]
pub(crate) enum IndexCommand {
    /// Show the model, the size and the options of an index.
    #[command(after_long_help = examples::INDEX_SHOW)]
    Show(IndexPath),
    /// Verify the checksums of an index, and that all of it can be read.
    #[command(after_long_help = examples::INDEX_VERIFY)]
    Verify(IndexPath),
    /// Merge indexes of different images, made with the same model, into one.
    #[command(after_long_help = examples::INDEX_MERGE)]
    Merge(MergeArgs),
}

#[derive(Args)]
pub(crate) struct IndexPath {
    /// The index.
    index: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl IndexPath {
    fn open(&self) -> Result<Index, CliError> {
        Index::open(&self.index).map_err(error(&self.index))
    }
}

#[derive(Args)]
pub(crate) struct MergeArgs {
    /// The indexes, in the order of their images.
    #[arg(required = true, value_name = "INDEX")]
    parts: Vec<PathBuf>,
    /// Folder of the index to write.
    #[arg(long, value_name = "INDEX")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &IndexCommand) -> Result<(), CliError> {
    match command {
        IndexCommand::Show(args) => show(args),
        IndexCommand::Verify(args) => verify(args),
        IndexCommand::Merge(args) => run_merge(args),
    }
}

fn verify(args: &IndexPath) -> Result<(), CliError> {
    let index = args.open()?;
    let name = args.index.display().to_string();
    let bar = bar(index.rows() as u64, &format!("verify {name}"), ROWS);
    index.verify(|progress| bar.set_position(progress.done)).map_err(error(&args.index))?;
    bar.finish_and_clear();
    let (rows, images) = (index.rows(), index.live().len());
    print(args.json, &json!({"index": name, "rows": rows, "images": images, "sound": true}), |out| {
        writeln!(out, "{name} is valid: {rows} rows, {images} images")
    })
}

fn run_merge(args: &MergeArgs) -> Result<(), CliError> {
    let mut saving = None;
    let bar = bar(0, "merge", ROWS);
    let merged = merge(&args.parts, &args.out, |progress| {
        // What was written so far is removed.
        saving.get_or_insert_with(Saving::start);
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        interrupt::flow()
    });
    let merged = merged.map_err(error(&args.out))?;
    bar.finish_and_clear();
    let (images, out) = (merged.live().len(), args.out.display().to_string());
    print(args.json, &json!({"images": images, "index": out}), |text| {
        writeln!(text, "{images} images of {} indexes\nindex: {out}", args.parts.len())
    })
}

fn show(args: &IndexPath) -> Result<(), CliError> {
    let index = args.open()?;
    let manifest = index.manifest();
    let bytes: u64 = manifest.segments.iter().map(|segment| segment.bytes).sum();
    let graph = index.graph_path().map(std::fs::metadata).transpose()?.map(|file| file.len());
    let result = json!({
        "images": manifest.images(), "rows": index.rows(), "bytes": bytes, "graph_bytes": graph, "manifest": manifest,
    });
    print(args.json, &result, |out| {
        write(out, manifest, bytes)?;
        graph.map_or(Ok(()), |bytes| writeln!(out, "graph       {}", ByteSize(bytes)))
    })
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

/// Adds the path of the index.
pub(crate) fn error<E: Into<IndexError>>(path: &Path) -> impl Fn(E) -> CliError {
    move |error| match error.into() {
        IndexError::Config(error) => error.into(),
        IndexError::Stopped { done, records } => CliError::TaskInterrupted { done, records },
        #[cfg(feature = "approximate")]
        IndexError::Graph(sail_vl::search::GraphError::Stopped { done, rows }) => {
            CliError::TaskInterrupted { done: done as u64, records: rows as u64 }
        }
        error if error.is_stopped() => CliError::CopyInterrupted,
        source => CliError::Index { path: path.into(), source },
    }
}
