//! Files of codes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sail_support::{open_file, write_atomic};
use serde::{Deserialize, Serialize};

use super::bit::{GROUP, Words};
use super::codes::{BitTable, Codes, MAX_DIM, MAX_NORM, Table};
use super::cosine::dot;
use super::principal::MAX_DIRECTIONS;
use super::{CodeKind, CodesError, rotation};

/// The only entry of the file's metadata.
const METADATA: &str = "sail_codes";
/// The version of the format, which includes the rotation and the rounding.
const VERSION: u32 = 1;
/// Maximum length of the header, many times that of a valid one.
const MAX_HEADER_BYTES: u64 = 1 << 16;
/// The largest factor: the norm of the difference of a row and a centre of length 1, with some room.
const MAX_FACTOR: f32 = 2.1;
/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 20;

const CENTRE: &str = "centre";
const FACTORS: &str = "factors";
const CODES: &str = "codes";
const DIRECTIONS: &str = "directions";
const COEFFICIENTS: &str = "coefficients";
const COEFFICIENT_FACTORS: &str = "coefficient_factors";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    version: u32,
    kind: CodeKind,
    dim: usize,
    rows: usize,
    /// Principal directions of bit codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directions: Option<usize>,
}

impl Description {
    /// Name, dtype and shape of the tensors in the order of the file, the widest dtype first. `None` if a size overflows.
    fn tensors(&self) -> Option<Vec<(String, TensorInfo)>> {
        let (rows, dim, width) = (self.rows, self.dim, rotation::width(self.dim));
        let floats = [(CENTRE, Dtype::F32, vec![dim]), (FACTORS, Dtype::F32, vec![rows])];
        let tensors = match self.directions {
            Some(count) => [
                vec![(CODES, Dtype::U64, vec![rows.div_ceil(GROUP), width / 64, GROUP])],
                floats.to_vec(),
                vec![
                    (DIRECTIONS, Dtype::F32, vec![count, dim]),
                    (COEFFICIENT_FACTORS, Dtype::F32, vec![rows]),
                    (COEFFICIENTS, Dtype::I8, vec![rows, count]),
                ],
            ]
            .concat(),
            None => [floats.to_vec(), vec![(CODES, Dtype::I8, vec![rows, width])]].concat(),
        };
        let mut end = 0usize;
        tensors
            .into_iter()
            .map(|(name, dtype, shape)| {
                let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
                let start = end;
                end = start.checked_add(elements.checked_mul(dtype.bitsize() / 8)?)?;
                Some((name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) }))
            })
            .collect()
    }
}

