//! Segmentation masks: images whose samples are labels.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::tiff::TiffDecoder;
use image::{ImageDecoder, ImageError, ImageFormat};
use png::{BitDepth, Decoder, Limits, Transformations};
use sail_data::DecodeLimits;
use sail_eval::{IGNORED, LabelMap};
use sail_support::{catch_panic, stand_in};

use super::error::SegmentationSetError;
use super::file::read_file;
use super::overlay::class_colour;

/// Maximum memory of the decoder besides the pixels.
const OVERHEAD: usize = 64 << 20;

/// Colours that are labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// None.
    Refused,
    /// Those of Pascal VOC's colour map.
    Voc,
}

/// Reads a mask: a PNG, BMP, TIFF or GIF with a label for every pixel.
///
/// Labels are palette indices or grey values of up to 16 bits; channels of one value, and an opaque alpha channel, are
/// accepted. 255 in a mask of 8 bits and 65535 in a mask of 16 bits become [`IGNORED`]. The colours of a palette do not
/// matter. Coloured and transparent pixels are rejected, and so is JPEG, which changes labels.
///
/// # Errors
/// [`SegmentationSetError::Io`] for a file that cannot be read, [`SegmentationSetError::Mask`] for other and corrupt files,
/// and for more pixels than the default [`DecodeLimits`].
pub fn read_mask(path: &Path) -> Result<LabelMap, SegmentationSetError> {
    read(path, Colours::Refused)
}

pub(super) fn read(path: &Path, colours: Colours) -> Result<LabelMap, SegmentationSetError> {
    let mask = |reason| SegmentationSetError::Mask { path: path.to_owned(), reason };
    let bytes = read_file(path, DecodeLimits::default().max_bytes)?;
    // The decoders are third-party code on untrusted data.
    catch_panic(|| decode(&bytes, colours))
        .unwrap_or_else(|message| Err(format!("the decoder panicked ({message}): save the mask as PNG")))
        .map_err(mask)
}

fn decode(bytes: &[u8], colours: Colours) -> Result<LabelMap, String> {
    if let Some(found) = stand_in(bytes) {
        return Err(format!("found {found}"));
    }
    let image = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => png(bytes)?,
        Ok(format @ (ImageFormat::Bmp | ImageFormat::Gif | ImageFormat::Tiff)) => other(bytes, format)?,
        Ok(ImageFormat::Jpeg) => {
            return Err("JPEG changes labels when it compresses: save the original masks as PNG".to_owned());
        }
        Ok(format) => {
            let found = format!("{format:?}").to_lowercase();
            return Err(format!("the format is {found}, expected png, bmp, tiff or gif"));
        }
        Err(_) => return Err("not an image: expected a png with a label for every pixel".to_owned()),
    };
    LabelMap::new(image.size, image.labels(colours)?).map_err(|error| error.to_string())
}

/// Samples as they are stored.
struct Samples {
    /// Rows and columns.
    size: [usize; 2],
    channels: usize,
    /// Bits of a sample; less than 8 only with one channel.
    bits: usize,
    /// Reads a sample of 16 bits.
    word: fn([u8; 2]) -> u16,
    bytes: Vec<u8>,
    /// Length of a row in bytes.
    stride: usize,
}

fn check_size(width: u32, height: u32) -> Result<[usize; 2], String> {
    let limit = DecodeLimits::default().max_pixels;
    if u64::from(width) * u64::from(height) > limit {
        return Err(format!("the mask is {width} x {height} pixels, expected at most {limit} pixels"));
    }
    Ok([height as usize, width as usize])
}

fn png(bytes: &[u8]) -> Result<Samples, String> {
    let failed = |error: png::DecodingError| error.to_string();
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: OVERHEAD });
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(failed)?;
    let info = reader.info();
    let size = check_size(info.width, info.height)?;
    let (channels, bits) = (info.color_type.samples(), info.bit_depth);
    let mut packed = vec![0; reader.output_buffer_size().ok_or("the mask is too large")?];
    let stride = reader.next_frame(&mut packed).map_err(failed)?.line_size;
    let bits = match bits {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => 16,
    };
    Ok(Samples { size, channels, bits, word: u16::from_be_bytes, bytes: packed, stride })
}

