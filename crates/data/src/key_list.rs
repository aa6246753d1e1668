//! Lists of keys in files.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use sail_core::FeatureSource;
use sail_support::{KeyTable, ranges, strip_bom};
use serde::Deserialize;

use crate::error::DataError;
use crate::open::{open_features, split_tensor_spec};

/// Keys that are read at once.
const BLOCK: usize = 4096;

/// A line of JSON lines, such as of `skipped.jsonl`.
#[derive(Deserialize)]
struct Line {
    key: String,
}

/// A list of keys from a file, of which those that were found are marked.
///
/// Takes about 17 bytes per key, however long it is.
///
/// # Examples
/// ```
/// use sail_data::{KeyList, MatrixFeatures};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("keys.txt");
/// std::fs::write(&path, "dog\nmouse\n")?;
///
/// let images = MatrixFeatures::new(1, vec![1.0, 2.0, 3.0])?.with_keys(["cat", "dog", "fox"])?;
/// let mut list = KeyList::open(path.to_str().ok_or("not UTF-8")?)?;
/// assert_eq!(list.select(&images, 0..3)?, [1]);
/// assert_eq!((list.absent(), list.len()), (1, 2)); // there is no mouse
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyList {
    index: KeyTable<u32>,
    found: Vec<bool>,
}

impl KeyList {
    /// Reads a text file with a key in each line, or JSON lines with a field `key` if its name ends in `.jsonl`, or the keys of
    /// features, as [`open_features`] takes them.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::ListLine`] for a line without a key, and those of opening features.
    pub fn open(spec: &str) -> Result<Self, DataError> {
        let mut count = 0;
        each_key(spec, |_| count += 1)?;
        let mut list = Self { index: KeyTable::with_capacity(count), found: Vec::new() };
        each_key(spec, |key| {
            // A file that has grown since has no place for more keys.
            if list.found.len() < count && list.index.insert_key(key, list.found.len() as u32).is_none() {
                list.found.push(false);
            }
        })?;
        Ok(list)
    }

    /// Returns whether a key is in the list, and marks it as found.
    pub fn find(&mut self, key: &str) -> bool {
        let index = self.index.get(key);
        if let Some(index) = index {
            self.found[index as usize] = true;
        }
        index.is_some()
    }

    /// Returns those of `rows` whose keys are in the list, in order, and marks their keys as found.
    ///
    /// # Errors
    /// Those of reading the keys.
    pub fn select(
        &mut self,
        features: &dyn FeatureSource,
        rows: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<usize>, DataError> {
        let (mut rows, mut selected) = (rows.into_iter(), Vec::new());
        loop {
            let block: Vec<usize> = rows.by_ref().take(BLOCK).collect();
            if block.is_empty() {
                return Ok(selected);
            }
            let keys = features.keys(&block)?;
            selected
                .extend(block.into_iter().zip(keys).filter(|(_, key)| self.find(key)).map(|(row, _)| row));
        }
    }

    /// Returns the number of keys that were not found.
    #[must_use]
    pub fn absent(&self) -> usize {
        self.found.iter().filter(|found| !**found).count()
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Returns whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

fn each_key(spec: &str, mut each: impl FnMut(&str)) -> Result<(), DataError> {
    let (path, _) = split_tensor_spec(spec);
    let has_extension = |name: &str| path.extension().is_some_and(|extension| extension == name);
    if path.is_dir() || has_extension("safetensors") {
        let features = open_features(spec)?;
        for rows in ranges(features.rows(), BLOCK) {
            features.keys(&rows.collect::<Vec<_>>())?.iter().for_each(|key| each(key));
        }
        return Ok(());
    }
    let json = has_extension("jsonl");
    each_line(Path::new(spec), |line| {
        if json {
            let line: Line = sail_support::json::from_slice(line)
                .map_err(|error| format!("is no object with a `key`: {error}"))?;
            each(&line.key);
        } else {
            each(std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?);
        }
        Ok(())
    })
}

/// Passes on the lines of a file that are not empty.
fn each_line(path: &Path, mut each: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let (mut line, mut number) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line).map_err(io)? > 0 {
        number += 1;
        let text = if number == 1 { strip_bom(&line) } else { &line };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            each(text).map_err(|reason| DataError::ListLine { path: path.to_owned(), number, reason })?;
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_lines_or_json_lines() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            KeyList::open(path.to_str().unwrap())
        };
        let mut list = open("a.txt", "\u{feff}a b\r\n\nc\na b".as_bytes()).unwrap();
        assert_eq!((list.len(), list.absent()), (2, 2));
        assert!(list.find("a b") && list.find("c") && !list.find("d") && list.absent() == 0);
        let mut list = open("a.jsonl", b"{\"key\": \"x\", \"score\": 1}\n{\"key\": \"y\"}\n").unwrap();
        assert!(list.find("y") && !list.find("") && list.absent() == 1);
        for (name, content, words) in [
            ("b.jsonl", &b"{\"key\": \"x\"}\n{}"[..], "line 2 is no object with a `key`"),
            ("b.txt", b"x\n\xff\n", "line 2 is not UTF-8"),
        ] {
            let error = open(name, content).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains(words), "{error}");
        }
        assert!(open("empty.txt", b"").unwrap().is_empty());
    }
}
