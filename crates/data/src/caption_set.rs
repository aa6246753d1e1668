//! The captions of images in one caption set.

use std::sync::Arc;

use sail_core::FeatureSource;
use sail_support::KeyTable;

use crate::error::DataError;
use crate::key_sample::KeySample;
use crate::keys::for_each_key;

/// The caption rows of image row `i` are `rows[offsets[i]..offsets[i + 1]]`, none if no caption has its key, or `rows[i]`
/// alone without offsets.
pub(crate) struct CaptionSet {
    pub(crate) source: Arc<dyn FeatureSource>,
    offsets: Option<Vec<u32>>,
    rows: Vec<u32>,
}

impl CaptionSet {
    /// Returns the number of captions that have an image.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether every image has a caption and every caption an image.
    pub(crate) fn is_complete(&self, images: usize) -> bool {
        let has_caption = |image| !self.of(image).is_empty();
        self.len() == self.source.rows() && (self.offsets.is_none() || (0..images).all(has_caption))
    }

    /// Returns the rows of captions without an image, in order.
    pub(crate) fn unmatched(&self) -> impl Iterator<Item = usize> {
        let mut matched = vec![false; self.source.rows()];
        self.rows.iter().for_each(|&row| matched[row as usize] = true);
        matched.into_iter().enumerate().filter_map(|(row, matched)| (!matched).then_some(row))
    }

    /// Returns the caption rows of an image row.
    pub(crate) fn of(&self, image: usize) -> &[u32] {
        match &self.offsets {
            Some(offsets) => &self.rows[offsets[image] as usize..offsets[image + 1] as usize],
            None => std::slice::from_ref(&self.rows[image]),
        }
    }
}

/// Maps the keys of the images to their rows.
///
/// # Errors
/// [`DataError::DuplicateKeys`].
pub(crate) fn key_index(images: &dyn FeatureSource) -> Result<KeyTable<u32>, DataError> {
    let mut index = KeyTable::with_capacity(images.rows());
    let mut duplicates = KeySample::default();
    let hasher = index.hasher();
    for_each_key(
        images,
        images.rows(),
        |row| row,
        |key| hasher.hash(key),
        |row, key| match index.insert(key, row as u32) {
            None => Ok(()),
            Some(_) => duplicates.add_row(images, row),
        },
    )?;
    match duplicates.count {
        0 => Ok(index),
        _ => Err(DataError::DuplicateKeys { keys: duplicates }),
    }
}

/// Joins images and captions by position.
pub(crate) fn by_position(
    set: usize,
    images: &dyn FeatureSource,
    source: Arc<dyn FeatureSource>,
) -> Result<CaptionSet, DataError> {
    if source.rows() != images.rows() {
        let side = match (images.positional(), source.positional()) {
            (true, true) => "their",
            (true, false) => "image",
            (false, _) => "caption",
        };
        return Err(DataError::Positions { set, captions: source.rows(), images: images.rows(), side });
    }
    let rows = source.rows() as u32;
    Ok(CaptionSet { source, offsets: None, rows: (0..rows).collect() })
}

/// Marks a caption without an image; rows are below it.
const NONE: u32 = u32::MAX;

/// Joins images and captions by key. Either may have rows without a partner.
pub(crate) fn by_key(
    images: usize,
    index: &KeyTable<u32>,
    source: Arc<dyn FeatureSource>,
) -> Result<CaptionSet, DataError> {
    let mut image_of = Vec::with_capacity(source.rows());
    let mut offsets = vec![0u32; images + 1];
    for_each_key(
        &*source,
        source.rows(),
        |row| row,
        |key| index.get(key),
        |_, image| {
            image_of.push(image.unwrap_or(NONE));
            if let Some(image) = image {
                offsets[image as usize] += 1;
            }
            Ok(())
        },
    )?;
    let one_each = offsets[..images].iter().all(|&count| count == 1);

    // Counting sort: counts become ends; then each row, from the last, takes the index before its end, so that ends become
    // starts.
    let mut end = 0;
    for offset in &mut offsets {
        end += *offset;
        *offset = end;
    }
    let mut rows = vec![0; end as usize];
    for (row, &image) in image_of.iter().enumerate().rev().filter(|(_, image)| **image != NONE) {
        let index = &mut offsets[image as usize];
        *index -= 1;
        rows[*index as usize] = row as u32;
    }
    Ok(CaptionSet { source, offsets: (!one_each).then_some(offsets), rows })
}
