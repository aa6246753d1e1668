//! Features in a safetensors file of any origin.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::TensorInfo;
use sail_core::{FeatureError, FeatureSource, Provenance, StoreDtype};

use crate::file::{StableFile, read_at};
use crate::gather::{Wanted, sorted};
use crate::header::{Header, describe};
use crate::stored_matrix::{Job, StoredMatrix, read_rows};
use crate::{DataError, Fingerprint};

/// A two-dimensional float tensor in a safetensors file. It has no keys, so its rows pair by position.
///
/// Rows are read from the file on demand, as in an [`EmbeddingStore`](crate::EmbeddingStore).
#[derive(Debug)]
pub struct SafetensorsFeatures {
    file: StableFile,
    matrix: StoredMatrix,
}

impl SafetensorsFeatures {
    /// Opens a file without reading its values. `tensor` may be `None` if exactly one tensor is two-dimensional with dtype
    /// F16, BF16 or F32.
    ///
    /// # Errors
    /// [`DataError::NoTensor`] and [`DataError::SeveralTensors`], which list the available tensors;
    /// [`DataError::Safetensors`] and [`DataError::Malformed`] for a corrupt file; [`DataError::Io`].
    pub fn open(path: impl AsRef<Path>, tensor: Option<&str>) -> Result<Self, DataError> {
        let file = StableFile::open(path.as_ref())?;
        let header = Header::read(&file)?;
        let kind = "two-dimensional F16, BF16 or F32 tensor with at least one row";
        let matrix = select(&file, &header, tensor, kind, |info| StoredMatrix::new(&header, info))?;
        Ok(Self { file, matrix })
    }

    /// Reads sorted rows into their output slices.
    pub(crate) fn scatter(&self, wanted: &mut [Wanted]) -> Result<(), FeatureError> {
        read_rows([Job { file: &self.file, matrix: &self.matrix, wanted }])
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Adds what identifies the contents of the tensor without reading them.
    pub(crate) fn identify(&self, fingerprint: &mut Fingerprint) -> Option<()> {
        fingerprint.add(&self.matrix.start.to_le_bytes());
        self.file.identify(fingerprint)
    }

    /// Returns the dtype of the stored values.
    pub fn dtype(&self) -> StoreDtype {
        self.matrix.codec.dtype
    }
}

impl FeatureSource for SafetensorsFeatures {
    fn rows(&self) -> usize {
        self.matrix.rows
    }

    fn dim(&self) -> usize {
        self.matrix.codec.dim
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        row.to_string().into()
    }

    fn positional(&self) -> bool {
        true
    }

