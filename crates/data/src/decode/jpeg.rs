//! JPEG.
//!
//! The decoder is lenient and fills missing data with grey, so the markers are parsed first, at the cost of a search for 0xff
//! bytes, and the data must be long enough for the size of the image. It also interprets colours in its own way, so it
//! returns the components, which are converted here by the rules of libjpeg.

use std::borrow::Cow;

use image::{DynamicImage, GrayImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::error::DecodeError;
use super::stored::StoredImage;
use super::{DecodeLimits, check_pixels, orientation, rgb};

/// Progressive images have about ten scans, and every scan costs a pass over all coefficients.
const MAX_SCANS: usize = 200;

const FORMAT: &str = "jpeg";

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<StoredImage, DecodeError> {
    let header = Header::parse(bytes)?;
    let colors = header.colors()?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    check_pixels(width, height, FORMAT, limits)?;
    let bytes = header.without_adobe(bytes);
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX);
    let mut decoder =
        JpegDecoder::new_with_options(ZCursor::new(&bytes[..]), options.set_max_height(usize::MAX));
    decoder.decode_headers().map_err(failure)?;
    let found = decoder.input_colorspace().ok_or(DecodeError::Truncated { format: FORMAT })?;
    let (output, colors) = match (colors, found) {
        // The decoder converts the usual images, faster.
        (Colors::YCbCr, ColorSpace::YCbCr) => (ColorSpace::RGB, Colors::Rgb),
        // The color space that it finds is a copy of the components.
        _ => (found, colors),
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(output));
    let orientation = orientation(decoder.exif().map_or(&[], Vec::as_slice));
    let mut pixels = decoder.decode().map_err(failure)?;
    let image = match colors {
        Colors::Grey => GrayImage::from_raw(width, height, pixels)
            .and_then(|image| rgb::to_rgb(DynamicImage::ImageLuma8(image))),
        Colors::Rgb => RgbImage::from_raw(width, height, pixels),
        Colors::YCbCr => {
            pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = ycbcr_to_rgb(*pixel));
            RgbImage::from_raw(width, height, pixels)
        }
        Colors::Cmyk => RgbImage::from_raw(width, height, rgb::map(&pixels, |&pixel| cmyk_to_rgb(pixel))),
        Colors::Ycck => {
            let pixels = rgb::map(&pixels, |&[y, cb, cr, black]| {
                let [cyan, magenta, yellow] = ycbcr_to_rgb([y, cb, cr]).map(|value| 255 - value);
                cmyk_to_rgb([cyan, magenta, yellow, black])
            });
            RgbImage::from_raw(width, height, pixels)
        }
    };
    let reason = "it has fewer components than its header states".to_owned();
    Ok(StoredImage::new(image.ok_or(DecodeError::Damaged { format: FORMAT, reason })?, orientation))
}

fn failure(error: DecodeErrors) -> DecodeError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            DecodeError::Unsupported { format: FORMAT, reason: format!("{scheme:?}") }
        }
        error => DecodeError::Damaged { format: FORMAT, reason: error.to_string() },
    }
}

/// What the components of an image are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colors {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// What the markers state.
#[derive(Debug, Default)]
struct Header {
    width: u16,
    height: u16,
    /// The ids of the components.
    ids: Vec<u8>,
    /// Whether there is a JFIF segment before the first scan.
    is_jfif: bool,
    /// The transform in the last Adobe segment before the first scan.
    adobe: Option<u8>,
    /// Positions of the name in all segments that may be Adobe's.
    adobe_names: Vec<usize>,
}

