//! From the bytes of an image file to its pixels.

mod error;
mod jpeg;
mod rgb;

use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits, RgbImage};

pub use error::DecodeError;

/// How much an image may ask for; an image above is refused by its header, before its pixels are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height. Default 178,956,970, where Pillow refuses an image as a decompression bomb.
    pub max_pixels: u64,
    /// Bytes of the file. Default 536,870,912 (512 MiB).
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 512 << 20 }
    }
}

/// What metadata and the decoder's own buffers may take beside the pixels.
const OVERHEAD: u64 = 64 << 20;

/// Decodes an image to eight-bit RGB.
///
/// The format is found by content, never by name: JPEG, PNG, WebP, GIF, BMP or TIFF; of an animation or a
/// document, the first frame or page. The result is that of Pillow and transformers:
///
/// - Transparency (an alpha channel, a palette's, a transparent colour) is composited on white, rounded to nearest.
/// - Grey, palette and CMYK images become RGB; colour profiles are not applied. A CMYK JPEG is taken to be
///   inverted, as Adobe's are.
/// - 16-bit values keep their high byte. Pillow does so for colours, but clips 16-bit *grey* images at 255.
/// - The orientation tag of EXIF is honoured, as transformers' `load_image` does (`ImageOps.exif_transpose`). The
///   plain `Image.open(path).convert("RGB")` of the reference's scripts is not upright for such images, and puts
///   transparent ones on whatever colour their hidden pixels have. An orientation that stands in XMP only is not read.
///
/// Everything but JPEG agrees with Pillow 13 to the bit, lossy WebP included. A JPEG's values depend on how the decoder
/// rounds; beside libjpeg-turbo 3.2 they differ, measured on photos,
///
/// | chroma | on average | at most |
/// |---|---|---|
/// | full (4:4:4), grey or CMYK | 0.02 / 255 | 2 / 255 |
/// | half the width (4:2:2) | 0.2 / 255 | 4 / 255 |
/// | half of both (4:2:0) | 0.3 / 255 | 5 / 255 |
///
/// and by up to 15 / 255 in images at most 4 pixels wide, whose chroma libjpeg-turbo does not interpolate.
/// Arithmetic-coded and lossless JPEG is not read, nor are floating-point samples.
///
/// A file that ends early is always an error, even where only a JPEG's end marker is missing. Damage within a JPEG's
/// scan is not always noticed, by Pillow neither.
///
/// Peak memory is about 3 bytes a pixel for a plain image, 7 with transparency, 11 for 16 bits with
/// transparency, and 9 for a progressive JPEG; nothing is kept between calls.
///
/// # Errors
/// [`DecodeError`] for bytes that are no image, or a broken, truncated, unsupported or too large one. A panic inside
/// a decoder becomes [`DecodeError::Panicked`].
///
/// # Examples
/// ```
/// use sail_data::{DecodeError, DecodeLimits, decode_image};
///
/// // One transparent pixel.
/// let gif = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
/// let image = decode_image(gif, &DecodeLimits::default())?;
/// assert_eq!((image.dimensions(), image.into_raw()), ((1, 1), vec![255, 255, 255]));
///
/// let error = decode_image(b"<html>404</html>", &DecodeLimits::default()).unwrap_err();
/// assert_eq!(error, DecodeError::UnknownFormat);
/// # Ok::<(), DecodeError>(())
/// ```
pub fn decode_image(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let found = bytes.len() as u64;
    if found > limits.max_bytes {
        return Err(DecodeError::TooManyBytes { found, limit: limits.max_bytes });
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    let name = name(format).ok_or(DecodeError::UnknownFormat)?;
    contain(name, || decode(bytes, format, name, limits))
}

/// Turns a panic into an error.
///
/// The decoders are other people's code on other people's data, and one bad image must not end a run of millions.
/// They own all they touch, so nothing half-changed survives the unwinding. (None of some millions of damaged images
/// made them panic.)
fn contain<T>(
    format: &'static str,
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(DecodeError::Panicked { format, reason: reason.to_owned() })
    })
}

