//! Annotation files, which are not trusted.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::TaskError;

/// The longest published annotation file, Karpathy's of COCO, has 144 MB.
const MAX_BYTES: u64 = 1 << 29;

/// Reads a regular file of bounded length as UTF-8; `expected` is what it is in the published layout.
pub(crate) fn read_text(path: &Path, expected: &'static str) -> Result<String, TaskError> {
    read_bounded(path, expected, MAX_BYTES)
}

fn read_bounded(path: &Path, expected: &'static str, limit: u64) -> Result<String, TaskError> {
    let io = |source| TaskError::Io { path: path.to_owned(), expected, source };
    // Asked before opening: to open a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(std::io::Error::other("it is a folder or a device")));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    let found = bytes.len() as u64;
    if found > limit {
        return Err(TaskError::TooLarge { path: path.to_owned(), found, limit });
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let place = format!("byte {}", error.utf8_error().valid_up_to());
        malformed(path, place, "it is not valid UTF-8, expected text")
    })?;
    // The mark that some editors put before UTF-8.
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Reads a JSON file of bounded length; fields that are not asked for are passed over.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, TaskError> {
    let text = read_text(path, expected)?;
    serde_json::from_str(&text).map_err(|error| malformed(path, "JSON", error))
}

/// The lines of a file without the white space around them; empty ones may only be at the end.
pub(crate) fn read_lines(path: &Path, expected: &'static str) -> Result<Vec<String>, TaskError> {
    let text = read_text(path, expected)?;
    let lines: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match lines.iter().position(String::is_empty) {
        Some(line) => Err(malformed(path, format!("line {}", line + 1), "it is empty, expected text")),
        None => Ok(lines),
    }
}

pub(crate) fn malformed(path: &Path, place: impl ToString, reason: impl ToString) -> TaskError {
    TaskError::Malformed { path: path.to_owned(), place: place.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_annotation_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.txt");
        assert!(matches!(read_text(&path, "names"), Err(TaskError::Io { expected: "names", .. })));
        assert!(matches!(read_text(folder.path(), "names"), Err(TaskError::Io { .. })));
        fs::write(&path, "\u{feff}cat\r\n dog \n\n").unwrap();
        assert_eq!(read_lines(&path, "names").unwrap(), ["cat", "dog"]);
        let error = read_bounded(&path, "names", 5).unwrap_err().to_string();
        assert!(error.contains("6 bytes or more, expected at most 5"), "{error}");
        fs::write(&path, "cat\n\ndog\n").unwrap();
        let error = read_lines(&path, "names").unwrap_err().to_string();
        assert!(error.ends_with("line 2: it is empty, expected text"), "{error}");
        fs::write(&path, b"cat\xff").unwrap();
        let error = read_text(&path, "names").unwrap_err().to_string();
        assert!(error.contains("byte 3"), "{error}");
        fs::write(&path, "").unwrap();
        assert_eq!(read_lines(&path, "names").unwrap(), [""; 0]);
    }
}
