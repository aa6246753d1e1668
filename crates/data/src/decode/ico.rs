//! Windows icons.

use super::error::DecodeError;

const FORMAT: &str = "ico";
/// Length of an entry of the directory, which follows 6 bytes.
const ENTRY: usize = 16;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The image of an icon that is decoded.
pub(super) enum Icon<'a> {
    /// A PNG.
    Png(&'a [u8]),
    /// An icon with a BMP only.
    Bmp(Vec<u8>),
}

impl<'a> Icon<'a> {
    /// Selects the largest image, and among those of one size that with the fewest bits per pixel, as Pillow does.
    ///
    /// The decoder of icons would select the one with the most bits per pixel, and read metadata of any size.
    pub(super) fn largest(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let truncated = DecodeError::Truncated { format: FORMAT };
        let (count, entries) = match bytes {
            [_, _, _, _, low, high, entries @ ..] => {
                (usize::from(u16::from_le_bytes([*low, *high])), entries)
            }
            _ => return Err(truncated),
        };
        let entries = entries.as_chunks::<ENTRY>().0.get(..count).ok_or(truncated.clone())?;
        let side = |length: u8| if length == 0 { 256 } else { u32::from(length) };
        let depth = |entry: &[u8; ENTRY]| match (u16::from_le_bytes([entry[6], entry[7]]), entry[2]) {
            (0, 0) => 256,
            (0, colors) => u16::from(colors).next_power_of_two().ilog2() as u16,
            (depth, _) => depth,
        };
        let best = entries
            .iter()
            .min_by_key(|entry| (std::cmp::Reverse(side(entry[0]) * side(entry[1])), depth(entry)));
        let Some(best) = best else {
            return Err(DecodeError::NoPixels { format: FORMAT, width: 0, height: 0 });
        };
        let [size, offset] =
            [8, 12].map(|at| u32::from_le_bytes([best[at], best[at + 1], best[at + 2], best[at + 3]]));
        let end = (offset as usize).checked_add(size as usize);
        let image = end.and_then(|end| bytes.get(offset as usize..end)).ok_or(truncated)?;
        if image.starts_with(PNG) {
            return Ok(Self::Png(image));
        }
        let mut icon = [&[0, 0, 1, 0, 1, 0][..], best, image].concat();
        // The image now follows the entry.
        icon[18..22].copy_from_slice(&(6 + ENTRY as u32).to_le_bytes());
        Ok(Self::Bmp(icon))
    }
}
