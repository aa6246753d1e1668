//! Keys of a table that stand for several images.

use super::seen::Seen;
use super::table::{Cell, Row, Rows};

/// Replaces rows whose key an earlier row has for another image by the reason: images of these keys would have no row, and
/// their captions would be those of the first.
///
/// The key is the last cell and the path of the image the one before it, which is removed unless `keep_path`. Rows must be
/// those from the beginning of the table. About 50 bytes per key are kept.
pub(super) fn check_owners(rows: Rows, keep_path: bool) -> Rows {
    let mut owners = Seen::default();
    let mut check = move |cells: &mut Vec<Cell>| {
        let Some(at) = cells.len().checked_sub(2) else { return Ok(()) };
        let conflict = match (&cells[at], &cells[at + 1]) {
            (Cell::Bytes(path), key) => {
                let key = match key {
                    Cell::Integer(key) => key.as_str(),
                    Cell::Bytes(key) => std::str::from_utf8(key).unwrap_or_default(),
                    _ => "",
                };
                let owner = owners.hash(path);
                // Rows without a key are skipped anyway.
                let first = if key.is_empty() { None } else { owners.insert(key, owner) };
                first.is_some_and(|first| first != owner).then(|| {
                    format!(
                        "the key `{key}` is that of another image in an earlier row: choose another key column, or none \
                         to use the paths"
                    )
                })
            }
            _ => None,
        };
        if !keep_path {
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
