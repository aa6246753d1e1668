//! Annotation files, which are not trusted.

use std::path::Path;

use sail_support::{ReadError, stand_in, strip_bom};
use serde::de::DeserializeOwned;

use crate::error::TaskError;

/// The longest published annotation file, that of COCO by Karpathy, has 144 MB.
const MAX_BYTES: u64 = 1 << 29;

/// Reads a regular file of bounded length as UTF-8. `expected` is its content in the published layout.
pub(crate) fn read_text(path: &Path, expected: &'static str) -> Result<String, TaskError> {
    read_limited(path, expected, MAX_BYTES)
}

fn read_limited(path: &Path, expected: &'static str, limit: u64) -> Result<String, TaskError> {
    let bytes = sail_support::read_bounded(path, limit).map_err(|error| match error {
        ReadError::TooLarge { found, limit } => TaskError::TooLarge { path: path.to_owned(), found, limit },
        other => TaskError::Io { path: path.to_owned(), expected, source: other.into() },
    })?;
    decode_text(&bytes).map_err(|(position, reason)| malformed(path, format!("byte {position}"), reason))
}

/// Decodes the text of a file, without a byte order mark.
///
/// # Errors
/// The byte and the reason of content that is no text, or stands in the place of the file.
pub(crate) fn decode_text(bytes: &[u8]) -> Result<String, (usize, String)> {
    if let Some(found) = stand_in(bytes) {
        return Err((0, format!("found {found}")));
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err((0, "found UTF-16, expected UTF-8: save the file as UTF-8".to_owned()));
    }
    str::from_utf8(strip_bom(bytes))
        .map(str::to_owned)
        .map_err(|error| (error.valid_up_to(), "invalid UTF-8, expected text".to_owned()))
}

/// Reads a JSON file of bounded length. Unknown fields are ignored.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, TaskError> {
    let text = read_text(path, expected)?;
    sail_support::json::from_str(&text).map_err(|error| malformed(path, "JSON", error))
}

/// Reads the trimmed lines of a file. Empty lines may only be at the end.
pub(crate) fn read_lines(path: &Path, expected: &'static str) -> Result<Vec<String>, TaskError> {
    let text = read_text(path, expected)?;
    let lines: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match lines.iter().position(String::is_empty) {
        Some(line) => {
            Err(malformed(path, format!("line {}", line + 1), "found an empty line, expected text"))
        }
        None => Ok(lines),
    }
}

pub(crate) fn malformed(path: &Path, position: impl ToString, reason: impl ToString) -> TaskError {
    TaskError::Malformed { path: path.to_owned(), position: position.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_invalid_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.txt");
        assert!(matches!(read_text(&path, "names"), Err(TaskError::Io { expected: "names", .. })));
        assert!(matches!(read_text(folder.path(), "names"), Err(TaskError::Io { .. })));
        std::fs::write(&path, "\u{feff}cat\r\n dog \n\n").unwrap();
        assert_eq!(read_lines(&path, "names").unwrap(), ["cat", "dog"]);
        let error = read_limited(&path, "names", 5).unwrap_err().to_string();
        assert!(error.contains("expected at most 5"), "{error}");
        std::fs::write(&path, "cat\n\ndog\n").unwrap();
        let error = read_lines(&path, "names").unwrap_err().to_string();
        assert!(error.ends_with("line 2: found an empty line, expected text"), "{error}");
        std::fs::write(&path, b"cat\xff").unwrap();
        let error = read_text(&path, "names").unwrap_err().to_string();
        assert!(error.contains("byte 3"), "{error}");
        std::fs::write(&path, b"\xff\xfec\0").unwrap();
        let error = read_text(&path, "names").unwrap_err().to_string();
        assert!(error.contains("UTF-16") && error.contains("save the file as UTF-8"), "{error}");
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a").unwrap();
        let error = read_text(&path, "names").unwrap_err().to_string();
        assert!(error.contains("git lfs pull"), "{error}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(read_lines(&path, "names").unwrap(), [""; 0]);
    }
}
