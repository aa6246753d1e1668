//! Opening features wherever a user says they are.

use std::borrow::Cow;
use std::path::Path;

use sail_core::{FeatureError, FeatureSource, Modality, Provenance};

use crate::{DataError, EmbeddingStore, MatrixFeatures, SafetensorsFeatures};

/// Features of any kind that this crate knows. Code that only reads rows takes any [`FeatureSource`]
/// instead.
#[derive(Debug)]
pub enum Features {
    /// An embedding store.
    Store(EmbeddingStore),
    /// A tensor of a safetensors file.
    File(SafetensorsFeatures),
    /// A matrix in memory.
    Memory(MatrixFeatures),
}

impl Features {
    /// What a row describes, where that is known.
    pub fn modality(&self) -> Option<Modality> {
        match self {
            Self::Store(store) => Some(store.modality()),
            Self::File(_) | Self::Memory(_) => None,
        }
    }

    /// Compares the files with their checksums as [`EmbeddingStore::verify`] does. Returns whether there
    /// were any: only stores have checksums.
    ///
    /// # Errors
    /// Those of [`EmbeddingStore::verify`].
    pub fn verify(&self, progress: impl Fn(u64) + Sync) -> Result<bool, DataError> {
        match self {
            Self::Store(store) => store.verify(progress).map(|()| true),
            Self::File(_) | Self::Memory(_) => Ok(false),
        }
    }

    fn source(&self) -> &dyn FeatureSource {
        match self {
            Self::Store(source) => source,
            Self::File(source) => source,
            Self::Memory(source) => source,
        }
    }
}

impl FeatureSource for Features {
    fn rows(&self) -> usize {
        self.source().rows()
    }

    fn dim(&self) -> usize {
        self.source().dim()
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        self.source().key(row)
    }

    fn positional(&self) -> bool {
        self.source().positional()
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.source().provenance()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.source().gather(rows, out)
    }
}

/// Opens the folder of an embedding store, `FILE.safetensors`, or `FILE.safetensors:TENSOR`.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::NotFeatures`] for a file of another kind, and those of
/// [`EmbeddingStore::open`] and [`SafetensorsFeatures::open`].
pub fn open_features(spec: &str) -> Result<Features, DataError> {
    let (path, tensor) = split_tensor_spec(spec);
    if !path.exists() {
        return Err(DataError::NotFound { spec: spec.to_owned() });
    }
    if path.is_dir() {
        return EmbeddingStore::open(path).map(Features::Store);
    }
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(DataError::NotFeatures { path: path.to_owned() });
    }
    SafetensorsFeatures::open(path, tensor).map(Features::File)
}

/// Splits `FILE.safetensors:TENSOR`. What is there under its whole name is not split.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use sail_data::split_tensor_spec;
/// assert_eq!(split_tensor_spec("a.safetensors:image"), (Path::new("a.safetensors"), Some("image")));
/// assert_eq!(split_tensor_spec("a.safetensors"), (Path::new("a.safetensors"), None));
/// assert_eq!(split_tensor_spec("store:v1"), (Path::new("store:v1"), None));
/// ```
pub fn split_tensor_spec(spec: &str) -> (&Path, Option<&str>) {
    const EXTENSION: &str = ".safetensors";
    let whole = (Path::new(spec), None);
    if whole.0.exists() {
        return whole;
    }
    match spec.split_once(".safetensors:") {
        Some((stem, tensor)) => (Path::new(&spec[..stem.len() + EXTENSION.len()]), Some(tensor)),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StoreConfig, StoreWriter};
    use safetensors::tensor::{Dtype, TensorView};

    #[test]
    fn each_spec_opens_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

        let config = StoreConfig::new(Modality::Image, Provenance::new("m"), 1);
        let mut writer = StoreWriter::create(at("store"), config).unwrap();
        writer.push("key", &[1.0]).unwrap();
        writer.finish().unwrap();
        let store = open_features(&at("store")).unwrap();
        assert_eq!((store.modality(), store.key(0).as_ref()), (Some(Modality::Image), "key"));
        assert!(store.verify(|_| {}).unwrap());

        let view = TensorView::new(Dtype::F32, vec![1, 1], &[0, 0, 128, 63]).unwrap();
        let bytes = safetensors::serialize([("a:b", &view), ("c", &view)], None).unwrap();
        std::fs::write(at("f.safetensors"), bytes).unwrap();
        let file = open_features(&at("f.safetensors:a:b")).unwrap();
        assert_eq!((file.modality(), file.positional()), (None, true));
        assert!(!file.verify(|_| {}).unwrap());
        let mut out = [0.0];
        file.gather(&[0], &mut out).unwrap();
        assert_eq!(out, [1.0]);
        let several = open_features(&at("f.safetensors"));
        assert!(matches!(several, Err(DataError::SeveralTensors { .. })));
    }

    #[test]
    fn nothing_and_something_else_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("notes.txt"), "hello").unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        for missing in ["absent", "absent.safetensors", "absent.safetensors:x"] {
            let error = open_features(&at(missing)).unwrap_err();
            assert!(matches!(&error, DataError::NotFound { spec } if spec.ends_with(missing)), "{error}");
        }
        assert!(matches!(open_features(&at("notes.txt")), Err(DataError::NotFeatures { .. })));
        assert!(matches!(open_features(&at("empty")), Err(DataError::NotAStore { .. })));
    }
}