impl Codes {
    /// Writes the codes to a file, atomically. The same codes give the same bytes.
    ///
    /// The file is safetensors with `centre` F32 `[dim]`, `factors` F32 `[rows]` and `codes`: for [`CodeKind::Int8`] I8
    /// `[rows, width]`, and for [`CodeKind::Bit`] U64 `[rows / 8, width / 64, 8]`, rounded up, with bit `i` of word `j` of row
    /// `8 g + l` at `[g, j, l]`, together with `directions` F32 `[count, dim]`, `coefficients` I8 `[rows, count]` and
    /// `coefficient_factors` F32 `[rows]`.
    ///
    /// # Errors
    /// [`CodesError::Io`]; an existing file is then left unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CodesError> {
        let path = path.as_ref();
        let directions = match &self.table {
            Table::Bit(table) => Some(table.directions.len() / self.dim()),
            Table::Int8(_) => None,
        };
        let (kind, dim, rows) = (self.kind(), self.dim(), self.rows());
        let description = Description { version: VERSION, kind, dim, rows, directions };
        let write = |out: &mut dyn Write| {
            let tensors = description.tensors().ok_or(io::ErrorKind::FileTooLarge)?;
            let text = serde_json::to_string(&description)?;
            let metadata = Metadata::new(Some([(METADATA.to_owned(), text)].into()), tensors)
                .map_err(io::Error::other)?;
            let mut header = serde_json::to_vec(&metadata)?;
            header.resize(header.len().next_multiple_of(8), b' ');
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            let floats = |out: &mut dyn Write, values: &[f32]| {
                values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
            };
            match &self.table {
                Table::Bit(BitTable { signs, directions, coefficients, coefficient_factors }) => {
                    let mut words = signs.iter().flat_map(|words| words.0);
                    words.try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
                    for values in [&self.centre, &self.factors, directions, coefficient_factors] {
                        floats(out, values)?;
                    }
                    write_bytes(out, coefficients)?;
                }
                Table::Int8(codes) => {
                    floats(out, &self.centre)?;
                    floats(out, &self.factors)?;
                    write_bytes(out, codes)?;
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
        let malformed = |what: &str, found: String, expected: String| CodesError::Malformed {
            path: path.to_owned(),
            what: what.to_owned(),
            found,
            expected,
        };
        let io = |source| CodesError::Io { path: path.to_owned(), source };
        let mut file = open_file(path).map_err(|error| io(error.into()))?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut prefix = [0; 8];
        let mut length = 0;
        if bytes >= 8 {
            file.read_exact(&mut prefix).map_err(io)?;
            length = u64::from_le_bytes(prefix);
        }
        let largest = MAX_HEADER_BYTES.min(bytes.saturating_sub(8));
        if !(1..=largest).contains(&length) {
            return Err(malformed("the length of the header", length.to_string(), format!("1 to {largest}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        // Tensors cover the data without gaps and overlaps, which the type ensures.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| {
            malformed("the header", error.to_string(), "the header of a safetensors file".to_owned())
        })?;
        let text = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA));
        let Some(text) = text else {
            let expected = format!("an entry `{METADATA}`");
            return Err(malformed("the metadata", "without such an entry".to_owned(), expected));
        };
        let description: Description = serde_json::from_str(text).map_err(|error| {
            malformed(&format!("`{METADATA}`"), error.to_string(), "version, kind, dim and rows".to_owned())
        })?;
        if description.version != VERSION {
            let expected = format!("{VERSION}, the newest that this program knows");
            return Err(malformed("the version", description.version.to_string(), expected));
        }
        if !(1..=MAX_DIM).contains(&description.dim) {
            return Err(malformed("`dim`", description.dim.to_string(), format!("1 to {MAX_DIM}")));
        }
        let counts = match description.kind {
            CodeKind::Bit => Some(1)..=Some(MAX_DIRECTIONS),
            CodeKind::Int8 => None..=None,
        };
        if !counts.contains(&description.directions) {
            let expected = format!("{:?} to {:?}", counts.start(), counts.end());
            return Err(malformed("`directions`", format!("{:?}", description.directions), expected));
        }
        let expected = description.tensors().unwrap_or_default();
        let list = |tensors: Vec<(&str, &TensorInfo)>| {
            let list =
                tensors.iter().map(|(name, info)| format!("`{name}` {:?} {:?}", info.dtype, info.shape));
            list.collect::<Vec<_>>().join(", ")
        };
        let same = metadata.offset_keys().len() == expected.len()
            && expected
                .iter()
                .all(|(name, info)| metadata.info(name).is_some_and(|found| same_tensor(found, info)));
        if !same {
            let names = metadata.offset_keys();
            let found = names.iter().filter_map(|name| Some((name.as_str(), metadata.info(name)?))).collect();
            let expected = expected.iter().map(|(name, info)| (name.as_str(), info)).collect();
            return Err(malformed("the list of tensors", list(found), list(expected)));
        }
        let end = 8 + length + metadata.data_len() as u64;
        if bytes != end {
            return Err(malformed("the length", format!("{bytes} bytes"), end.to_string()));
        }
        let mut read = || {
            let (rows, width) = (description.rows, rotation::width(description.dim));
            let floats = |file: &mut File, count| read_values(file, count, f32::from_le_bytes);
            let Some(count) = description.directions else {
                let (centre, factors) = (floats(&mut file, description.dim)?, floats(&mut file, rows)?);
                let codes = read_values(&mut file, rows * width, i8::from_le_bytes)?;
                return Ok(Self { centre, factors, table: Table::Int8(codes) });
            };
            let signs =
                read_values(&mut file, rows.div_ceil(GROUP) * width / 64, |bytes: [u8; 8 * GROUP]| {
                    let (words, _) = bytes.as_chunks();
                    Words(std::array::from_fn(|lane| u64::from_le_bytes(words[lane])))
                })?;
            let (centre, factors) = (floats(&mut file, description.dim)?, floats(&mut file, rows)?);
            let directions = floats(&mut file, count * description.dim)?;
            let coefficient_factors = floats(&mut file, rows)?;
            let coefficients = read_values(&mut file, rows * count, i8::from_le_bytes)?;
            let table = BitTable { signs, directions, coefficients, coefficient_factors };
            Ok(Self { centre, factors, table: Table::Bit(table) })
        };
        let codes = read().map_err(io)?;
        for (what, vectors) in codes.vectors() {
            for vector in vectors.chunks_exact(codes.dim()) {
                let norm = dot(vector, vector).sqrt();
                if norm.is_nan() || norm > MAX_NORM {
                    let what = format!("the norm of {what}");
                    return Err(malformed(&what, norm.to_string(), format!("at most {MAX_NORM}")));
                }
            }
        }
        for factors in codes.all_factors() {
            if let Some(row) = factors.iter().position(|factor| !(0.0..=MAX_FACTOR).contains(factor)) {
                let what = format!("the factor of row {row}");
                return Err(malformed(&what, factors[row].to_string(), format!("0 to {MAX_FACTOR}")));
            }
        }
        Ok(codes)
    }

    /// Vectors of a norm of at most 1.
    fn vectors(&self) -> Vec<(&'static str, &[f32])> {
        let centre = ("the centre", self.centre.as_slice());
        match &self.table {
            Table::Bit(table) => vec![centre, ("a direction", &table.directions)],
            Table::Int8(_) => vec![centre],
        }
    }

    fn all_factors(&self) -> Vec<&[f32]> {
        match &self.table {
            Table::Bit(table) => vec![&self.factors, &table.coefficient_factors],
            Table::Int8(_) => vec![&self.factors],
        }
    }
}

fn write_bytes(out: &mut dyn Write, values: &[i8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(BUFFER.min(values.len()));
    for values in values.chunks(BUFFER) {
        bytes.clear();
        bytes.extend(values.iter().map(|value| value.to_le_bytes()[0]));
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn same_tensor(a: &TensorInfo, b: &TensorInfo) -> bool {
    (a.dtype, &a.shape, a.data_offsets) == (b.dtype, &b.shape, b.data_offsets)
}

/// Reads `count` values of `N` bytes.
fn read_values<T, const N: usize>(
    file: &mut File,
    count: usize,
    value: impl Fn([u8; N]) -> T,
) -> io::Result<Vec<T>> {
    let mut values = Vec::with_capacity(count);
    let mut buffer = vec![0; BUFFER.min(count * N)];
    while values.len() < count {
        let bytes = (count - values.len()).min(BUFFER / N) * N;
        let bytes = &mut buffer[..bytes];
        file.read_exact(bytes)?;
        values.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)));
    }
    Ok(values)
}
