//! Keys of a table that stand for several images.

use super::cell::{Cell, Row, Rows};
use super::seen::Seen;
use crate::DataError;

/// Replaces rows whose key an earlier row has for another image by the reason: images of these keys would have no row, and
/// their captions would be those of the first.
///
/// The key is the last cell and the image, or its path, the one before it, which is removed unless `keep_image`. Rows must be
/// those from the beginning of the table. About 50 bytes per key are kept.
pub(super) fn check_owners(rows: Rows, keep_image: bool) -> Rows {
    let mut owners = Seen::default();
    let mut check = move |cells: &mut Vec<Cell>| {
        let Some(at) = cells.len().checked_sub(2) else { return Ok(()) };
        let conflict = match (&cells[at], &cells[at + 1]) {
            (Cell::Bytes(image) | Cell::Path(image), key) => {
                let (key, owner) = (key_of(key), owners.hash(image));
                // Rows without a key are skipped anyway.
                let first = if key.is_empty() { None } else { owners.insert(key, owner) };
                first.is_some_and(|first| first != owner).then(|| {
                    format!("the key `{key}` is that of another image in an earlier row: choose another key column")
                })
            }
            _ => None,
        };
        if !keep_image {
            cells.remove(at);
        }
        conflict.map_or(Ok(()), Err)
    };
    Box::new(rows.map(move |row| {
        row.map(|Row { number, cells }| {
            let cells = cells.and_then(|mut cells| check(&mut cells).map(|()| cells));
            Row { number, cells }
        })
    }))
}

/// Returns whether two rows have the same key, which is their only cell. About 50 bytes per key are kept.
pub(super) fn repeats_a_key(rows: Rows) -> Result<bool, DataError> {
    let mut seen = Seen::default();
    for row in rows {
        let key = row?.cells.ok().and_then(|mut cells| cells.pop());
        let key = key.as_ref().map_or("", key_of);
        if !key.is_empty() && seen.insert(key, ()).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key of a cell; empty if it has none.
fn key_of(cell: &Cell) -> &str {
    match cell {
        Cell::Integer(key) => key,
        Cell::Bytes(key) => std::str::from_utf8(key).unwrap_or_default(),
        _ => "",
    }
}
