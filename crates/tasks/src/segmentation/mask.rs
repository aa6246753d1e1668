//! Segmentation masks: PNG files whose samples are labels.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use sail_data::DecodeLimits;
use sail_eval::{IGNORED, LabelMap};

use super::error::SegmentationSetError;
use super::file::read_file;

/// Maximum memory of the decoder besides the pixels.
const OVERHEAD: usize = 64 << 20;

/// Reads a mask: a PNG with palette indices (1 to 8 bits) or grey values (1 to 16 bits) as labels.
///
/// The colours of a palette do not matter. 255 in a mask of 8 bits and 65535 in a mask of 16 bits become [`IGNORED`].
/// RGB masks are rejected.
///
/// # Errors
/// [`SegmentationSetError::Io`] for a file that cannot be read, [`SegmentationSetError::Mask`] for other and corrupt files,
/// and for more pixels than the default [`DecodeLimits`].
pub fn read_mask(path: &Path) -> Result<LabelMap, SegmentationSetError> {
    let mask = |reason| SegmentationSetError::Mask { path: path.to_owned(), reason };
    decode(&read_file(path, DecodeLimits::default().max_bytes)?).map_err(mask)
}

fn decode(bytes: &[u8]) -> Result<LabelMap, String> {
    let failed = |error: png::DecodingError| error.to_string();
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: OVERHEAD });
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(failed)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    let limit = DecodeLimits::default().max_pixels;
    if (width * height) as u64 > limit {
        return Err(format!("the mask is {width} x {height} pixels, expected at most {limit} pixels"));
    }
    if !matches!(info.color_type, ColorType::Indexed | ColorType::Grayscale) {
        let found = format!("{:?}", info.color_type).to_lowercase();
        return Err(format!("the colour type is {found}, expected a palette or grey PNG"));
    }
    let bits = match info.bit_depth {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => 16,
    };
    let size = reader.output_buffer_size().ok_or("the mask is too large")?;
    let mut packed = vec![0; size];
    let frame = reader.next_frame(&mut packed).map_err(failed)?;
    let sample = |row: &[u8], column: usize| match bits {
        16 => u16::from_be_bytes([row[2 * column], row[2 * column + 1]]),
        8 if row[column] == u8::MAX => IGNORED,
        8 => row[column].into(),
        // Several samples share a byte, the first in its high bits.
        _ => {
            let shift = 8 - bits * (column % (8 / bits) + 1);
            u16::from((row[column * bits / 8] >> shift) & (u8::MAX >> (8 - bits)))
        }
    };
    let mut labels = Vec::with_capacity(width * height);
    for row in packed.chunks_exact(frame.line_size) {
        labels.extend((0..width).map(|column| sample(row, column)));
    }
    LabelMap::new([height, width], labels).map_err(|error| error.to_string())
}
