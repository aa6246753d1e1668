//! Small images.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use sail_core::RgbImage;

/// Encodes an image as a JPEG of at most `side` pixels on its longer side.
///
/// # Errors
/// [`std::io::Error`] for an image that cannot be encoded, such as an empty one.
pub fn encode_thumbnail(image: &RgbImage, side: u32) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 85);
    thumbnail(image, side).write_with_encoder(encoder).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Scales an image to at most `side` pixels on its longer side.
pub fn thumbnail(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let longer = width.max(height).max(1);
    if longer <= side {
        return image.clone();
    }
    let scaled = |length: u32| ((f64::from(length) * f64::from(side) / f64::from(longer)) as u32).max(1);
    resize(image, scaled(width), scaled(height), FilterType::Triangle)
}