impl Header {
    /// Parses the markers. The image must have its end marker (other than that of a thumbnail), at least one bit per block
    /// of 8 x 8 pixels, and a plausible number of scans.
    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let truncated = DecodeError::Truncated { format: FORMAT };
        let mut header = Self::default();
        let mut scans = 0;
        // Skip the start marker, which identified the format.
        let mut rest = bytes.get(2..).unwrap_or_default();
        loop {
            let Some((marker, after)) = next_marker(rest) else { return Err(truncated) };
            rest = after;
            match marker {
                0xd9 => return Ok(header),
                // Stand-alone: restart markers, TEM, and the start of another image.
                0xd0..=0xd8 | 0x01 => continue,
                _ => {}
            }
            // A segment begins with its own length; the entropy-coded data of a scan follows its segment and holds no
            // marker but restarts.
            let Some([high, low]) = rest.first_chunk() else { return Err(truncated) };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(after) = rest.get(length..) else { return Err(truncated) };
            let data = rest.get(2..length).unwrap_or_default();
            match marker {
                0xda => scans += 1,
                0xc0..=0xc2 => {
                    header.set_frame(data).ok_or(truncated.clone())?;
                    let blocks = usize::from(header.height / 8) * usize::from(header.width / 8);
                    if bytes.len() < blocks / 8 {
                        return Err(truncated);
                    }
                }
                // The lengths are those that libjpeg asks for.
                0xe0 if scans == 0 && data.len() >= 14 && data.starts_with(b"JFIF\0") => {
                    header.is_jfif = true
                }
                0xee if data.starts_with(b"Adobe") => {
                    header.adobe_names.push(bytes.len() - rest.len() + 2);
                    if let (0, Some(&transform)) = (scans, data.get(11)) {
                        header.adobe = Some(transform);
                    }
                }
                _ => {}
            }
            if scans > MAX_SCANS {
                let reason = format!("it has more than {MAX_SCANS} scans");
                return Err(DecodeError::Damaged { format: FORMAT, reason });
            }
            rest = after;
        }
    }

    /// Reads a frame header: precision, height, width, the number of components, and for each its id and two more bytes.
    fn set_frame(&mut self, data: &[u8]) -> Option<()> {
        let ([_, size @ .., components], rest) = data.split_first_chunk::<6>()?;
        [self.height, self.width] = [[size[0], size[1]], [size[2], size[3]]].map(u16::from_be_bytes);
        let specifications = rest.get(..3 * usize::from(*components))?;
        self.ids = specifications.iter().step_by(3).copied().collect();
        Some(())
    }

    /// The rules of libjpeg (`default_decompress_parms` in `jdapimin.c`).
    fn colors(&self) -> Result<Colors, DecodeError> {
        Ok(match (self.ids.len(), self.adobe) {
            (1, _) => Colors::Grey,
            (3, Some(0)) if !self.is_jfif => Colors::Rgb,
            (3, None) if !self.is_jfif && self.ids == *b"RGB" => Colors::Rgb,
            (3, _) => Colors::YCbCr,
            (4, None | Some(0)) => Colors::Cmyk,
            (4, _) => Colors::Ycck,
            (0, _) => return Err(DecodeError::Truncated { format: FORMAT }),
            (components, _) => {
                let reason = format!("it has {components} components");
                return Err(DecodeError::Unsupported { format: FORMAT, reason });
            }
        })
    }

    /// Hides the Adobe segments, by which the decoder would choose colors or refuse the file.
    fn without_adobe<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut bytes = Cow::Borrowed(bytes);
        for &name in &self.adobe_names {
            if let Some(first) = bytes.to_mut().get_mut(name) {
                *first = 0;
            }
        }
        bytes
    }
}

/// Returns the next marker and the bytes after it. Stuffed and fill bytes are skipped.
fn next_marker(mut rest: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let at = rest.iter().position(|&byte| byte == 0xff)?;
        rest = rest.get(at + 1..)?;
        match *rest.first()? {
            0x00 => rest = rest.get(1..)?,
            0xff => {}
            marker => return Some((marker, rest.get(1..)?)),
        }
    }
}

/// Converts a pixel with libjpeg's arithmetic (`jdcolor.c`), in units of 1 / 65536.
fn ycbcr_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let red = y + ((91_881 * cr + half) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + half) >> 16);
    let blue = y + ((116_130 * cb + half) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// Converts a pixel that is inverted, as Adobe's are, with Pillow's arithmetic.
fn cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|value| black - rgb::scale(255 - value, black))
}
