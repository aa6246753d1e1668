//! Masks: PNG files whose samples are labels.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use sail_data::DecodeLimits;
use sail_eval::LabelMap;

use super::SegmentationSetError;

/// What a decoder may take beside the pixels.
const OVERHEAD: usize = 64 << 20;

/// Reads a mask: the index of every pixel of a palette PNG, or the value of every pixel of a grey one, of 1 to 8 bits.
///
/// The colours of a palette are not looked at. A mask in true colour has no labels to read and is refused, as is a grey
/// one of 16 bits.
///
/// # Errors
/// [`SegmentationSetError::Io`] for a file that cannot be read, [`SegmentationSetError::Mask`] for one that is no such
/// PNG, is damaged, or has more pixels or bytes than the default [`DecodeLimits`].
pub fn read_mask(path: &Path) -> Result<LabelMap, SegmentationSetError> {
    let mask = |reason| SegmentationSetError::Mask { path: path.to_owned(), reason };
    decode(&super::set::read(path)?).map_err(mask)
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
        return Err(format!("it is {width} x {height} pixels, at most {limit} pixels are allowed"));
    }
    if !matches!(info.color_type, ColorType::Indexed | ColorType::Grayscale) {
        let found = format!("{:?}", info.color_type).to_lowercase();
        return Err(format!("its samples are {found}, expected labels: a palette or grey PNG"));
    }
    let bits = match info.bit_depth {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => return Err("its samples have 16 bits, expected at most 8".to_owned()),
    };
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut packed = vec![0; size];
    let frame = reader.next_frame(&mut packed).map_err(failed)?;
    let per_byte = 8 / bits;
    // Of several samples in a byte the first has the high bits.
    let sample = |row: &[u8], column: usize| {
        let shift = 8 - bits * (column % per_byte + 1);
        (row[column / per_byte] >> shift) & (u8::MAX >> (8 - bits))
    };
    let mut labels = Vec::with_capacity(width * height);
    for row in packed.chunks_exact(frame.line_size) {
        labels.extend((0..width).map(|column| sample(row, column)));
    }
    LabelMap::new([height, width], labels).map_err(|error| error.to_string())
}
