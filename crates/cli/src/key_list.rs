//! Lists of keys in files, read and written.

use std::io;
use std::path::Path;

use sail_support::write_atomic;
use sail_vl::data::KeyList;
use serde::Serialize;
use serde_json::json;

use crate::error::{CliError, chain};

/// Opens a list of keys.
pub(crate) fn open(spec: &str) -> Result<KeyList, CliError> {
    let failed = |error| CliError::Usage(format!("cannot read the keys in {spec}: {}", chain(&error)));
    KeyList::open(spec).map_err(failed)
}

/// Writes keys to a text file with a key in each line, or as JSON lines with a field `key` to a file named `.jsonl`.
pub(crate) fn write(path: &Path, keys: &[String]) -> Result<(), CliError> {
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        return write_lines(path, keys.iter().map(|key| json!({ "key": key })));
    }
    let breaks = |key: &&String| key.is_empty() || key.contains(['\n', '\r', '\u{feff}']);
    if let Some(key) = keys.iter().find(breaks) {
        return Err(CliError::Usage(format!(
            "the key {key:?} is no line of a text file: name the list {}",
            path.with_extension("jsonl").display()
        )));
    }
    write_atomic(path, |out| keys.iter().try_for_each(|key| writeln!(out, "{key}")))
        .map_err(|source| CliError::Write { path: path.to_owned(), source })
}

/// Writes values as JSON lines. Those with a field `key` are a list of keys.
pub(crate) fn write_lines(
    path: &Path,
    mut lines: impl Iterator<Item = impl Serialize>,
) -> Result<(), CliError> {
    let written = write_atomic(path, |out| {
        lines.try_for_each(|line| {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        })
    });
    written.map_err(|source: io::Error| CliError::Write { path: path.to_owned(), source })
}
