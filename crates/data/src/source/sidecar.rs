//! Captions in files of their own: text, or fields of JSON.

use serde_json::{Map, Value};

use super::cell::{Cell, Texts};
use super::json_lines::cell;
use super::options::SourceOptions;
use super::text::caption;

/// Suffixes of files with a caption.
const SUFFIXES: [&str; 3] = ["txt", "text", "caption"];

/// Returns whether a suffix is that of a file with a caption.
pub(super) fn is_text_suffix(suffix: &str) -> bool {
    SUFFIXES.iter().any(|known| suffix.eq_ignore_ascii_case(known))
}

/// Returns whether a suffix is that of the files with captions beside images: text, or JSON if fields are chosen.
pub(super) fn is_caption_suffix(suffix: &str, options: &SourceOptions) -> bool {
    match options.caption_columns.is_empty() {
        true => is_text_suffix(suffix),
        false => suffix.eq_ignore_ascii_case("json"),
    }
}

/// Returns the caption of a text file, without a byte order mark and the white space after it.
pub(super) fn text_file(bytes: &[u8], max: usize) -> Result<String, String> {
    caption(sail_support::strip_bom(bytes).trim_ascii_end().to_vec(), max)
}

/// The fields of a JSON file.
pub(super) struct Fields(Map<String, Value>);

/// Parses a JSON file with an object.
pub(super) fn object(bytes: &[u8]) -> Result<Fields, String> {
    let object = sail_support::json::from_slice(bytes);
    object.map(Fields).map_err(|error| format!("the file is not a JSON object: {error}"))
}

impl Fields {
    /// Appends the captions of a field, or the reasons why there are none.
    pub(super) fn captions(&self, field: &str, texts: Texts, into: &mut Vec<Result<String, String>>) {
        self.0.get(field).cloned().map_or(Cell::Missing, cell).captions(texts, into);
    }
}