fn name(format: ImageFormat) -> Option<&'static str> {
    Some(match format {
        ImageFormat::Jpeg => "jpeg",
        ImageFormat::Png => "png",
        ImageFormat::WebP => "webp",
        ImageFormat::Gif => "gif",
        ImageFormat::Bmp => "bmp",
        ImageFormat::Tiff => "tiff",
        _ => return None,
    })
}

fn decode(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    limits: &DecodeLimits,
) -> Result<RgbImage, DecodeError> {
    let failed = |error| failure(error, name);
    match format {
        ImageFormat::Jpeg => jpeg::check_whole(bytes)?,
        ImageFormat::WebP if !riff_is_whole(bytes) => return Err(DecodeError::Truncated { format: name }),
        _ => {}
    }
    let mut decoder = open(bytes, format).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(DecodeError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    if pixels == 0 {
        return Err(DecodeError::NoPixels { format: name, width, height });
    }
    let allowed = decoder.total_bytes().saturating_mul(3).saturating_add(OVERHEAD);
    decoder.set_limits(allocating(allowed)).map_err(failed)?;
    let orientation = orientation(&mut decoder, format);
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let image = rgb::to_rgb(image).ok_or_else(|| DecodeError::Unsupported {
        format: name,
        reason: "its samples are floating-point numbers".to_owned(),
    })?;
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Whether a WebP has the length it states; the decoder would do without what follows the pixels, such as EXIF.
fn riff_is_whole(bytes: &[u8]) -> bool {
    let length =
        bytes.get(4..8).and_then(|length| length.first_chunk()).map(|length| u32::from_le_bytes(*length));
    length.is_some_and(|length| bytes.len() as u64 >= u64::from(length) + 8)
}

/// Reads an image's header.
fn open(bytes: &[u8], format: ImageFormat) -> Result<Box<dyn ImageDecoder + '_>, ImageError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Jpeg => Box::new(JpegDecoder::new(bytes)?),
        // The one header that can unpack to more than it is: compressed profiles.
        ImageFormat::Png => Box::new(PngDecoder::with_limits(bytes, allocating(OVERHEAD))?),
        ImageFormat::WebP => Box::new(WebPDecoder::new(bytes)?),
        ImageFormat::Gif => Box::new(GifDecoder::new(bytes)?),
        ImageFormat::Tiff => Box::new(TiffDecoder::new(bytes)?),
        _ => Box::new(BmpDecoder::new(bytes)?),
    })
}

fn allocating(max_alloc: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc);
    limits
}

/// The orientation tag; unreadable metadata says nothing, as in Pillow.
fn orientation(decoder: &mut impl ImageDecoder, format: ImageFormat) -> Orientation {
    let found = if format == ImageFormat::Tiff {
        decoder.orientation().ok()
    } else {
        // Some WebP files carry the prefix that EXIF has in a JPEG.
        let exif = decoder.exif_metadata().ok().flatten().unwrap_or_default();
        Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif))
    };
    found.unwrap_or(Orientation::NoTransforms)
}

fn failure(error: ImageError, format: &'static str) -> DecodeError {
    match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { format }
        }
        ImageError::Limits(_) => DecodeError::Memory { format },
        ImageError::Unsupported(error) => DecodeError::Unsupported { format, reason: error.to_string() },
        error => DecodeError::Damaged { format, reason: error.to_string() },
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let found = contain::<()>("gif", || panic!("row {} of 2", 3));
        assert_eq!(found, Err(DecodeError::Panicked { format: "gif", reason: "row 3 of 2".to_owned() }));
        let found = contain::<()>("gif", || panic!("no rows"));
        assert_eq!(found, Err(DecodeError::Panicked { format: "gif", reason: "no rows".to_owned() }));
    }
}
