//! What is counted when images and captions are joined, and the error if too few pair.

use sail_core::{FeatureError, FeatureSource};

use crate::caption_set::CaptionSet;
use crate::error::DataError;
use crate::key_rewrite::suggest;
use crate::key_sample::KeySample;
use crate::pairing::{Matched, Pairing};

/// Counts the rows with a partner; `image_rows` are those of the pairs, or `None` if no row is without.
pub(crate) fn count(images: usize, captions: &[CaptionSet], image_rows: Option<&[u32]>) -> Pairing {
    let of_set = |set: &CaptionSet| match image_rows {
        None => set.len(),
        Some(rows) => rows.iter().map(|&row| set.of(row as usize).len()).sum(),
    };
    let matched = |matched, rows| Matched { matched, rows };
    Pairing {
        images: matched(image_rows.map_or(images, <[u32]>::len), images),
        captions: captions.iter().map(|set| matched(of_set(set), set.source.rows())).collect(),
    }
}

/// The error for too many rows without a partner, about the caption set with the fewest.
pub(crate) fn refusal(images: &dyn FeatureSource, captions: &[CaptionSet], pairing: Pairing) -> DataError {
    let found = || -> Result<DataError, FeatureError> {
        let share = |set: &CaptionSet| set.len() as f64 / set.source.rows() as f64;
        let worst = captions.iter().enumerate().min_by(|a, b| share(a.1).total_cmp(&share(b.1)));
        let Some((set, captions)) = worst else { return Ok(DataError::NoCaptions) };
        let [mut only_images, mut only_captions] = [KeySample::default(), KeySample::default()];
        for row in (0..images.rows()).filter(|&row| captions.of(row).is_empty()) {
            only_images.add_row(images, row)?;
        }
        for row in captions.unmatched() {
            only_captions.add_row(&*captions.source, row)?;
        }
        let rewrite =
            match only_images.count > images.rows() / 2 || captions.len() < captions.source.rows() / 2 {
                true => suggest(images, &*captions.source, captions.len())?,
                false => None,
            };
        Ok(DataError::Unmatched {
            set,
            pairing: Box::new(pairing),
            only_images: Box::new(only_images),
            only_captions: Box::new(only_captions),
            rewrite: rewrite.map(Box::new),
        })
    };
    found().unwrap_or_else(DataError::from)
}
