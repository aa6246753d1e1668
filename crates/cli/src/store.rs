//! `sail store`.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use sail_vl::core::FeatureSource;
use sail_vl::data::{DataError, EmbeddingStore};
use sail_vl::extract::{ExtractError, merge};
use serde_json::json;

use crate::error::CliError;
use crate::examples;
use crate::interrupt::{self, Saving};
use crate::output::print;
use crate::progress::{BYTES, ROWS, bar};
use crate::store_export::{self, ExportArgs};
use crate::store_select::{FilterArgs, SubsetArgs, filter, subset};
use crate::store_stats::{ShowArgs, StatsArgs, show, stats};

#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Merge the parts of an encoding into one store.
    #[command(after_long_help = examples::STORE_MERGE)]
    Merge(MergeArgs),
    /// Verify the checksums and keys of a store, and that every row is finite and not zero.
    #[command(after_long_help = examples::STORE_VERIFY)]
    Verify(StoreArgs),
    /// Print the size and origin of features, and their first rows.
    #[command(after_long_help = examples::STORE_SHOW)]
    Show(ShowArgs),
    /// Print statistics of features: norms, rows that cannot be used, repeated keys.
    #[command(after_long_help = examples::STORE_STATS)]
    Stats(StatsArgs),
    /// Write the rows with some keys to a new store.
    #[command(after_long_help = examples::STORE_FILTER)]
    Filter(FilterArgs),
    /// Write a random part of the keys, or a range of rows, to a new store.
    #[command(after_long_help = examples::STORE_SUBSET)]
    Subset(SubsetArgs),
    /// Write features for other programs: Parquet, NumPy, or the vectors that FAISS reads.
    #[command(after_long_help = examples::STORE_EXPORT)]
    Export(ExportArgs),
}

#[derive(Args)]
pub(crate) struct MergeArgs {
    /// The stores of all parts, in any order.
    #[arg(required = true, value_name = "PART")]
    parts: Vec<String>,
    /// Folder of the store to write.
    #[arg(long, value_name = "STORE")]
    out: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct StoreArgs {
    /// The store.
    store: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &StoreCommand) -> Result<(), CliError> {
    match command {
        StoreCommand::Merge(args) => run_merge(args),
        StoreCommand::Verify(args) => verify(args),
        StoreCommand::Show(args) => show(args),
        StoreCommand::Stats(args) => stats(args),
        StoreCommand::Filter(args) => filter(args),
        StoreCommand::Subset(args) => subset(args),
        StoreCommand::Export(args) => store_export::run(args),
    }
}

fn open(path: &str) -> Result<EmbeddingStore, CliError> {
    EmbeddingStore::open(path).map_err(|source| CliError::Input { spec: path.to_owned(), source })
}

fn run_merge(args: &MergeArgs) -> Result<(), CliError> {
    let out = Path::new(&args.out);
    if out.exists() {
        return Err(ExtractError::Exists { path: out.to_owned() }.into());
    }
    // Opened twice, because the bar needs the number of rows.
    let rows = args.parts.iter().map(|part| Ok(open(part)?.rows() as u64)).sum::<Result<u64, CliError>>()?;
    let bar = bar(rows, "merge", ROWS);
    let mut saving = None;
    let store = merge(&args.parts, out, |progress| {
        // What was written so far is removed.
        saving.get_or_insert_with(Saving::start);
        bar.set_position(progress.done);
        interrupt::flow()
    })
    .map_err(|error| match error {
        ExtractError::Store(DataError::Stopped) => CliError::CopyInterrupted,
        error => CliError::Merge(error),
    })?;
    bar.finish_and_clear();
    let out = args.out.trim_end_matches('/');
    print(args.json, &json!({"rows": store.rows(), "dim": store.dim(), "store": out}), |text| {
        writeln!(text, "{} rows of {} parts\nstore: {out}", store.rows(), args.parts.len())
    })
}

fn verify(args: &StoreArgs) -> Result<(), CliError> {
    let spec = &args.store;
    let store = open(spec)?;
    let bar = bar(store.bytes(), &format!("verify {spec}"), BYTES);
    let verified = store.verify(|progress| bar.set_position(progress.done));
    verified.map_err(|source| CliError::Input { spec: spec.clone(), source })?;
    bar.finish_and_clear();
    let (rows, shards, bytes) = (store.rows(), store.shards(), store.bytes());
    print(args.json, &json!({"rows": rows, "shards": shards, "bytes": bytes, "sound": true}), |out| {
        writeln!(out, "{spec} is valid: {rows} rows in {shards} files of {bytes} bytes")
    })
}
