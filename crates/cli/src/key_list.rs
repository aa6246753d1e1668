//! Lists of keys in files, read and written.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use sail_support::{KeyTable, ranges, strip_bom, write_atomic};
use sail_vl::core::FeatureSource;
use sail_vl::data::split_tensor_spec;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::CliError;
use crate::inputs::open_any;

/// Keys that are read at once.
const BLOCK: usize = 4096;

/// A line of JSON lines, such as of `skipped.jsonl`.
#[derive(Deserialize)]
struct Line {
    key: String,
}

/// Keys, of which those that were found are marked.
pub(crate) struct KeyList {
    index: KeyTable<u32>,
    found: Vec<bool>,
}

impl KeyList {
    /// Reads the keys of features, of JSON lines, or of a text file with a key in each line.
    pub(crate) fn open(spec: &str) -> Result<Self, CliError> {
        let mut count = 0;
        each_key(spec, |_| count += 1)?;
        let mut list = Self { index: KeyTable::with_capacity(count), found: Vec::new() };
        each_key(spec, |key| {
            if list.index.insert_key(key, list.found.len() as u32).is_none() {
                list.found.push(false);
            }
        })?;
        Ok(list)
    }

    /// Returns whether a key is in the list, and marks it.
    pub(crate) fn find(&mut self, key: &str) -> bool {
        let index = self.index.get(key);
        if let Some(index) = index {
            self.found[index as usize] = true;
        }
        index.is_some()
    }

    /// Returns how many keys were not found, of how many.
    pub(crate) fn absent(&self) -> (usize, usize) {
        (self.found.iter().filter(|found| !**found).count(), self.found.len())
    }
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

fn each_key(spec: &str, mut each: impl FnMut(&str)) -> Result<(), CliError> {
    let (path, _) = split_tensor_spec(spec);
    let has_extension = |name: &str| path.extension().is_some_and(|extension| extension == name);
    if path.is_dir() || has_extension("safetensors") {
        let features = open_any(spec)?;
        for rows in ranges(features.rows(), BLOCK) {
            let keys = features.keys(&rows.collect::<Vec<_>>());
            let keys = keys.map_err(|source| CliError::Features { spec: spec.to_owned(), source })?;
            keys.iter().for_each(|key| each(key));
        }
        return Ok(());
    }
    let json = has_extension("jsonl");
    lines(path, |number, line| {
        if json {
            let line: Line = sail_support::json::from_slice(line)
                .map_err(|error| format!("line {number} is not an object with a `key`: {error}"))?;
            each(&line.key);
        } else {
            each(std::str::from_utf8(line).map_err(|_| format!("line {number} is not UTF-8"))?);
        }
        Ok(())
    })
    .map_err(|reason| CliError::Usage(format!("cannot read the keys in {spec}: {reason}")))
}

/// Passes on the lines of a file that are not empty, with their numbers.
fn lines(path: &Path, mut each: impl FnMut(usize, &[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let (mut line, mut number) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line).map_err(|error| error.to_string())? > 0 {
        number += 1;
        let text = if number == 1 { strip_bom(&line) } else { &line };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            each(number, text)?;
        }
        line.clear();
    }
    Ok(())
}
