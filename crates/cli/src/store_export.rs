//! `sail store export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use sail_vl::core::{FeatureSource, Named};
use sail_vl::data::{DataError, ExportFormat, export};
use serde_json::json;

use crate::error::CliError;
use crate::inputs::open_any;
use crate::interrupt::{self, Saving};
use crate::named::named;
use crate::output::print;
use crate::progress::{ROWS, bar};

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as one.
    #[arg(value_name = "FEATURES")]
    features: String,
    /// File to write. The keys of a format without keys are written beside it, as NAME.keys.txt.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The format [default: by the end of the file's name].
    #[arg(long, value_name = "FORMAT", value_parser = named::<ExportFormat>())]
    format: Option<ExportFormat>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let format = args.format.map_or_else(|| by_extension(&args.out), Ok)?;
    if args.out.exists() {
        let message = format!("{} exists already: choose another file, or remove it", args.out.display());
        return Err(CliError::Usage(message));
    }
    let features = open_any(&args.features)?;
    let bar = bar(features.rows() as u64, "export", ROWS);
    // What was written so far is removed.
    let saving = Saving::start();
    let written = export(&features, &args.out, format, |rows| {
        bar.inc(rows);
        interrupt::flow()
    });
    let written = written.map_err(|error| match error {
        DataError::Stopped => CliError::CopyInterrupted,
        error => error.into(),
    })?;
    drop(saving);
    bar.finish_and_clear();
    let result = json!({
        "rows": written.rows, "dim": features.dim(), "format": format.name(), "file": args.out, "keys": written.keys,
    });
    print(args.json, &result, |out| {
        writeln!(out, "{} rows of dimension {}\nfile: {}", written.rows, features.dim(), args.out.display())?;
        match &written.keys {
            Some(keys) => writeln!(out, "keys: {}", keys.display()),
            None => Ok(()),
        }
    })
}

fn by_extension(path: &Path) -> Result<ExportFormat, CliError> {
    let extension = path.extension().unwrap_or_default();
    let found = ExportFormat::ALL.iter().find(|format| extension == format.name());
    found.copied().ok_or_else(|| {
        let known: Vec<String> =
            ExportFormat::ALL.iter().map(|format| format!("`.{}`", format.name())).collect();
        CliError::Usage(format!("{} ends in none of {}: state `--format`", path.display(), known.join(", ")))
    })
}
