//! Image decoding.

mod error;
mod jpeg;
mod rgb;
mod stored;

use std::io::{Cursor, ErrorKind};

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits, RgbImage};
use sail_support::catch_panic;

pub use error::DecodeError;
pub use stored::StoredImage;

/// Limits on images. They are checked in the header, before pixels are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Maximum width times height. Default 178,956,970, Pillow's limit for decompression bombs.
    pub max_pixels: u64,
    /// Maximum length of the file in bytes. Default 536,870,912 (512 MiB).
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 512 << 20 }
    }
}

/// Maximum memory of metadata and the buffers of a decoder.
const OVERHEAD: u64 = 64 << 20;

/// Decodes an image to 8-bit RGB.
///
/// The format is detected by content, not by file name: JPEG, PNG, WebP, GIF, BMP or TIFF. Of an animation or a document,
/// the first frame or page is decoded. The result is that of Pillow and transformers:
///
/// - Transparency (an alpha channel, a transparent palette entry or colour) is composited on white, rounded to nearest.
/// - Grey, palette and CMYK images are converted to RGB; colour profiles are not applied. CMYK JPEGs are assumed to be
///   inverted, as Adobe's are.
/// - 16-bit values keep their high byte. Pillow does so for colours, but clips 16-bit *grey* images at 255.
/// - The EXIF orientation is applied, as in transformers' `load_image` (`ImageOps.exif_transpose`). The plain
///   `Image.open(path).convert("RGB")` of the reference scripts does not, and ignores transparency. An orientation in XMP
///   is ignored.
///
/// All formats but JPEG match Pillow 13 exactly, including lossy WebP. The values of a JPEG depend on the rounding of the
/// decoder. Differences to libjpeg-turbo 3.2, measured on photos:
///
/// | chroma | mean | maximum |
/// |---|---|---|
/// | full (4:4:4), grey or CMYK | 0.02 / 255 | 2 / 255 |
/// | half the width (4:2:2) | 0.2 / 255 | 4 / 255 |
/// | half of both (4:2:0) | 0.3 / 255 | 5 / 255 |
///
/// In images up to 4 pixels wide, whose chroma libjpeg-turbo does not interpolate, they are up to 15 / 255.
/// Arithmetic-coded and lossless JPEGs and floating-point samples are unsupported.
///
/// A truncated file is always an error, even if only the end marker of a JPEG is missing. Corruption within a JPEG scan is
/// not always detected, as in Pillow.
///
/// Peak memory is about 3 bytes per pixel for a plain image, 7 with transparency, 11 for 16 bits with transparency, and 9
/// for a progressive JPEG. Nothing is kept between calls.
///
/// # Errors
/// [`DecodeError`] for bytes that are not an image, and for corrupt, truncated, unsupported and too large images. A panic
/// in a decoder is caught and returned as [`DecodeError::Panicked`].
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
    Ok(decode_stored(bytes, limits)?.oriented())
}

/// Decodes an image like [`decode_image`], but to the pixels as they are stored, before the EXIF orientation is applied.
///
/// Annotations of pixels, such as masks, often refer to these.
///
/// # Errors
/// Those of [`decode_image`].
pub fn decode_stored(bytes: &[u8], limits: &DecodeLimits) -> Result<StoredImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let found = bytes.len() as u64;
    if found > limits.max_bytes {
        return Err(DecodeError::TooManyBytes { found, limit: limits.max_bytes });
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    let name = name(format).ok_or(DecodeError::UnknownFormat)?;
    // (Fuzzing with millions of corrupt images has found no panic.)
    catch_panic(|| decode(bytes, format, name, limits))
        .unwrap_or_else(|reason| Err(DecodeError::Panicked { format: name, reason }))
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
) -> Result<StoredImage, DecodeError> {
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
        reason: "its samples are floating-point values".to_owned(),
    })?;
    Ok(StoredImage::new(image, orientation))
}

/// Returns whether a WebP has the length in its header. The decoder would ignore missing data after the pixels, such as EXIF.
fn riff_is_whole(bytes: &[u8]) -> bool {
    let length =
        bytes.get(4..8).and_then(|length| length.first_chunk()).map(|length| u32::from_le_bytes(*length));
    length.is_some_and(|length| bytes.len() as u64 >= u64::from(length) + 8)
}

/// Reads the header of an image.
fn open(bytes: &[u8], format: ImageFormat) -> Result<Box<dyn ImageDecoder + '_>, ImageError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Jpeg => Box::new(JpegDecoder::new(bytes)?),
        // The only header with compressed data: colour profiles.
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

/// Returns the EXIF orientation. Invalid metadata is ignored, as in Pillow.
fn orientation(decoder: &mut impl ImageDecoder, format: ImageFormat) -> Orientation {
    let found = if format == ImageFormat::Tiff {
        decoder.orientation().ok()
    } else {
        // Some WebP files have the EXIF prefix of JPEGs.
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
