//! `sail store`.

use std::io::{Write, stdout};
use std::path::Path;

use clap::{Args, Subcommand};
use sail_vl::core::FeatureSource;
use sail_vl::data::{EmbeddingStore, scan};
use sail_vl::extract::{ExtractError, merge};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::inputs;

/// How many keys are shown.
const KEYS: usize = 5;

#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Join the parts of an encoding into one store.
    Merge(MergeArgs),
    /// Read a store from end to end: checksums, and rows that cannot be used.
    Verify(StoreArgs),
    /// Print what a store holds.
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
        StoreCommand::Merge(args) => join(args),
        StoreCommand::Verify(args) => verify(args),
        StoreCommand::Show(args) => show(args),
    }
}

fn open(path: &str) -> Result<EmbeddingStore, CliError> {
    EmbeddingStore::open(path).map_err(|source| CliError::Input { spec: path.to_owned(), source })
}

fn join(args: &MergeArgs) -> Result<(), CliError> {
    let out = Path::new(&args.out);
    if out.exists() {
        return Err(ExtractError::Exists { path: out.to_owned() }.into());
    }
    // Opened twice: the number of rows is what a bar shows.
    let rows = args.parts.iter().map(|part| Ok(open(part)?.rows() as u64)).sum::<Result<u64, CliError>>()?;
    let bar = inputs::bar(rows, "merges", inputs::ROWS);
    let store =
        merge(&args.parts, out, |progress| bar.set_position(progress.done)).map_err(CliError::Merge)?;
    bar.finish_and_clear();
    let out = args.out.trim_end_matches('/');
    print(args.json, &json!({"rows": store.rows(), "dim": store.dim(), "store": out}), || {
        format!("{} rows of {} parts\nstore: {out}", store.rows(), args.parts.len())
    })
}

fn verify(args: &StoreArgs) -> Result<(), CliError> {
    let spec = &args.store;
    let store = open(spec)?;
    let bar = inputs::bar(store.rows() as u64, &format!("checks {spec}"), inputs::ROWS);
    store.verify(|_| ()).map_err(|source| CliError::Input { spec: spec.clone(), source })?;
    let scanned = scan(&store, |progress| bar.set_position(progress.done));
    scanned.map_err(|source| CliError::Features { spec: spec.clone(), source })?;
    bar.finish_and_clear();
    let (rows, shards, bytes) = (store.rows(), store.shards(), store.bytes());
    print(args.json, &json!({"rows": rows, "shards": shards, "bytes": bytes, "sound": true}), || {
        format!("{spec} is sound: {rows} rows in {shards} files of {bytes} bytes")
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
    print(args.json, &shown, || {
        let mut lines = vec![
            format!("modality    {}", store.modality()),
            format!("rows        {} of {} numbers in {}", store.rows(), store.dim(), store.dtype()),
            format!("files       {} of {} bytes", store.shards(), store.bytes()),
        ];
        if let Some(provenance) = provenance {
            let fields = [
                ("model", Some(&provenance.model)),
                ("revision", provenance.revision.as_ref()),
                ("weights", provenance.weights_sha256.as_ref()),
                ("input", provenance.preprocessing.as_ref()),
                ("pooling", provenance.pooling.as_ref()),
            ];
            let known = fields.into_iter().filter_map(|(name, value)| Some(format!("{name:<11} {}", value?)));
            lines.extend(known);
        }
        let more = if store.rows() > KEYS { ", ..." } else { "" };
        lines.push(format!("keys        {}{more}", keys.join(", ")));
        lines.join("\n")
    })
}

/// Prints a result as JSON or for people.
fn print(as_json: bool, value: &Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
    let mut out = stdout().lock();
    if as_json {
        writeln!(out, "{value}")?
    } else {
        writeln!(out, "{}", text())?
    }
    Ok(())
}
