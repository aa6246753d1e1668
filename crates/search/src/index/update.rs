//! Bringing an index up to date with its source.

use std::path::Path;
use std::time::Instant;

use sail_core::Check;
use sail_extract::Observer;

use super::error::IndexError;
use super::folder::Folder;
use super::options::{IndexModel, IndexSource, UpdateOptions, Updated};
use super::pass::pass;
use super::segment_writer::discard;

/// Creates an index of the images of a source, or brings it up to date.
///
/// Files whose key, size and modification time are as before are not read. Others are, and compared by the SHA-256 of their
/// content: images that were moved or copied keep their embedding, changed ones are embedded again. Images that are no longer in
/// the source are removed. Unusable ones are listed in `skipped.jsonl`.
///
/// Rows are published in segments, after each of which the index can be searched. A killed or stopped update is continued by the
/// next one and ends in the same files, byte for byte. Memory is bounded by the queues, the rows of a shard, 80 bytes per row of the
/// index and 16 per image of the source.
///
/// # Errors
/// [`IndexError::Model`] for an index of another model, [`IndexError::Setting`] for an option that the index was made without,
/// [`IndexError::Missing`] if most images are missing in the source, [`IndexError::Busy`], and errors of the options, the source, the
/// model and the folder.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
/// use sail_data::source::{SourceOptions, open_images};
/// use sail_search::{IndexModel, UpdateOptions, update};
///
/// fn index(model: &IndexModel<'_>) -> Result<(), Box<dyn std::error::Error>> {
///     let source = open_images(Path::new("photos"), &SourceOptions::default())?;
///     let options = UpdateOptions { root: Some(std::path::absolute("photos")?), ..UpdateOptions::default() };
///     let mut observer = |_: sail_extract::Event<'_>| ();
///     let updated = update(Path::new("index"), model, &source.as_ref().into(), &options, &mut observer)?;
///     println!("{} images, {} of them new", updated.images, updated.added);
///     Ok(())
/// }
/// ```
pub fn update(
    index: &Path,
    model: &IndexModel<'_>,
    source: &IndexSource<'_>,
    options: &UpdateOptions,
    observer: &mut dyn Observer,
) -> Result<Updated, IndexError> {
    let begun = Instant::now();
    let _span = tracing::info_span!("index", out = %index.display()).entered();
    options.check()?;
    let records = source.images.count().map_err(IndexError::Source)?;
    if records == 0 {
        let passed_over = source.images.passed_over().map_err(IndexError::Source)?;
        return Err(IndexError::NoRecords { passed_over });
    }
    let mut folder = Folder::open(index, model, options)?;
    loop {
        if let Some(updated) = pass(&mut folder, model, source, records, options, observer)? {
            return Ok(Updated { seconds: begun.elapsed().as_secs_f64(), ..updated });
        }
        // The unfinished segment is of another state of the source.
        discard(&folder.next_segment())?;
    }
}