    fn provenance(&self) -> Option<&Provenance> {
        None
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.scatter(&mut sorted(self.matrix.rows, self.dim(), rows, out)?)
    }
}

/// Reads a one-dimensional integer tensor (U8, I32 or I64), such as the class labels of a test set. `tensor` may be `None`
/// if the file has only one.
///
/// # Errors
/// Those of [`SafetensorsFeatures::open`].
pub fn read_indices(path: impl AsRef<Path>, tensor: Option<&str>) -> Result<Vec<i64>, DataError> {
    let file = StableFile::open(path.as_ref())?;
    let header = Header::read(&file)?;
    let integers = |info: &TensorInfo| {
        let dtype =
            matches!(info.dtype, safetensors::Dtype::U8 | safetensors::Dtype::I32 | safetensors::Dtype::I64);
        (dtype && info.shape.len() == 1).then(|| info.clone())
    };
    let info = select(&file, &header, tensor, "one-dimensional U8, I32 or I64 tensor", integers)?;
    let (first, end) = info.data_offsets;
    let mut bytes = vec![0; end - first];
    file.read(|from| read_at(from, &mut bytes, header.start(&info)))?;
    Ok(match info.dtype {
        safetensors::Dtype::U8 => bytes.into_iter().map(i64::from).collect(),
        safetensors::Dtype::I32 => {
            bytes.as_chunks().0.iter().map(|&x| i64::from(i32::from_le_bytes(x))).collect()
        }
        _ => bytes.as_chunks().0.iter().map(|&x| i64::from_le_bytes(x)).collect(),
    })
}

/// Finds a tensor by name, or the only one that `accept` returns a value for.
fn select<T>(
    file: &StableFile,
    header: &Header,
    name: Option<&str>,
    kind: &str,
    accept: impl Fn(&TensorInfo) -> Option<T>,
) -> Result<T, DataError> {
    let tensors = header.metadata.offset_keys();
    let info = |name: &str| header.metadata.info(name);
    let missing = |wanted: String| DataError::NoTensor {
        path: file.path().to_owned(),
        wanted,
        available: list(tensors.iter().filter_map(|name| Some(describe(name, info(name)?)))),
    };
    if let Some(name) = name {
        return info(name).and_then(accept).ok_or_else(|| missing(format!("{kind} named `{name}`")));
    }
    let mut found = None;
    let mut candidates = Vec::new();
    for name in &tensors {
        let Some(info) = info(name) else { continue };
        if let Some(tensor) = accept(info) {
            found = Some(tensor);
            candidates.push(describe(name, info));
        }
    }
    match found {
        Some(tensor) if candidates.len() == 1 => Ok(tensor),
        Some(_) => {
            Err(DataError::SeveralTensors { path: file.path().to_owned(), candidates: list(candidates) })
        }
        None => Err(missing(kind.to_owned())),
    }
}

/// Formats the first ten items; a model can have hundreds of tensors.
fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    match items.len() {
        0 => "no tensors".to_owned(),
        1..=10 => items.join(", "),
        more => format!("{} and {} more", items[..10].join(", "), more - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype as D, TensorView};
    use std::path::PathBuf;

    fn write(folder: &Path, tensors: &[(&str, D, &[usize], &[u8])]) -> PathBuf {
        let path = folder.join("file.safetensors");
        let views = tensors.iter().map(|&(name, dtype, shape, bytes)| {
            (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
        });
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        path
    }

    #[test]
    fn the_only_matrix_is_found_among_other_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let path = write(
            folder.path(),
            &[
                ("labels", D::I32, &[1], &[7, 0, 0, 0]),
                ("x", D::F32, &[2, 2], &values),
                ("v", D::F32, &[4], &values),
            ],
        );
        let features = SafetensorsFeatures::open(&path, None).unwrap();
        assert_eq!((features.rows(), features.dim(), features.dtype()), (2, 2, StoreDtype::F32));
        assert!(features.positional() && features.key(1) == "1");
        let mut out = [0.0; 4];
        features.gather(&[1, 0], &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 1.0, 2.0]);

        let error = SafetensorsFeatures::open(&path, Some("v")).unwrap_err().to_string();
        assert!(error.contains("named `v`") && error.contains("`x` F32 [2, 2]"), "{error}");
    }

    #[test]
    fn several_matrices_need_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path =
            write(folder.path(), &[("image", D::F16, &[1, 2], &[0; 4]), ("text", D::BF16, &[2, 1], &[0; 4])]);
        let error = SafetensorsFeatures::open(&path, None).unwrap_err().to_string();
        for part in ["`image` F16 [1, 2]", "`text` BF16 [2, 1]", "FILE.safetensors:TENSOR"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(SafetensorsFeatures::open(&path, Some("text")).unwrap().rows(), 2);
    }

    #[test]
    fn rejects_empty_matrices_and_other_dtypes() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(
            folder.path(),
            &[("a", D::F32, &[0, 3], &[]), ("b", D::F32, &[3, 0], &[]), ("c", D::F64, &[1, 1], &[0; 8])],
        );
        let error = SafetensorsFeatures::open(&path, None).unwrap_err();
        assert!(matches!(error, DataError::NoTensor { .. }), "{error}");
        assert!(error.to_string().contains("`c` F64 [1, 1]"), "{error}");
    }

    #[test]
    fn integer_types_read_as_i64() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = [255, 255, 255, 255, 255, 255, 255, 127];
        let path = write(
            folder.path(),
            &[("i64", D::I64, &[1], &bytes), ("i32", D::I32, &[2], &bytes), ("u8", D::U8, &[8], &bytes)],
        );
        assert_eq!(read_indices(&path, Some("i64")).unwrap(), [i64::MAX]);
        assert_eq!(read_indices(&path, Some("i32")).unwrap(), [-1, i64::from(i32::MAX)]);
        assert_eq!(read_indices(&path, Some("u8")).unwrap(), [255, 255, 255, 255, 255, 255, 255, 127]);
        let error = read_indices(&path, None).unwrap_err();
        assert!(matches!(error, DataError::SeveralTensors { .. }), "{error}");
    }
}
