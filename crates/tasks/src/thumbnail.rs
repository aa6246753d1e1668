//! Small pictures for reports.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use sail_core::RgbImage;

/// The bytes of a JPEG of the picture, at most `side` pixels on its longer side.
///
/// # Errors
/// [`std::io::Error`] for a picture that cannot be encoded, such as one without pixels.
pub fn encode_thumbnail(image: &RgbImage, side: u32) -> std::io::Result<Vec<u8>> {
    let (width, height) = image.dimensions();
    let longer = width.max(height).max(1);
    let scaled = |length: u32| ((f64::from(length) * f64::from(side) / f64::from(longer)) as u32).max(1);
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 85);
    let result = match longer <= side {
        true => image.write_with_encoder(encoder),
        false => {
            resize(image, scaled(width), scaled(height), FilterType::Triangle).write_with_encoder(encoder)
        }
    };
    result.map_err(std::io::Error::other)?;
    Ok(bytes)
}
