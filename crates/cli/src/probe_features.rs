//! The features that `sail probe` compares.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use sail_vl::core::Modality;
use sail_vl::probe::{EncoderFeatures, NamedFeatures};

use crate::error::CliError;
use crate::inputs::VerifyArgs;

/// The features of one side.
pub(crate) struct Opened {
    /// The encoders.
    pub(crate) encoders: Vec<EncoderFeatures>,
    /// Where the features of each set are, by its name in the results.
    pub(crate) specs: BTreeMap<String, String>,
}

/// Returns the features and their name: the part before `=`, or the tensor, or the stem of the path.
pub(crate) fn named(spec: &str) -> (String, &str) {
    if let Some((name, features)) = spec.split_once('=')
        && !name.is_empty()
    {
        return (name.to_owned(), features);
    }
    let (path, tensor) = sail_vl::data::split_tensor_spec(spec);
    let stem = || Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    (tensor.map(str::to_owned).or_else(stem).unwrap_or_else(|| spec.to_owned()), spec)
}

/// Opens the features of one side.
pub(crate) fn open(specs: &[String], modality: Modality, verify: &VerifyArgs) -> Result<Opened, CliError> {
    let (mut names, mut paths) = (HashSet::new(), BTreeMap::new());
    let named: Vec<(String, &str)> = specs.iter().map(|spec| named(spec)).collect();
    for (name, spec) in &named {
        if !names.insert(name) {
            let message = format!("two sets of features have the name `{name}`: rename one with NAME={spec}");
            return Err(CliError::Usage(message));
        }
    }
    let open = |(name, spec): (String, &str)| {
        let mut sets = sets_in(Path::new(spec));
        if sets.is_empty() {
            sets.push((name.clone(), spec.to_owned()));
        }
        for (set, path) in &sets {
            let set = if sets.len() > 1 { format!("{name}/{set}") } else { name.clone() };
            paths.insert(set, path.clone());
        }
        let set = |(name, path): (String, String)| {
            Ok::<_, CliError>(NamedFeatures { name, source: verify.open(&path, modality)? })
        };
        Ok(EncoderFeatures { name, candidates: sets.into_iter().map(set).collect::<Result<_, _>>()? })
    };
    let encoders = named.into_iter().map(open).collect::<Result<_, CliError>>()?;
    Ok(Opened { encoders, specs: paths })
}

/// The names and paths of the sets in a folder of sets, by name: subfolders and safetensors files; none if it is no such folder.
/// Subfolders that are no stores are included, so that an unfinished store is an error.
fn sets_in(folder: &Path) -> Vec<(String, String)> {
    let is_store =
        |folder: &Path| ["manifest.json", "partial.json"].iter().any(|file| folder.join(file).exists());
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    if is_store(folder) {
        return Vec::new();
    }
    let is_file = |path: &Path| path.extension().is_some_and(|extension| extension == "safetensors");
    let set = |path: PathBuf| {
        let name = if path.is_dir() { path.file_name() } else { path.file_stem().filter(|_| is_file(&path)) };
        let name = name?.to_str()?.to_owned();
        (!name.starts_with('.')).then_some((name, path.into_os_string().into_string().ok()?))
    };
    let mut sets: Vec<(String, String)> = entries.flatten().filter_map(|entry| set(entry.path())).collect();
    sets.sort();
    let any = sets.iter().map(|(_, path)| Path::new(path)).any(|path| is_file(path) || is_store(path));
    if any { sets } else { Vec::new() }
}
