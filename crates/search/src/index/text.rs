//! Texts in arrays.

use sail_data::ArrayFile;

use super::error::{IndexError, ensure};

/// Reads one of many texts, which lie one after the other in `bytes`.
pub(crate) fn text(
    arrays: &ArrayFile,
    offsets: &str,
    bytes: &str,
    row: usize,
    max: usize,
) -> Result<String, IndexError> {
    let range = arrays.integers(offsets, row..row + 2)?;
    let (start, end) = (range[0] as usize, range[1] as usize);
    let is_short = end.checked_sub(start).is_some_and(|length| length <= max);
    let found = format!("{start} to {end}");
    let what = format!("`{offsets}` of row {row}");
    ensure(is_short, arrays.path(), what.clone(), found, format!("ascending, at most {max} bytes"))?;
    let text = arrays.bytes(bytes, start..end)?;
    String::from_utf8(text).map_err(|_| IndexError::Damaged {
        path: arrays.path().to_owned(),
        what,
        found: "not valid UTF-8".to_owned(),
        expected: "UTF-8".to_owned(),
    })
}
