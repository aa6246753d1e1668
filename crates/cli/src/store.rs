//! `sail store`.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use sail_vl::core::FeatureSource;
use sail_vl::data::{EmbeddingStore, scan};
use sail_vl::extract::{ExtractError, merge};
use serde_json::json;

use crate::error::CliError;
use crate::examples;
use crate::output::print;
use crate::progress::{ROWS, bar};

/// Keys that are shown.
const KEYS: usize = 5;

#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Merge the parts of an encoding into one store.
    #[command(after_long_help = examples::STORE_MERGE)]
    Merge(MergeArgs),
    /// Verify the checksums of a store, and that every row is finite and not zero.
    #[command(after_long_help = examples::STORE_VERIFY)]
    Verify(StoreArgs),
    /// Print the size, origin and first keys of a store.
    #[command(after_long_help = examples::STORE_SHOW)]
    Show(StoreArgs),
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
    let store =
        merge(&args.parts, out, |progress| bar.set_position(progress.done)).map_err(CliError::Merge)?;
    bar.finish_and_clear();
    let out = args.out.trim_end_matches('/');
    print(args.json, &json!({"rows": store.rows(), "dim": store.dim(), "store": out}), |text| {
        writeln!(text, "{} rows of {} parts\nstore: {out}", store.rows(), args.parts.len())
    })
}

fn verify(args: &StoreArgs) -> Result<(), CliError> {
    let spec = &args.store;
    let store = open(spec)?;
    let bar = bar(store.rows() as u64, &format!("verify {spec}"), ROWS);
    store.verify(|_bytes| ()).map_err(|source| CliError::Input { spec: spec.clone(), source })?;
    let scanned = scan(&store, |progress| bar.set_position(progress.done));
    scanned.map_err(|source| CliError::Features { spec: spec.clone(), source })?;
    bar.finish_and_clear();
    let (rows, shards, bytes) = (store.rows(), store.shards(), store.bytes());
    print(args.json, &json!({"rows": rows, "shards": shards, "bytes": bytes, "sound": true}), |out| {
        writeln!(out, "{spec} is valid: {rows} rows in {shards} files of {bytes} bytes")
    })
}

fn show(args: &StoreArgs) -> Result<(), CliError> {
    let store = open(&args.store)?;
    let keys: Vec<_> = (0..store.rows().min(KEYS)).map(|row| store.key(row).into_owned()).collect();
    let provenance = store.provenance();
    let shown = json!({
        "modality": store.modality(), "rows": store.rows(), "dim": store.dim(), "dtype": store.dtype(),
        "bytes": store.bytes(), "shards": store.shards(), "provenance": provenance, "keys": keys,
    });
    print(args.json, &shown, |out| {
        writeln!(out, "modality    {}", store.modality())?;
        writeln!(out, "rows        {} of dimension {} in {}", store.rows(), store.dim(), store.dtype())?;
        writeln!(out, "files       {} of {} bytes", store.shards(), store.bytes())?;
        if let Some(provenance) = provenance {
            for (name, value) in provenance.fields() {
                writeln!(out, "{name:<11} {value}")?;
            }
        }
        let more = if store.rows() > KEYS { ", ..." } else { "" };
        writeln!(out, "keys        {}{more}", keys.join(", "))
    })
}
