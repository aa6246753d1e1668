//! `sail store show` and `sail store stats`.

use std::io::{self, Write};

use clap::Args;
use sail_vl::core::FeatureSource;
use sail_vl::data::{Features, statistics};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::inputs::open_any;
use crate::output::print;
use crate::progress::{ROWS, bar};

/// Values of a row that are shown.
const VALUES: usize = 6;

#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The features: a store, FILE.safetensors or FILE.safetensors:TENSOR.
    #[arg(value_name = "FEATURES")]
    features: String,
    /// Number of rows to show.
    #[arg(long, default_value_t = 5)]
    rows: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct StatsArgs {
    /// The features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as one.
    #[arg(value_name = "FEATURES")]
    features: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The number of files and their size, which only stores record.
fn files(features: &Features) -> Option<(usize, u64)> {
    match features {
        Features::Store(store) => Some((store.shards(), store.bytes())),
        _ => None,
    }
}

fn describe(features: &Features) -> Value {
    let files = files(features);
    json!({
        "modality": features.modality(), "rows": features.rows(), "dim": features.dim(), "dtype": features.dtype(),
        "bytes": files.map(|(_, bytes)| bytes), "shards": files.map(|(shards, _)| shards),
        "provenance": features.provenance(),
    })
}

fn write_description(out: &mut impl Write, features: &Features) -> io::Result<()> {
    let modality = features.modality().map_or("unknown".to_owned(), |modality| modality.to_string());
    writeln!(out, "modality    {modality}")?;
    writeln!(out, "rows        {} of dimension {} in {}", features.rows(), features.dim(), features.dtype())?;
    if let Some((shards, bytes)) = files(features) {
        writeln!(out, "files       {shards} of {bytes} bytes")?;
    }
    for (name, value) in features.provenance().iter().flat_map(|provenance| provenance.fields()) {
        writeln!(out, "{name:<11} {value}")?;
    }
    Ok(())
}

pub(crate) fn show(args: &ShowArgs) -> Result<(), CliError> {
    let features = open_any(&args.features)?;
    let failed = |source| CliError::Features { spec: args.features.clone(), source };
    let rows: Vec<usize> = (0..features.rows().min(args.rows)).collect();
    let dim = features.dim();
    let mut values = vec![0.0; rows.len() * dim];
    let keys = features.keys(&rows).map_err(failed)?;
    features.gather(&rows, &mut values).map_err(failed)?;
    let first = |row: usize| &values[row * dim..][..dim.min(VALUES)];
    let mut shown = describe(&features);
    shown["keys"] = keys.clone().into();
    shown["values"] = rows.iter().map(|&row| json!(first(row))).collect();
    print(args.json, &shown, |out| {
        write_description(out, &features)?;
        for (row, key) in keys.iter().enumerate() {
            let values: Vec<String> = first(row).iter().map(|value| format!("{value:.4}")).collect();
            let more = if dim > VALUES { ", ..." } else { "" };
            writeln!(out, "{key}: {}{more}", values.join(", "))?;
        }
        match features.rows() - rows.len() {
            0 => Ok(()),
            more => writeln!(out, "... and {more} more rows"),
        }
    })
}

pub(crate) fn stats(args: &StatsArgs) -> Result<(), CliError> {
    let features = open_any(&args.features)?;
    let bar = bar(features.rows() as u64, "read", ROWS);
    let found = statistics(&features, |progress| bar.set_position(progress.done));
    let found = found.map_err(|source| CliError::Features { spec: args.features.clone(), source })?;
    bar.finish_and_clear();
    let mut result = describe(&features);
    if let (Value::Object(fields), Value::Object(more)) = (&mut result, serde_json::to_value(&found)?) {
        fields.extend(more);
    }
    print(args.json, &result, |out| {
        write_description(out, &features)?;
        match found.norms {
            Some(norms) => writeln!(
                out,
                "norms       {:.4} to {:.4}, {:.4} on average",
                norms.min, norms.max, norms.mean
            )?,
            None => writeln!(out, "norms       no row is finite")?,
        }
        writeln!(out, "not finite  {} rows ({})", found.not_finite.count, found.not_finite)?;
        writeln!(out, "zeros       {} rows ({})", found.zeros.count, found.zeros)?;
        match found.distinct_keys {
            None => writeln!(out, "keys        none: rows pair by position"),
            Some(keys) => {
                let (count, sample) = (found.repeated_keys.count, &found.repeated_keys);
                writeln!(out, "keys        {keys} different; {count} rows repeat one ({sample})")
            }
        }
    })
}
