//! How delimited text is divided into fields.

use std::path::Path;

use super::physical_lines::PhysicalLines;
use super::table::{CAPTION_COLUMNS, IMAGE_COLUMNS};
use crate::DataError;

/// How a file is divided into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) delimiter: u8,
    pub(super) header: bool,
    pub(super) quotes: bool,
    /// Whether spaces after a delimiter are not part of the field.
    pub(super) trim: bool,
    /// Whether the first column is the name of an image, `#` and the number of the caption, as in Flickr8k's
    /// `Flickr8k.token.txt`.
    pub(super) numbered: bool,
}

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

impl Layout {
    /// Detects the layout of a file by its extension and its first line. Returns `None` for text that is not a table.
    pub(super) fn detect(
        path: &Path,
        header: bool,
        quotes: bool,
        max: usize,
    ) -> Result<Option<Self>, DataError> {
        let suffix = path.extension().unwrap_or_default().to_ascii_lowercase();
        let line = PhysicalLines::open(path, max)?.next_line().map_err(DataError::io(path))?;
        let line = line.map(|line| line.bytes).unwrap_or_default();
        let line = line.trim_ascii_end();
        let usual = if suffix == "tsv" { b'\t' } else { b',' };
        // Without a header, any character may be in a caption.
        let found =
            if header { DELIMITERS.iter().copied().find(|delimiter| line.contains(delimiter)) } else { None };
        let delimiter = if line.contains(&usual) { usual } else { found.unwrap_or(usual) };
        let names: Vec<&[u8]> = line.split(|&byte| byte == delimiter).collect();
        let trim = header && names.len() > 1 && names[1..].iter().all(|name| name.starts_with(b" "));
        let layout = Self { delimiter, header, quotes, trim, numbered: false };
        if suffix != "txt" {
            return Ok(Some(layout));
        }
        let numbered = line.split(|&byte| byte == b'\t').next().is_some_and(|first| {
            let name = first.iter().rposition(|&byte| byte == b'#').map(|at| first.split_at(at));
            name.is_some_and(|(name, number)| {
                let name = std::str::from_utf8(name).is_ok_and(super::image_root::is_image_name);
                name && number.len() > 1
                    && number[1..].iter().all(u8::is_ascii_digit)
                    && first.len() < line.len()
            })
        });
        if numbered {
            let (delimiter, header, quotes) = (b'\t', false, false);
            return Ok(Some(Self { delimiter, header, quotes, trim: false, numbered }));
        }
        let is = |name: &[u8], usual: &str| {
            let name = name.trim_ascii();
            let quoted = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
            quoted.unwrap_or(name) == usual.as_bytes()
        };
        let has = |usual: &[&str]| names.iter().any(|name| usual.iter().any(|usual| is(name, usual)));
        Ok((header && has(&IMAGE_COLUMNS) && has(&CAPTION_COLUMNS)).then_some(layout))
    }
}
