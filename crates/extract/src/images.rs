//! Images.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sail_core::{Modality, Pixels, VisionTower};
use sail_data::source::{ImageData, RecordSource};
use sail_data::{DecodeLimits, decode_image};

use crate::run::{Extraction, Task, run};
use crate::{ExtractError, ExtractOptions, Observer, embed};

/// A longer file is no image that a backbone is given.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Embeds every image of a source into a store in the folder `out`.
///
/// Beside the store's own files the folder has `encode.json`, the settings, and `skipped.jsonl`, a line
/// `{"key": ..., "reason": ...}` for every record without a row: images that cannot be read or decoded, and
/// images whose key an earlier one has.
///
/// # Errors
/// [`ExtractError`] where the options, the source, the folder or the model cannot be used. What is done stays in the
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
        ImageData::File(path) => read(&path)?,
    };
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let image = decode_image(&bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
    tower.preprocessor.preprocess(&image).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("the file cannot be read: {error}");
    // Asked before opening: to open a named pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("it is a folder or a device, expected a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is longer than {MAX_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}
