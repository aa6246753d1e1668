//! Visualization of segmentations.

use sail_core::RgbImage;
use sail_eval::{IGNORED, LabelMap};

use sail_data::thumbnail;

/// Returns the colour of a class in the colour map of Pascal VOC, extended to 16 bits.
///
/// # Examples
/// ```
/// use sail_tasks::class_colour;
/// assert_eq!([0, 1, 2, 3].map(class_colour), [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]);
/// ```
pub fn class_colour(class: u16) -> [u8; 3] {
    // Bits 0, 1 and 2 of the class are the highest bits of red, green and blue, bits 3 to 5 the next, and so on.
    let bit = |index: u8| (u32::from(class) >> index & 1) as u8;
    [0, 1, 2].map(|channel| (0..6).map(|group| bit(3 * group + channel) << (7 - group)).sum())
}

/// Blends an image with the colours of its classes, scaled to at most `side` pixels on its longer side. Ignored pixels are
/// white.
///
/// A map of another size is stretched to the image.
pub fn overlay(image: &RgbImage, labels: &LabelMap, side: u32) -> RgbImage {
    let mut result = thumbnail(image, side);
    let [rows, columns] = labels.size();
    let (width, height) = result.dimensions();
    let scaled = |position: u32, length: u32, count: usize| position as usize * count / length as usize;
    for (x, y, pixel) in result.enumerate_pixels_mut() {
        let index = scaled(y, height, rows) * columns + scaled(x, width, columns);
        let label = labels.labels().get(index).copied().unwrap_or(IGNORED);
        let colour = if label == IGNORED { [255; 3] } else { class_colour(label) };
        for (value, colour) in pixel.0.iter_mut().zip(colour) {
            *value = ((u16::from(*value) * 2 + u16::from(colour) * 3) / 5) as u8;
        }
    }
    result
}
