//! Opening features by their path.

use std::path::{Path, PathBuf};

use sail_support::resolve;

use crate::{ConcatFeatures, DataError, EmbeddingStore, Features, SafetensorsFeatures};

/// Opens an embedding store (a folder), `FILE.safetensors` or `FILE.safetensors:TENSOR`. A comma-separated list of these
/// is concatenated in this order, unless a file or folder has that name.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::NotFeatures`] for a file of another kind, and those of
/// [`EmbeddingStore::open`], [`SafetensorsFeatures::open`] and [`ConcatFeatures::new`].
pub fn open_features(spec: &str) -> Result<Features, DataError> {
    if Path::new(spec).exists() || !spec.contains(',') {
        return open_one(spec);
    }
    let parts = spec.split(',').map(|spec| Ok((spec.to_owned(), open_one(spec)?)));
    ConcatFeatures::new(parts.collect::<Result<_, DataError>>()?).map(Features::Several)
}

fn open_one(spec: &str) -> Result<Features, DataError> {
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

/// Returns whether two specifications name the same features: with relative and absolute paths, or through links.
pub fn same_features(first: &str, second: &str) -> bool {
    let parts = |spec: &str| -> Vec<(PathBuf, Option<String>)> {
        let several = spec.contains(',') && !Path::new(spec).exists();
        let parts = if several { spec.split(',').collect() } else { vec![spec] };
        let part = |spec| {
            let (path, tensor) = split_tensor_spec(spec);
            (resolve(path), tensor.map(str::to_owned))
        };
        parts.into_iter().map(part).collect()
    };
    first == second || parts(first) == parts(second)
}

/// Splits `FILE.safetensors:TENSOR` into path and tensor name, unless a file has the whole name.
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
    use sail_core::{FeatureSource, Modality, Provenance};

    #[test]
    fn opens_every_kind_of_features() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

        let config = StoreConfig::new(Modality::Image, Provenance::new("m"), 1);
        let mut writer = StoreWriter::create(at("store"), config).unwrap();
        writer.push("key", &[1.0]).unwrap();
        writer.finish().unwrap();
        let store = open_features(&at("store")).unwrap();
        assert_eq!((store.modality(), store.key(0).as_ref()), (Some(Modality::Image), "key"));
        store.verify(|_| {}).unwrap();

        let view = TensorView::new(Dtype::F32, vec![1, 1], &[0, 0, 128, 63]).unwrap();
        let bytes = safetensors::serialize([("a:b", &view), ("c", &view)], None).unwrap();
        std::fs::write(at("f.safetensors"), bytes).unwrap();
        let file = open_features(&at("f.safetensors:a:b")).unwrap();
        assert_eq!((file.modality(), file.positional()), (None, true));
        file.verify(|_| {}).unwrap();
        let mut out = [0.0];
        file.gather(&[0], &mut out).unwrap();
        assert_eq!(out, [1.0]);
        let several = open_features(&at("f.safetensors"));
        assert!(matches!(several, Err(DataError::SeveralTensors { .. })));
    }

    #[test]
    fn several_are_one_and_a_comma_in_a_name_is_none_between_two() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let write = |name: &str, modality, rows: &[(&str, [f32; 1])]| {
            let mut writer =
                StoreWriter::create(at(name), StoreConfig::new(modality, Provenance::new("m"), 1)).unwrap();
            writer.extend(rows.iter().copied()).unwrap();
            writer.finish().unwrap();
        };
        write("a", Modality::Image, &[("x", [1.0]), ("y", [2.0])]);
        write("b", Modality::Image, &[("z", [3.0])]);
        write("c,d", Modality::Image, &[("w", [4.0])]);
        write("t", Modality::Text, &[("x", [5.0])]);
        let all = open_features(&format!("{},{}", at("b"), at("a"))).unwrap();
        assert_eq!((all.rows(), all.modality()), (3, Some(Modality::Image)));
        assert_eq!(all.keys(&[0, 2, 1]).unwrap(), ["z", "y", "x"]);
        let mut out = [0.0; 2];
        all.gather(&[2, 0], &mut out).unwrap();
        assert_eq!(out, [2.0, 3.0]);
        assert_eq!(open_features(&at("c,d")).unwrap().rows(), 1);

        let shard = folder.path().join("a/shard-00000.safetensors");
        let mut bytes = std::fs::read(&shard).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&shard, bytes).unwrap();
        let all = open_features(&format!("{},{}", at("b"), at("a"))).unwrap();
        assert!(matches!(all.verify(|_| {}), Err(DataError::Checksum { path, .. }) if path == shard));

        let mixed = open_features(&format!("{},{}", at("a"), at("t"))).unwrap_err();
        assert!(matches!(&mixed, DataError::Parts { field: "modality", .. }), "{mixed}");
        let absent = open_features(&format!("{},nowhere", at("a"))).unwrap_err();
        assert!(matches!(&absent, DataError::NotFound { spec } if spec == "nowhere"), "{absent}");
    }

    #[cfg(unix)]
    #[test]
    fn the_same_features_have_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("a")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        assert!(same_features(&at("a"), &at("link/")));
        assert!(same_features(&format!("{},{}", at("a"), at("b")), &format!("{},{}", at("link"), at("b"))));
        assert!(!same_features(&format!("{},{}", at("a"), at("b")), &format!("{},{}", at("b"), at("a"))));
        let file = at("link/f.safetensors");
        assert!(same_features(&format!("{file}:x"), &format!("{}:x", at("a/f.safetensors"))));
        assert!(!same_features(&format!("{file}:x"), &format!("{file}:y")));
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
