//! Vectors, each with its dimension.

use std::io::Write;

use super::{Rows, WriteError, to_bytes};

pub(super) fn write(rows: &mut Rows<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
    let dim = rows.source.dim();
    // A dimension of two billion does not occur: a row of it has 8 GB.
    let prefix = (dim as i32).to_le_bytes();
    rows.each_block(|_, values| {
        values.chunks_exact(dim.max(1)).try_for_each(|row| {
            out.write_all(&prefix)?;
            Ok(out.write_all(&to_bytes(row))?)
        })
    })
}
