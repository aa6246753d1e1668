//! Detection of truncated JPEGs.
//!
//! The decoder is lenient and fills missing data with grey. So the markers are parsed first, at the cost of a search for
//! 0xff bytes, and the data must be long enough for the size of the image.

use super::error::DecodeError;

/// Progressive images have about ten scans, and every scan costs a pass over all coefficients.
const MAX_SCANS: usize = 200;

const FORMAT: &str = "jpeg";

/// Checks that the image has its end marker (other than that of a thumbnail), at least one bit per block of 8 x 8 pixels,
/// and a plausible number of scans.
pub(super) fn check_whole(bytes: &[u8]) -> Result<(), DecodeError> {
    let truncated = DecodeError::Truncated { format: FORMAT };
    let mut scans = 0;
    // Skip the start marker, which identified the format.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let Some((marker, after)) = next_marker(rest) else { return Err(truncated) };
        rest = after;
        match marker {
            0xd9 => return Ok(()),
            // Stand-alone: restart markers, TEM, and the start of another image.
            0xd0..=0xd8 | 0x01 => continue,
            0xda => scans += 1,
            // A frame header: its length, precision, height and width.
            0xc0..=0xc2 => {
                let Some([_, _, _, size @ ..]) = rest.first_chunk::<7>() else { return Err(truncated) };
                let [height, width] = [[size[0], size[1]], [size[2], size[3]]].map(u16::from_be_bytes);
                let blocks = usize::from(height / 8) * usize::from(width / 8);
                if bytes.len() < blocks / 8 {
                    return Err(truncated);
                }
            }
            _ => {}
        }
        if scans > MAX_SCANS {
            let reason = format!("it has more than {MAX_SCANS} scans");
            return Err(DecodeError::Damaged { format: FORMAT, reason });
        }
        // A segment begins with its own length; the entropy-coded data of a scan follows its segment and holds no
        // marker but restarts.
        let Some([high, low]) = rest.first_chunk() else { return Err(truncated) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(after) = rest.get(length..) else { return Err(truncated) };
        rest = after;
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
