//! Features in the formats of other programs.

mod fvecs;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Named};
use sail_support::{ranges, write_atomic};

use crate::DataError;

/// Bytes of the values that are read at once.
const BLOCK_BYTES: usize = 16 << 20;

/// A format of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// Apache Parquet: a column `key` of strings and a column `embedding` of lists of 32-bit floats.
    #[cfg(feature = "parquet")]
    Parquet,
    /// A NumPy array `[rows, dim]` of 32-bit floats, format 1.0.
    Npy,
    /// The vectors of the [TEXMEX corpora](http://corpus-texmex.irisa.fr/) that FAISS and other libraries read: each is its
    /// dimension as a 32-bit integer and its values as 32-bit floats, little-endian.
    Fvecs,
}

impl Named for ExportFormat {
    const ALL: &'static [Self] = &[
        #[cfg(feature = "parquet")]
        Self::Parquet,
        Self::Npy,
        Self::Fvecs,
    ];

    fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
            Self::Npy => "npy",
            Self::Fvecs => "fvecs",
        }
    }
}

/// What [`export`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Number of rows.
    pub rows: usize,
    /// The file with a key in each line, in the order of the rows; `None` for a format that has keys itself.
    pub keys: Option<PathBuf>,
}

/// Writes all rows of features to a file in the format of other programs, as 32-bit floats.
///
/// Formats without keys get a file beside, a line for each row: `NAME.keys.txt` for `NAME.npy`. Files appear when they are
/// complete, the keys first; existing ones are replaced. Memory does not grow with the number of rows. `written` receives
/// numbers of written rows and may stop the export.
///
/// # Errors
/// [`DataError::Stopped`]; [`DataError::KeyLine`] if a key has a line break and the format has no keys itself; those of
/// reading; [`DataError::Io`].
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use sail_data::{ExportFormat, MatrixFeatures, export};
///
/// let features = MatrixFeatures::new(2, vec![1.0, 2.0, 3.0, 4.0])?.with_keys(["a", "b"])?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("vectors.npy");
/// export(&features, &path, ExportFormat::Npy, |_| ControlFlow::Continue(()))?;
/// assert_eq!(std::fs::read_to_string(folder.path().join("vectors.keys.txt"))?, "a\nb\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export(
    source: &dyn FeatureSource,
    path: &Path,
    format: ExportFormat,
    mut written: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Exported, DataError> {
    let _span = tracing::info_span!("export", rows = source.rows(), format = format.name()).entered();
    let mut rows = Rows { source, written: &mut written };
    let keys = match format {
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet => None,
        ExportFormat::Npy | ExportFormat::Fvecs => {
            let keys = path.with_extension("keys.txt");
            write_file(&keys, |out| write_keys(source, &keys, out))?;
            Some(keys)
        }
    };
    write_file(path, |out| match format {
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet => parquet::write(&mut rows, out),
        ExportFormat::Npy => npy::write(&mut rows, out),
        ExportFormat::Fvecs => fvecs::write(&mut rows, out),
    })?;
    Ok(Exported { rows: source.rows(), keys })
}

/// An error while a file is written: of the rows, or of the file.
enum WriteError {
    Rows(DataError),
    File(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl<E: Into<DataError>> From<E> for WriteError {
    fn from(error: E) -> Self {
        Self::Rows(error.into())
    }
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), WriteError>,
) -> Result<(), DataError> {
    write_atomic(path, write).map_err(|error| match error {
        WriteError::Rows(error) => error,
        WriteError::File(error) => DataError::io(path)(error),
    })
}

fn write_keys(source: &dyn FeatureSource, path: &Path, out: &mut dyn Write) -> Result<(), WriteError> {
    for rows in ranges(source.rows(), 4096) {
        let first = rows.start;
        for (offset, key) in source.keys(&rows.collect::<Vec<_>>())?.into_iter().enumerate() {
            if key.contains(['\n', '\r']) {
                return Err(DataError::KeyLine { row: first + offset, key, path: path.to_owned() }.into());
            }
            writeln!(out, "{key}")?;
        }
    }
    Ok(())
}

/// The rows to write.
struct Rows<'a> {
    source: &'a dyn FeatureSource,
    written: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
}

