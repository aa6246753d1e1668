//! Files of codes.

use std::io::{self, Write};
use std::path::Path;

use safetensors::Dtype;
use sail_support::write_atomic;
use serde::{Deserialize, Serialize};

use super::bit::{GROUP, Words};
use super::codes::{Codes, MAX_DIM, MAX_NORM, Table};
use super::cosine::dot;
use super::{CodeKind, CodesError, rotation};
use crate::tensors::{BUFFER, Layout, TensorFile, TensorsError, malformed, write_header};

/// The only entry of the file's metadata.
const METADATA: &str = "sail_codes";
/// The version of the format, which includes the rotation and the rounding.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    version: u32,
    kind: CodeKind,
    dim: usize,
    rows: usize,
}

impl Description {
    fn layout(&self) -> Layout {
        let width = rotation::width(self.dim);
        let (centre, factors) =
            (("centre", Dtype::F32, vec![self.dim]), ("factors", Dtype::F32, vec![self.rows]));
        let codes = |dtype, shape| ("codes", dtype, shape);
        match self.kind {
            CodeKind::Bit => {
                vec![codes(Dtype::U64, vec![self.rows.div_ceil(GROUP), width / 64, GROUP]), centre, factors]
            }
            CodeKind::Int8 => vec![centre, factors, codes(Dtype::I8, vec![self.rows, width])],
        }
    }
}

impl Codes {
    /// Writes the codes to a file, atomically. The same codes give the same bytes.
    ///
    /// The file is safetensors with `centre` F32 `[dim]`, `factors` F32 `[rows]` and `codes`: for [`CodeKind::Bit`] U64
    /// `[rows / 8, width / 64, 8]`, rounded up, with bit `i` of word `j` of row `8 g + l` at `[g, j, l]`, and for
    /// [`CodeKind::Int8`] I8 `[rows, width]`.
    ///
    /// # Errors
    /// [`CodesError::Io`]; an existing file is then left unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CodesError> {
        let path = path.as_ref();
        let description =
            Description { version: VERSION, kind: self.kind(), dim: self.dim(), rows: self.rows() };
        let write = |out: &mut dyn Write| {
            write_header(out, METADATA, &description, description.layout())?;
            if let Table::Bit(codes) = &self.table {
                codes
                    .iter()
                    .flat_map(|words| words.0)
                    .try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
            }
            let floats = self.centre.iter().chain(&self.factors);
            floats.into_iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            if let Table::Int8(codes) = &self.table {
                let mut bytes = Vec::with_capacity(BUFFER);
                for codes in codes.chunks(BUFFER) {
                    bytes.clear();
                    bytes.extend(codes.iter().map(|code| code.to_le_bytes()[0]));
                    out.write_all(&bytes)?;
                }
            }
            io::Result::Ok(())
        };
        write_atomic(path, write).map_err(|source| CodesError::Io { path: path.to_owned(), source })
    }

    /// Reads a file of codes. Any file is accepted or refused without a panic, and nothing is allocated beyond its length.
    ///
    /// # Errors
    /// [`CodesError::Io`]; [`CodesError::Malformed`] if the file is not one that [`save`](Self::save) of this or an earlier
    /// version writes, or its values are out of range.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CodesError> {
        let path = path.as_ref();
        read(path).map_err(|error| match error {
            TensorsError::Io(source) => CodesError::Io { path: path.to_owned(), source },
            TensorsError::Malformed { what, found, expected } => {
                CodesError::Malformed { path: path.to_owned(), what, found, expected }
            }
        })
    }
}

fn read(path: &Path) -> Result<Codes, TensorsError> {
    let mut file = TensorFile::open(path)?;
    let description: Description = file.description(METADATA, "version, kind, dim and rows")?;
    if description.version != VERSION {
        let expected = format!("{VERSION}, the newest that this program knows");
        return Err(malformed("the version", description.version, expected));
    }
    if !(1..=MAX_DIM).contains(&description.dim) {
        return Err(malformed("`dim`", description.dim, format_args!("1 to {MAX_DIM}")));
    }
    file.check(description.layout())?;
    let (rows, width) = (description.rows, rotation::width(description.dim));
    let mut bits = None;
    if description.kind == CodeKind::Bit {
        bits = Some(file.values(rows.div_ceil(GROUP) * width / 64, |bytes: [u8; 8 * GROUP]| {
            let (words, _) = bytes.as_chunks();
            Words(std::array::from_fn(|lane| u64::from_le_bytes(words[lane])))
        })?);
    }
    let centre = file.values(description.dim, f32::from_le_bytes)?;
    let factors = file.values(rows, f32::from_le_bytes)?;
    let table = match bits {
        Some(codes) => Table::Bit(codes),
        None => Table::Int8(file.values(rows * width, i8::from_le_bytes)?),
    };
    let norm = dot(&centre, &centre).sqrt();
    if norm.is_nan() || norm > MAX_NORM {
        return Err(malformed("the norm of the centre", norm, format_args!("at most {MAX_NORM}")));
    }
    // Of a row and a centre of length 1, with some room.
    let largest = 2.1;
    match factors.iter().position(|factor| !(0.0..=largest).contains(factor)) {
        Some(row) => {
            Err(malformed(format!("the factor of row {row}"), factors[row], format_args!("0 to {largest}")))
        }
        None => Ok(Codes { centre, factors, table }),
    }
}
