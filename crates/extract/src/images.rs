//! Extraction of images.

use std::path::Path;

use sail_core::{Modality, Pixels, VisionTower};
use sail_data::source::{ImageData, RecordSource};
use sail_data::{DecodeLimits, decode_image};
use sail_support::read_bounded;

use crate::embed;
use crate::error::ExtractError;
use crate::observer::Observer;
use crate::options::ExtractOptions;
use crate::run::{Extraction, Task, run};

/// Embeds every image of a source into a store in the folder `out`.
///
/// Besides the files of the store, the folder has `encode.json` with the settings, and `skipped.jsonl` with a line
/// `{"key": ..., "reason": ...}` for every record without a row: images that cannot be read or decoded, and images with the
/// key of an earlier one. Files that the source [passes over](RecordSource::passed_over), if any, are counted in
/// `passed_over.json`.
///
/// # Errors
/// [`ExtractError`] for invalid options and errors of the source, the folder or the model. The work so far stays in the
/// folder and can be [resumed](ExtractOptions::resume).
///
/// # Examples
/// ```no_run
/// use std::path::Path;
/// use sail_core::VisionTower;
/// use sail_data::source::{ImageData, RecordSource};
/// use sail_extract::{Event, ExtractError, ExtractOptions, extract_images};
///
/// fn encode(tower: &VisionTower, images: &dyn RecordSource<ImageData>) -> Result<(), ExtractError> {
///     let options = ExtractOptions { source: "photos".to_owned(), ..ExtractOptions::images() };
///     let mut observer = |event: Event<'_>| if let Event::Skipped(skipped) = event {
///         eprintln!("{}: {}", skipped.key, skipped.reason);
///     };
///     let extraction = extract_images(tower, images, Path::new("features"), &options, &mut observer)?;
///     println!("{} rows of {}", extraction.rows, extraction.dim);
///     Ok(())
/// }
/// ```
pub fn extract_images(
    tower: &VisionTower,
    source: &dyn RecordSource<ImageData>,
    out: &Path,
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Extraction, ExtractError> {
    let task = Task {
        modality: Modality::Image,
        provenance: tower.provenance(),
        chunk: 1,
        prepare: &|data| prepare(tower, data),
        embed: &|images| embed::images(tower, images),
    };
    run(&task, source, out, options, observer)
}

fn prepare(tower: &VisionTower, data: ImageData) -> Result<Pixels, String> {
    let bytes = match data {
        ImageData::Bytes(bytes) => bytes,
        ImageData::File(path) => read_bounded(&path, DecodeLimits::default().max_bytes)
            .map_err(|error| format!("the file cannot be read: {error}"))?,
    };
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let image = decode_image(&bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
    tower.preprocessor.preprocess(&image).map_err(|error| error.to_string())
}
