//! Merging indexes of parts.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sail_core::Progress;
use sail_data::DataError;
use sail_support::NewFolder;

use super::compact::Copy;
use super::content::Place;
use super::entry::EntryId;
use super::error::IndexError;
use super::identity::check_identity;
use super::manifest::{HEAD, Manifest};
use super::read::Index;
use super::segment_writer::{SEGMENT_ROWS, SegmentConfig};

/// Merges indexes of the same model, such as those of parts of a data set, into a new one, which appears when it is complete.
///
/// The images are in the order of the parts, in full segments, without those that are removed. Embeddings and thumbnails are
/// copied. `progress` counts images and may stop the merge.
///
/// # Errors
/// [`IndexError::Model`] and [`IndexError::Setting`] if the parts were made with different models, thumbnails or codes,
/// [`IndexError::DuplicateKeys`] if an image is in several parts, [`IndexError::Exists`], and errors of reading and writing.
///
/// # Examples
/// ```no_run
/// use std::ops::ControlFlow;
/// use std::path::Path;
/// let index = sail_search::merge(&["part-1", "part-2"], Path::new("index"), |_| ControlFlow::Continue(()))?;
/// # Ok::<(), sail_search::IndexError>(())
/// ```
pub fn merge(
    parts: &[impl AsRef<Path>],
    out: &Path,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Index, IndexError> {
    let parts: Vec<Index> = parts.iter().map(Index::open).collect::<Result<_, _>>()?;
    let Some(first) = parts.first() else { return Err(IndexError::NoParts) };
    for part in &parts[1..] {
        check(first, part)?;
    }
    check_keys(&parts)?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => IndexError::Exists { path: out.to_owned() },
        _ => IndexError::io(out)(error),
    };
    let new = NewFolder::create(out).map_err(failed)?;
    let folder = new.path();
    let mut manifest = Manifest::new(
        first.manifest().identity.clone(),
        first.manifest().dim,
        first.manifest().log_scale,
        first.manifest().bias,
    );
    let Manifest { thumbnails, codes, root, .. } = first.manifest();
    (manifest.thumbnails, manifest.codes) = (*thumbnails, *codes);
    // Files are named relative to a folder only if it is that of all parts.
    manifest.root = root.clone().filter(|_| parts.iter().all(|part| part.manifest().root == *root));
    manifest.encoders = first.manifest().encoders.clone();
    manifest.columns = parts.iter().flat_map(|part| part.manifest().columns.clone()).collect();
    manifest.columns.sort();
    manifest.columns.dedup();
    (manifest.generation, manifest.complete) = (1, true);

    let head = first.head_path();
    fs::copy(&head, folder.join(HEAD)).map_err(IndexError::io(&head))?;
    let mut config = SegmentConfig::new(folder, &manifest, SEGMENT_ROWS)?;
    let total = parts.iter().map(|part| part.live().len() as u64).sum();
    let mut done = 0;
    let mut copy = Copy::new(folder, 0, 1, &mut config);
    for part in &parts {
        let rows: Vec<usize> = part.live().iter().collect();
        let root = part.manifest().root.as_deref();
        let place = |place: Place, key: &str| match &manifest.root {
            Some(_) => place,
            None => elsewhere(place, root, key),
        };
        let copied =
            |rows| progress(Progress { done: done + rows as u64, total, unit: "images" }).is_continue();
        copy.rows(part, &rows, copied, place)?;
        done += rows.len() as u64;
    }
    manifest.segments = copy.finish()?;
    manifest.next_segment = manifest.segments.len() as u64;
    manifest.write(folder)?;
    new.publish().map_err(failed)?;
    Index::open(out)
}

/// The place of a file by its whole path.
fn elsewhere(place: Place, root: Option<&str>, key: &str) -> Place {
    match place.file(root, key).and_then(|path: PathBuf| Some(path.to_str()?.to_owned())) {
        Some(path) => Place::File(path),
        None => place,
    }
}

/// Checks that a part was made like the first one.
fn check(first: &Index, part: &Index) -> Result<(), IndexError> {
    check_identity(part.path(), &first.manifest().identity, &part.manifest().identity)?;
    let shown = |index: &Index| {
        let Manifest { thumbnails, codes, dim, .. } = index.manifest();
        let codes = codes.map_or("none".to_owned(), |codes| codes.to_string());
        [
            ("thumbnails", thumbnails.unwrap_or_default().to_string()),
            ("codes", codes),
            ("dim", dim.to_string()),
        ]
    };
    for ((option, expected), (_, found)) in shown(first).into_iter().zip(shown(part)) {
        if found != expected {
            let path = first.path().to_owned();
            return Err(IndexError::Setting { path, option, found, expected });
        }
    }
    Ok(())
}

/// Checks that no image is in several parts.
fn check_keys(parts: &[Index]) -> Result<(), IndexError> {
    let mut owners: HashMap<EntryId, usize> = HashMap::new();
    let mut count = 0;
    let mut first = None;
    for (part, index) in parts.iter().enumerate() {
        for (start, segment) in index.segments() {
            for (id, row) in segment.ids()?.into_iter().zip(start..) {
                if index.live().contains(row)
                    && let Some(owner) = owners.insert(id, part)
                {
                    count += 1;
                    first.get_or_insert((owner, part, row));
                }
            }
        }
    }
    match first {
        None => Ok(()),
        Some((owner, part, row)) => Err(IndexError::DuplicateKeys {
            count,
            key: parts[part].key(row)?,
            first: parts[owner].path().to_owned(),
            second: parts[part].path().to_owned(),
        }),
    }
}

impl IndexError {
    /// Whether a merge was stopped by its `progress`.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Data(DataError::Stopped) | Self::Stopped { .. })
    }
}
