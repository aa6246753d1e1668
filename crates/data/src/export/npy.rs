//! NumPy arrays, [format 1.0](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).

use std::io::Write;

use super::{Rows, WriteError, to_bytes};

/// Magic bytes, version, and length of the header.
const PREFIX: usize = 10;
/// The values begin at a multiple of this.
const ALIGNMENT: usize = 64;

pub(super) fn write(rows: &mut Rows<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
    let shape = format!("({}, {})", rows.source.rows(), rows.source.dim());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (PREFIX + header.len() + 1).next_multiple_of(ALIGNMENT) - PREFIX;
    while header.len() + 1 < length {
        header.push(' ');
    }
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    // Two numbers of at most 20 digits: the length is far below 65,536.
    out.write_all(&(length as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    rows.each_block(|_, values| Ok(out.write_all(&to_bytes(values))?))
}
