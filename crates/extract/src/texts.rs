//! Captions.

use std::path::Path;

use sail_core::{Modality, TextTower, TokenIds};
use sail_data::source::RecordSource;

use crate::run::{Extraction, Task, run};
use crate::{ExtractError, ExtractOptions, Observer, embed};

/// A longer text is no caption; tokenising all of it would only delay its truncation.
const MAX_BYTES: usize = 1 << 20;

/// Tokenising takes microseconds: a thread that is to gain by it takes several texts at a time.
const CHUNK: usize = 64;

/// Embeds every caption of a source into a store in the folder `out`.
///
/// As [`extract_images`](crate::extract_images), but several captions may have one key. Texts that are empty or
/// longer than a mebibyte are skipped; what a tower's tokenizer truncates is up to it.
///
/// # Errors
/// Those of [`extract_images`](crate::extract_images).
pub fn extract_texts(
    tower: &TextTower,
    source: &dyn RecordSource<String>,
    out: &Path,
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Extraction, ExtractError> {
    let task = Task {
        modality: Modality::Text,
        provenance: tower.provenance(),
        chunk: CHUNK,
        prepare: &|text: String| prepare(tower, &text),
        embed: &|texts: Vec<TokenIds>| Ok(embed::rows(tower.embed(&texts)?)),
    };
    run(&task, source, out, options, observer)
}

fn prepare(tower: &TextTower, text: &str) -> Result<TokenIds, String> {
    if text.trim().is_empty() {
        return Err("the text is empty".to_owned());
    }
    if text.len() > MAX_BYTES {
        return Err(format!("the text has {} bytes, expected at most {MAX_BYTES}", text.len()));
    }
    tower.tokenizer.tokenize(text).map_err(|error| error.to_string())
}
