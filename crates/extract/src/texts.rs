//! Extraction of captions.

use std::path::{Path, PathBuf};

use sail_core::{Layer, Modality, TextTower, TokenIds};
use sail_data::source::RecordSource;

use crate::embed;
use crate::error::ExtractError;
use crate::observer::Observer;
use crate::options::ExtractOptions;
use crate::run::{Extraction, Task, check_layers, common, run, single};

/// Longer texts are not captions, and tokenizing them is slow.
const MAX_BYTES: usize = 1 << 20;

/// Tokenization takes microseconds, so a thread takes several texts at once.
const CHUNK: usize = 64;

/// Embeds every caption of a source into a store in the folder `out`.
///
/// As [`extract_images`](crate::extract_images), but several captions may have the same key. Texts that are empty or longer
/// than 1 MiB are skipped; the tokenizer of the tower truncates.
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
    extract_texts_on(std::slice::from_ref(tower), source, out, options, observer)
}

/// Embeds every caption of a source with the same model on several devices, as
/// [`extract_images_on`](crate::extract_images_on).
///
/// # Errors
/// Those of [`extract_images_on`](crate::extract_images_on).
pub fn extract_texts_on(
    towers: &[TextTower],
    source: &dyn RecordSource<String>,
    out: &Path,
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Extraction, ExtractError> {
    let stores = [(Layer::Last, out.to_owned())];
    single(extract_text_layers(towers, source, &stores, options, observer)?)
}

/// Embeds every caption of a source by the states of several layers, each into a store of its own, in one pass of the model.
///
/// Every store is that of [`extract_texts`] with the tower [at its layer](TextTower::at_layer).
///
/// # Errors
/// Those of [`extract_texts_on`]; [`ExtractError::Config`] if there is no layer or one twice.
pub fn extract_text_layers(
    towers: &[TextTower],
    source: &dyn RecordSource<String>,
    stores: &[(Layer, PathBuf)],
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Extraction>, ExtractError> {
    let (layers, outs) = check_layers(stores)?;
    let (tower, _) = common(towers, TextTower::provenance)?;
    let task = Task {
        modality: Modality::Text,
        provenances: layers.iter().map(|layer| tower.at_layer(*layer).provenance()).collect(),
        fetch: None,
        chunk: CHUNK,
        prepare: &|text: String| prepare(tower, &text),
        towers: towers.len(),
        embed: &|index, texts: Vec<TokenIds>| {
            let rows = towers[index].embed_layers(&texts, &layers, usize::MAX)?;
            Ok(rows.into_iter().map(embed::rows).collect())
        },
    };
    run(&task, source, &outs, options, observer)
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
