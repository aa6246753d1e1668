//! Image decoding.

mod error;
mod format;
mod ico;
mod jpeg;
mod rgb;
mod stored;

use std::io::{Cursor, ErrorKind};

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::ico::IcoDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::tga::TgaDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits, RgbImage};
use sail_support::catch_panic;

pub use error::DecodeError;
use format::Format;
use ico::Icon;
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
/// The format is detected by content, not by file name: JPEG, PNG, WebP, GIF, BMP (with and without the header of a file),
/// TIFF, PNM, ICO or TGA. Of an animation or a document, the first frame or page is decoded; of an icon, the largest image.
/// The result is that of Pillow and transformers:
///
/// - Transparency (an alpha channel, a transparent palette entry or colour) is composited on white, rounded to nearest.
/// - Grey, palette and CMYK images are converted to RGB; colour profiles are not applied.
/// - What the components of a JPEG are is decided by libjpeg's rules from the JFIF and Adobe segments and the ids of the
///   components. CMYK JPEGs are assumed to be inverted, as Adobe's are.
/// - 16-bit values keep their high byte. Pillow does so for colours, but clips 16-bit *grey* images at 255.
/// - The EXIF orientation is applied, as in transformers' `load_image` (`ImageOps.exif_transpose`). The plain
///   `Image.open(path).convert("RGB")` of the reference scripts does not, and ignores transparency. An orientation in XMP
///   is ignored.
/// - A part of the canvas that the first frame of a GIF does not cover is white; Pillow takes the first colour of the palette.
///
/// All formats but JPEG match Pillow 13 exactly, including lossy WebP, except that samples that do not have 8 or 16 bits
/// (in PNM and BMP) differ by up to 1 / 255. The values of a JPEG depend on the rounding of the decoder. Differences to
/// libjpeg-turbo 3.2, measured on photos:
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
/// assert!(error.to_string().contains("an HTML page instead of the file"));
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
    let format = Format::of(bytes)?;
    // (Fuzzing with millions of corrupt images has found no panic.)
    catch_panic(|| decode(bytes, format, limits))
        .unwrap_or_else(|reason| Err(DecodeError::Panicked { format: format.name, reason }))
}

fn decode(bytes: &[u8], format: Format, limits: &DecodeLimits) -> Result<StoredImage, DecodeError> {
    match format.kind {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits),
        ImageFormat::WebP if !riff_is_whole(bytes) => Err(DecodeError::Truncated { format: format.name }),
        ImageFormat::Ico => match Icon::largest(bytes)? {
            Icon::Png(image) => decode_other(image, Format { kind: ImageFormat::Png, ..format }, limits),
            Icon::Bmp(icon) => decode_other(&icon, format, limits),
        },
        _ => decode_other(bytes, format, limits),
    }
}

fn decode_other(bytes: &[u8], format: Format, limits: &DecodeLimits) -> Result<StoredImage, DecodeError> {
    let Format { kind, name, .. } = format;
    let failed = |error| failure(error, name);
    let mut decoder = open(bytes, format).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, name, limits)?;
    let allowed = decoder.total_bytes().saturating_mul(3).saturating_add(OVERHEAD);
    decoder.set_limits(allocating(allowed)).map_err(failed)?;
    let orientation = match kind {
        ImageFormat::Tiff => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        _ => orientation(&decoder.exif_metadata().ok().flatten().unwrap_or_default()),
    };
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let image = rgb::to_rgb(image).ok_or_else(|| DecodeError::Unsupported {
        format: name,
        reason: "its samples are floating-point values".to_owned(),
    })?;
    Ok(StoredImage::new(image, orientation))
}

fn check_pixels(
    width: u32,
    height: u32,
    format: &'static str,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(DecodeError::NoPixels { format, width, height }),
        pixels if pixels > limits.max_pixels => {
            Err(DecodeError::TooManyPixels { width, height, limit: limits.max_pixels })
        }
        _ => Ok(()),
    }
}

/// Returns whether a WebP has the length in its header. The decoder would ignore missing data after the pixels, such as EXIF.
fn riff_is_whole(bytes: &[u8]) -> bool {
    let length =
        bytes.get(4..8).and_then(|length| length.first_chunk()).map(|length| u32::from_le_bytes(*length));
    length.is_some_and(|length| bytes.len() as u64 >= u64::from(length) + 8)
}

/// Reads the header of an image.
fn open(bytes: &[u8], format: Format) -> Result<Box<dyn ImageDecoder + '_>, ImageError> {
    let bytes = Cursor::new(bytes);
    Ok(match format.kind {
        // The only header with compressed data: colour profiles.
        ImageFormat::Png => Box::new(PngDecoder::with_limits(bytes, allocating(OVERHEAD))?),
        ImageFormat::WebP => Box::new(WebPDecoder::new(bytes)?),
        ImageFormat::Gif => Box::new(GifDecoder::new(bytes)?),
        ImageFormat::Tiff => Box::new(TiffDecoder::new(bytes)?),
        ImageFormat::Ico => Box::new(IcoDecoder::new(bytes)?),
        ImageFormat::Pnm => Box::new(PnmDecoder::new(bytes)?),
        ImageFormat::Tga => Box::new(TgaDecoder::new(bytes)?),
        _ if format.is_dib => Box::new(BmpDecoder::new_without_file_header(bytes)?),
        _ => Box::new(BmpDecoder::new(bytes)?),
    })
}

fn allocating(max_alloc: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc);
    limits
}

/// Returns the EXIF orientation. Invalid metadata is ignored, as in Pillow.
fn orientation(exif: &[u8]) -> Orientation {
    // Some WebP files have the EXIF prefix of JPEGs.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
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