impl Rows<'_> {
    /// Passes on all rows in blocks: indices and values.
    fn each_block(
        &mut self,
        mut write: impl FnMut(&[usize], &[f32]) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let dim = self.source.dim();
        let mut values = Vec::new();
        for rows in ranges(self.source.rows(), BLOCK_BYTES / (4 * dim.max(1))) {
            let rows: Vec<usize> = rows.collect();
            values.resize(rows.len() * dim, 0.0);
            self.source.gather(&rows, &mut values)?;
            write(&rows, &values)?;
            if (self.written)(rows.len() as u64).is_break() {
                return Err(DataError::Stopped.into());
            }
        }
        Ok(())
    }
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    fn features(rows: usize) -> MatrixFeatures {
        let features =
            MatrixFeatures::new(3, (0..3 * rows).map(|value| value as f32 / 4.0).collect()).unwrap();
        features.with_keys((0..rows).map(|row| format!("é{row}.png"))).unwrap()
    }

    fn written(format: ExportFormat, name: &str, rows: usize) -> (Vec<u8>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut counted = 0;
        let exported = export(&features(rows), &path, format, |rows| {
            counted += rows;
            ControlFlow::Continue(())
        });
        let exported = exported.unwrap();
        assert_eq!((exported.rows, counted), (rows, rows as u64));
        (std::fs::read(path).unwrap(), exported.keys.map(|keys| std::fs::read_to_string(keys).unwrap()))
    }

    #[test]
    fn npy_is_what_numpy_writes() {
        // numpy.lib.format.write_array(file, numpy.arange(6, dtype="f4").reshape(2, 3) / 4, version=(1, 0))
        let (bytes, keys) = written(ExportFormat::Npy, "v.npy", 2);
        let header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert_eq!(&bytes[..header.len()], header);
        assert!(bytes[header.len()..127].iter().all(|&byte| byte == b' ') && bytes[127] == b'\n');
        assert_eq!(bytes[128..], to_bytes(&[0.0, 0.25, 0.5, 0.75, 1.0, 1.25]));
        assert_eq!(keys.unwrap(), "é0.png\né1.png\n");
    }

    #[test]
    fn fvecs_have_the_dimension_before_each_vector() {
        let (bytes, keys) = written(ExportFormat::Fvecs, "v.fvecs", 2);
        let dim = 3i32.to_le_bytes().to_vec();
        let expected = [dim.clone(), to_bytes(&[0.0, 0.25, 0.5]), dim, to_bytes(&[0.75, 1.0, 1.25])];
        assert_eq!(bytes, expected.concat());
        assert_eq!(keys.unwrap(), "é0.png\né1.png\n");
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_has_a_key_and_a_list_in_each_row() {
        use ::parquet::file::reader::{FileReader, SerializedFileReader};
        use ::parquet::record::{ListAccessor, RowAccessor};

        let rows = 2_000_000 / 3 * 3;
        let (bytes, keys) = written(ExportFormat::Parquet, "v.parquet", rows);
        assert!(keys.is_none());
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), rows as i64);
        assert!(reader.num_row_groups() > 1);
        for (row, record) in reader.get_row_iter(None).unwrap().enumerate().step_by(9973) {
            let record = record.unwrap();
            assert_eq!(*record.get_string(0).unwrap(), format!("é{row}.png"));
            let list = record.get_list(1).unwrap();
            let values: Vec<f32> = (0..list.len()).map(|index| list.get_float(index).unwrap()).collect();
            assert_eq!(values, [0, 1, 2].map(|column| (3 * row + column) as f32 / 4.0), "{row}");
        }
    }

    #[test]
    fn nothing_appears_unless_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let stopped = export(&features(4), &path, ExportFormat::Npy, |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(DataError::Stopped)));
        assert!(!path.exists());
        let odd = MatrixFeatures::new(1, vec![1.0, 2.0]).unwrap().with_keys(["a", "b\nc"]).unwrap();
        let error = export(&odd, &path, ExportFormat::Fvecs, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().starts_with("the key \"b\\nc\" of row 1 has a line break"), "{error}");
        assert!(!path.exists());
    }
}
