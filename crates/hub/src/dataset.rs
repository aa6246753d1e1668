//! Data sets from a path or by id.

use std::path::{Path, PathBuf};

use sail_support::is_portable_path;

use crate::{HubError, HubOptions, RepoId, RepoKind, Repository};

/// Opens a data set: an existing path, or the id of a data set on the hub, `owner/name` or `owner/name@revision`, whose
/// files that match `wanted` are fetched unless the cache has them.
///
/// Returns the path, or the folder of the snapshot, whose files are links into the cache. `looked_for` describes the
/// wanted files in errors.
///
/// # Errors
/// Returns [`HubError`] if `spec` is neither a path nor an id, the id or the revision does not exist or is not accessible,
/// no file matches, a file name is not a plain relative path, the hub cannot be reached, the cache is incomplete and the
/// [`offline`](HubOptions::offline) option is set, or a file cannot be verified or written.
///
/// # Examples
/// ```no_run
/// use sail_hub::{HubOptions, open_dataset};
///
/// let options = HubOptions::from_env()?;
/// let is_table = |name: &str| name.ends_with(".csv");
/// let folder = open_dataset("MMVP/MMVP_VLM", is_table, "tables", &options)?;
/// # Ok::<(), sail_hub::HubError>(())
/// ```
pub fn open_dataset(
    spec: &str,
    wanted: impl Fn(&str) -> bool,
    looked_for: &str,
    options: &HubOptions,
) -> Result<PathBuf, HubError> {
    let path = Path::new(spec);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let id: RepoId = spec.parse()?;
    // A data set has an owner; a bare name is more likely a mistyped path.
    if !id.name().contains('/') {
        return Err(HubError::Id(spec.to_owned()));
    }
    let select = |files: &mut dyn Iterator<Item = &str>| -> Result<Vec<String>, HubError> {
        let selected: Vec<String> = files.filter(|name| wanted(name)).map(str::to_owned).collect();
        if selected.is_empty() {
            return Err(HubError::NoFiles { id: id.name().to_owned(), wanted: looked_for.to_owned() });
        }
        match selected.iter().find(|name| !is_portable_path(name)) {
            Some(name) => Err(HubError::FileName { id: id.name().to_owned(), name: name.clone() }),
            None => Ok(selected),
        }
    };
    let repository = Repository::new(RepoKind::Dataset, &id, options)?;
    if let Some(snapshot) = repository.cached()
        && (repository.is_offline() || !options.refresh)
        // Without the listing, completeness cannot be determined.
        && let Some(files) = repository.saved_listing(&snapshot)
        && select(&mut files.iter().map(String::as_str))?.iter().all(|name| snapshot.join(name).exists())
    {
        return Ok(snapshot);
    }
    let listing = repository.list()?;
    listing.fetch_all(&select(&mut listing.files())?)?;
    listing.save()?;
    listing.finish()
}