fn other(bytes: &[u8], format: ImageFormat) -> Result<Samples, String> {
    let failed = |error: ImageError| error.to_string();
    let cursor = Cursor::new(bytes);
    let mut decoder: Box<dyn ImageDecoder + '_> = match format {
        ImageFormat::Gif => Box::new(GifDecoder::new(cursor).map_err(failed)?),
        ImageFormat::Tiff => Box::new(TiffDecoder::new(cursor).map_err(failed)?),
        _ => {
            let mut decoder = BmpDecoder::new(cursor).map_err(failed)?;
            decoder.set_indexed_color(is_indexed_bmp(bytes)?);
            Box::new(decoder)
        }
    };
    let (width, height) = decoder.dimensions();
    let size = check_size(width, height)?;
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(decoder.total_bytes().saturating_mul(3).saturating_add(OVERHEAD as u64));
    decoder.set_limits(limits).map_err(failed)?;
    let kind = decoder.color_type();
    let channels = usize::from(kind.channel_count());
    let width_of_sample = usize::from(kind.bytes_per_pixel()) / channels;
    if width_of_sample > 2 {
        return Err(
            "the samples are floating-point values, expected a class index for every pixel".to_owned()
        );
    }
    let length = usize::try_from(decoder.total_bytes()).map_err(|_| "the mask is too large")?;
    let mut samples = vec![0; length];
    decoder.read_image(&mut samples).map_err(failed)?;
    let stride = size[1] * channels * width_of_sample;
    let (bits, word) = (8 * width_of_sample, u16::from_ne_bytes);
    Ok(Samples { size, channels, bits, word, bytes: samples, stride })
}

/// Returns whether the pixels of a BMP are palette indices of 8 bits.
fn is_indexed_bmp(bytes: &[u8]) -> Result<bool, String> {
    let field = |at: usize| bytes.get(at..at + 2).map(|field| u16::from_le_bytes([field[0], field[1]]));
    // The header of OS/2 has 12 bytes and no compression.
    let (bits, compression) =
        if field(14) == Some(12) { (field(24), Some(0)) } else { (field(28), field(30)) };
    match (bits, compression) {
        (Some(8), Some(0)) => Ok(true),
        // The colours of one bit are black and white.
        (Some(1 | 16 | 24 | 32), _) => Ok(false),
        (Some(bits), _) => {
            Err(format!("the BMP has {bits} bits a pixel or is compressed: save the mask as PNG"))
        }
        (None, _) => Err("the header of the BMP is incomplete".to_owned()),
    }
}

impl Samples {
    fn labels(&self, colours: Colours) -> Result<Vec<u16>, String> {
        let Self { size: [rows, columns], channels, bits, stride, .. } = *self;
        let mut labels = Vec::with_capacity(rows * columns);
        for (number, row) in self.bytes.chunks_exact(stride.max(1)).take(rows).enumerate() {
            for column in 0..columns {
                let mut pixel = [0; 4];
                for (channel, value) in pixel[..channels].iter_mut().enumerate() {
                    *value = self.sample(row, column * channels + channel);
                }
                let label = label(&pixel[..channels], bits, colours);
                labels.push(label.map_err(|reason| format!("{reason} at row {number}, column {column}"))?);
            }
        }
        Ok(labels)
    }

    fn sample(&self, row: &[u8], index: usize) -> u16 {
        match self.bits {
            16 => (self.word)([row[2 * index], row[2 * index + 1]]),
            8 => row[index].into(),
            // Several samples share a byte, the first in its high bits.
            bits => {
                let shift = 8 - bits * (index % (8 / bits) + 1);
                u16::from((row[index * bits / 8] >> shift) & (u8::MAX >> (8 - bits)))
            }
        }
    }
}

/// Returns the label of a pixel with one to four channels.
fn label(pixel: &[u16], bits: usize, colours: Colours) -> Result<u16, String> {
    let highest = if bits == 16 { u16::MAX } else { u8::MAX.into() };
    let value = match *pixel {
        [_, alpha] | [_, _, _, alpha] if alpha != highest => {
            return Err(
                "a pixel is transparent: save the masks without an alpha channel; found one".to_owned()
            );
        }
        [red, green, blue, ..] => match VOC.get(&[red, green, blue]) {
            Some(&label) if colours == Colours::Voc && bits == 8 => label,
            _ if red == green && green == blue => red,
            _ => {
                let colour = format!("{red}, {green}, {blue}");
                return Err(format!(
                    "colours are no labels: save the masks with a class index for every pixel; found {colour}"
                ));
            }
        },
        [grey, ..] => grey,
        [] => IGNORED,
    };
    Ok(if bits >= 8 && value == highest { IGNORED } else { value })
}

/// The labels of Pascal VOC's colours.
static VOC: LazyLock<HashMap<[u16; 3], u16>> =
    LazyLock::new(|| (0..=255).map(|label| (class_colour(label).map(u16::from), label)).collect());
