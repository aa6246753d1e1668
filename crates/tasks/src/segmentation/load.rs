//! Reading images with their masks.

use std::path::PathBuf;

use rayon::prelude::*;
use sail_core::RgbImage;
use sail_data::source::Record;
use sail_data::{DecodeError, DecodeLimits, decode_stored};
use sail_eval::{IGNORED, LabelMap, SegmentationError};
use sail_extract::{Ahead, prepare_ahead};

use super::error::SegmentationSetError;
use super::file::read_file;
use super::layout::SegmentationLayout;
use super::mask::{self, Colours};
use super::set::{Item, SegmentationSet};
use crate::inputs::Listed;

/// An image and its mask.
#[derive(Debug, Clone)]
pub struct SegmentationSample {
    /// Name of the image without extension.
    pub name: String,
    /// The image.
    pub image: RgbImage,
    /// The true class of every pixel.
    pub truth: LabelMap,
    /// For an image with an EXIF orientation, the pixels that its mask was compared with.
    pub exif: Option<MaskPixels>,
}

/// The pixels that the mask of an image with an EXIF orientation lies on.
///
/// Published masks lie on the stored pixels, so an image whose stored size is that of its mask is used without its
/// orientation. If only the size of the upright image is that of the mask, the mask was drawn on the upright image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskPixels {
    /// The pixels as they are stored.
    Stored,
    /// The pixels of the upright image.
    Oriented,
}

impl SegmentationSet {
    /// Reads an image and its mask.
    ///
    /// # Errors
    /// [`SegmentationSetError`] for files that cannot be read or decoded, a mask of another size than its image, a label
    /// that is no class, and a mask without a pixel that counts. An index beyond the end is [`SegmentationSetError::Io`].
    pub fn load(&self, index: usize) -> Result<SegmentationSample, SegmentationSetError> {
        let Some(Item { name, image: path, mask }) = self.items.get(index) else {
            let source =
                std::io::Error::other(format!("the index is out of range for {} images", self.items.len()));
            return Err(SegmentationSetError::Io { path: format!("image {index}").into(), source });
        };
        let limits = DecodeLimits::default();
        let undecodable = |source: DecodeError| SegmentationSetError::Image { path: path.clone(), source };
        let image = decode_stored(&read_file(path, limits.max_bytes)?, &limits).map_err(undecodable)?;
        let labels = self.read_mask(mask)?;
        let fit = |source| SegmentationSetError::Fit { path: mask.clone(), source };
        let size = |(width, height): (u32, u32)| [height as usize, width as usize];
        let stored = size(image.pixels().dimensions());
        let has_orientation = image.has_orientation();
        let (image, pixels) = if labels.size() == stored {
            (image.into_pixels(), MaskPixels::Stored)
        } else if labels.size() == size(image.oriented_dimensions()) {
            (image.oriented(), MaskPixels::Oriented)
        } else {
            return Err(fit(SegmentationError::Size { found: labels.size(), expected: stored }));
        };
        labels.check(self.class_of_label.len(), true, "mask").map_err(fit)?;
        if labels.labels().iter().all(|&label| label == IGNORED) {
            return Err(SegmentationSetError::NoLabel { path: mask.clone() });
        }
        let class = |&label: &u16| self.class_of_label.get(usize::from(label)).copied().unwrap_or(IGNORED);
        let truth = LabelMap::new(labels.size(), labels.labels().iter().map(class).collect()).map_err(fit)?;
        Ok(SegmentationSample { name: name.clone(), image, truth, exif: has_orientation.then_some(pixels) })
    }

    /// Reads the first `count` images and their masks on other threads, ahead of their use, and passes them to `consume` in
    /// order, with their names.
    ///
    /// # Examples
    /// ```no_run
    /// # fn mean_width(set: &sail_tasks::SegmentationSet) -> f64 {
    /// set.load_ahead(set.len(), 4, |samples| {
    ///     let widths = samples.filter_map(|(_, sample)| Some(f64::from(sample.ok()?.image.width())));
    ///     widths.sum::<f64>() / set.len() as f64
    /// })
    /// # }
    /// ```
    pub fn load_ahead<R>(
        &self,
        count: usize,
        threads: usize,
        consume: impl FnOnce(
            &mut dyn Iterator<Item = (String, Result<SegmentationSample, SegmentationSetError>)>,
        ) -> R,
    ) -> R {
        let record = |(index, item): (usize, &Item)| Record { key: item.name.clone(), value: Ok(index) };
        let records = Listed::new(self.items.iter().take(count).enumerate().map(record).collect());
        let threads = threads.max(1);
        let ahead = Ahead { threads, chunk: 1, records: 2 * threads };
        let load = |index: usize| Ok(self.load(index));
        prepare_ahead(&records, 0..count as u64, &ahead, &load, |samples| {
            consume(&mut samples.filter_map(|record| {
                // Records in memory are always readable.
                let Record { key, value } = record.ok()?;
                let panicked = |reason| SegmentationSetError::Mask { path: PathBuf::from(&key), reason };
                let sample = value.map_err(panicked).and_then(|sample| sample);
                Some((key, sample))
            }))
        })
    }

    /// Reads the class of every pixel, as the set numbers its classes.
    fn read_mask(&self, path: &std::path::Path) -> Result<LabelMap, SegmentationSetError> {
        let stored = mask::read(path, self.colours())?;
        let label = |&label: &u16| match label {
            IGNORED if self.binary => 1,
            label => self.layout.class(label),
        };
        let labels = stored.labels().iter().map(label).collect();
        LabelMap::new(stored.size(), labels)
            .map_err(|source| SegmentationSetError::Fit { path: path.to_owned(), source })
    }

    fn colours(&self) -> Colours {
        match self.layout {
            SegmentationLayout::Voc20 | SegmentationLayout::Voc21 => Colours::Voc,
            _ => Colours::Refused,
        }
    }

    /// Returns whether 0 and the ignored label are those of the masks. Reads masks until one has another.
    pub(super) fn is_binary(&self) -> bool {
        let has = |test: fn(&u16) -> bool| {
            self.items.par_iter().any(|item| {
                mask::read(&item.mask, self.colours()).is_ok_and(|mask| mask.labels().iter().any(test))
            })
        };
        !has(|&label| label != 0 && label != IGNORED)
            && has(|&label| label == 0)
            && has(|&label| label == IGNORED)
    }
}
