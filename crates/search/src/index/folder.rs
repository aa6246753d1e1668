//! The folder of an index, open for an update.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sail_data::{Array, ArrayFile, write_arrays};
use sail_support::{TEMPORARY_PREFIX, hex, is_vacant, open_locked, write_atomic};
use sha2::{Digest, Sha256};

use super::error::{IndexError, ensure};
use super::identity::check_identity;
use super::manifest::{
    HEAD, LOCK, MANIFEST, Manifest, REMOVED, RemovedEntry, SEGMENTS, SegmentEntry, is_replaceable,
    of_generation, segment_folder,
};
use super::options::{IndexModel, THUMBNAIL, UpdateOptions};
use super::read::{BITS, Index};
use super::segment_log::LOG;
use super::segment_writer::published;
use crate::{CodeKind, ModelIdentity};

/// The folder of an index, locked.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
    on_disk: Manifest,
    /// One bit per row.
    removed: Vec<u8>,
    _lock: File,
}

impl Folder {
    /// Opens or creates the folder of an index, and removes what no generation needs any more.
    pub(crate) fn open(
        path: &Path,
        model: &IndexModel<'_>,
        options: &UpdateOptions,
    ) -> Result<Self, IndexError> {
        let identity = model.embedder.identity()?;
        let found = hex(&Sha256::digest(&model.head));
        let head = Path::new(HEAD);
        ensure(found == identity.head_sha256, head, "the SHA-256", found, identity.head_sha256.clone())?;
        if !path.join(MANIFEST).exists() && !is_new(path) {
            return Err(IndexError::Exists { path: path.to_owned() });
        }
        fs::create_dir_all(path).map_err(IndexError::io(path))?;
        let lock = open_locked(&path.join(LOCK)).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => IndexError::Busy { path: path.to_owned() },
            _ => IndexError::io(&path.join(LOCK))(error),
        })?;
        let mut manifest = match path.join(MANIFEST).exists() {
            true => {
                let manifest = Manifest::read(path)?;
                check_identity(path, &manifest.identity, &identity)?;
                manifest
            }
            false => create(path, identity, model, options)?,
        };
        check_settings(path, &manifest, options)?;
        let on_disk = manifest.clone();
        if manifest.complete {
            manifest.superseded.iter().try_for_each(|name| remove(&path.join(name)))?;
            manifest.superseded.clear();
        }
        let root = options.root.as_ref().and_then(|root| Some(root.to_str()?.to_owned()));
        manifest.root = root.or(manifest.root);
        manifest.encoders = model.encoders.clone();
        let removed = read_removed(path, &manifest)?;
        let folder = Self { path: path.to_owned(), manifest, on_disk, removed, _lock: lock };
        folder.sweep()?;
        Ok(folder)
    }

    /// Whether a row is removed, published or not.
    pub(crate) fn is_removed(&self, row: usize) -> bool {
        self.removed.get(row / 8).is_some_and(|bits| bits >> (row % 8) & 1 == 1)
    }

    /// Opens the index as it is published. `None` if it has no rows yet.
    pub(crate) fn index(&self) -> Result<Option<Index>, IndexError> {
        match self.manifest.segments.is_empty() {
            true => Ok(None),
            false => Index::with_manifest(&self.path, self.on_disk.clone()).map(Some),
        }
    }

    /// The folder of the next segment.
    pub(crate) fn next_segment(&self) -> PathBuf {
        self.path.join(segment_folder(self.manifest.next_segment))
    }

    /// Adds a segment and removes rows, and publishes both.
    pub(crate) fn add(&mut self, entry: SegmentEntry, removed: &[u32]) -> Result<(), IndexError> {
        let folder = self.path.join(entry.folder());
        self.manifest.next_segment = entry.number + 1;
        self.manifest.segments.push(entry);
        self.removed.resize(self.manifest.rows().div_ceil(8), 0);
        self.manifest.complete = false;
        self.remove(removed)?;
        self.publish()?;
        published(&folder)
    }

    /// Removes rows. They are part of the index until it is published.
    pub(crate) fn remove(&mut self, rows: &[u32]) -> Result<(), IndexError> {
        for &row in rows {
            if let Some(bits) = self.removed.get_mut(row as usize / 8) {
                *bits |= 1 << (row % 8);
            }
        }
        let count: usize = self.removed.iter().map(|bits| bits.count_ones() as usize).sum();
        if count == 0 {
            return Ok(());
        }
        // The file has a bit for every row, so it changes with their number.
        let generation = self.manifest.generation + 1;
        let path = self.path.join(of_generation(REMOVED, generation));
        let sha256 = write_arrays(&path, &[(BITS, Array::Bytes { width: 1, values: &self.removed })])?;
        let entry = RemovedEntry { generation, rows: count, sha256 };
        if let Some(old) = self.manifest.removed.replace(entry)
            && old.generation != generation
        {
            self.manifest.superseded.push(old.file());
        }
        Ok(())
    }

    /// Replaces segments by others, which follow those that stay, and publishes this as a complete state. Rows that stay and
    /// were removed stay so.
    pub(crate) fn replace(&mut self, old: &[u64], new: Vec<SegmentEntry>) -> Result<(), IndexError> {
        let mut start = 0;
        let mut removed = Vec::new();
        let mut kept = Vec::new();
        for entry in std::mem::take(&mut self.manifest.segments) {
            let rows = start..start + entry.rows;
            start = rows.end;
            if old.contains(&entry.number) {
                self.manifest.superseded.push(entry.folder());
            } else {
                removed.extend(rows.map(|row| self.is_removed(row)));
                kept.push(entry);
            }
        }
        kept.extend(new);
        self.manifest.segments = kept;
        self.manifest.next_segment = self
            .manifest
            .segments
            .iter()
            .map(|entry| entry.number + 1)
            .fold(self.manifest.next_segment, u64::max);
        self.removed = vec![0; self.manifest.rows().div_ceil(8)];
        if let Some(old) = self.manifest.removed.take() {
            self.manifest.superseded.push(old.file());
        }
        let rows: Vec<u32> = (0..).zip(removed).filter(|(_, removed)| *removed).map(|(row, _)| row).collect();
        self.remove(&rows)?;
        self.manifest.complete = true;
        self.publish()
    }

    /// Writes `index.json` if anything has changed.
    pub(crate) fn publish(&mut self) -> Result<(), IndexError> {
        if self.manifest != self.on_disk {
            self.manifest.generation += 1;
            // It must be readable, for instance not have too many rows.
            self.manifest.check(&self.path.join(MANIFEST))?;
            self.manifest.write(&self.path)?;
            self.on_disk = self.manifest.clone();
        }
        Ok(())
    }

    /// Removes files that a killed process has left and that no generation refers to.
    fn sweep(&self) -> Result<(), IndexError> {
        let kept = |name: &str| self.manifest.superseded.iter().any(|other| other == name);
        for name in names(&self.path)? {
            let is_removed = is_replaceable(&name)
                && self.manifest.removed.as_ref().is_none_or(|removed| removed.file() != name)
                && !kept(&name);
            if is_removed || name.starts_with(TEMPORARY_PREFIX) {
                remove(&self.path.join(&name))?;
            }
        }
        let segments = self.path.join(SEGMENTS);
        if !segments.is_dir() {
            return Ok(());
        }
        for name in names(&segments)? {
            let name = format!("{SEGMENTS}/{name}");
            let entry = self.manifest.segments.iter().find(|entry| entry.folder() == name);
            let path = self.path.join(&name);
            if let Some(entry) = entry {
                published(&path)?;
                for file in names(&path)? {
                    let file = format!("{name}/{file}");
                    let is_old_notes =
                        is_replaceable(&file) && entry.notes_file().as_ref() != Some(&file) && !kept(&file);
                    if is_old_notes || file.starts_with(&format!("{name}/{TEMPORARY_PREFIX}")) {
                        remove(&self.path.join(file))?;
                    }
                }
                continue;
            }
            let is_begun = name == segment_folder(self.manifest.next_segment) && path.join(LOG).exists();
            let is_temporary = name.starts_with(&format!("{SEGMENTS}/{TEMPORARY_PREFIX}"));
            if is_temporary || is_replaceable(&name) && !kept(&name) && !is_begun {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Returns whether a folder is absent, empty, or has only what the first update writes before `index.json`.
fn is_new(path: &Path) -> bool {
    let own = |name: &String| [LOCK, HEAD].contains(&name.as_str()) || name.starts_with(TEMPORARY_PREFIX);
    is_vacant(path) || names(path).is_ok_and(|names| names.iter().all(own))
}

/// Writes the files of a new index, `index.json` last.
fn create(
    path: &Path,
    identity: ModelIdentity,
    model: &IndexModel<'_>,
    options: &UpdateOptions,
) -> Result<Manifest, IndexError> {
    // Texts share the space of images. A search embeds them, so a model that cannot is noticed here.
    let text = model.embedder.embed_texts(&["a photo"])?;
    let dim = text.first().map_or(0, Vec::len);
    let head = path.join(HEAD);
    write_atomic(&head, |out| out.write_all(&model.head)).map_err(IndexError::io(&head))?;
    let mut manifest = Manifest::new(identity, dim, model.log_scale, model.bias);
    manifest.thumbnails = Some(options.thumbnails.unwrap_or(THUMBNAIL)).filter(|side| *side > 0);
    manifest.codes = options.codes.unwrap_or(Some(CodeKind::Bit));
    manifest.check(&path.join(MANIFEST))?;
    manifest.write(path)?;
    Ok(manifest)
}

/// Checks that options are those that the index was made with.
fn check_settings(path: &Path, manifest: &Manifest, options: &UpdateOptions) -> Result<(), IndexError> {
    let codes = |codes: Option<CodeKind>| codes.map_or("none".to_owned(), |codes| codes.to_string());
    let sides = (
        options.thumbnails.map(|side| side.to_string()),
        manifest.thumbnails.unwrap_or_default().to_string(),
    );
    let kinds = (options.codes.map(codes), codes(manifest.codes));
    for (option, (found, expected)) in [("thumbnails", sides), ("codes", kinds)] {
        if let Some(found) = found.filter(|found| *found != expected) {
            return Err(IndexError::Setting { path: path.to_owned(), option, found, expected });
        }
    }
    Ok(())
}

fn read_removed(path: &Path, manifest: &Manifest) -> Result<Vec<u8>, IndexError> {
    let bytes = manifest.rows().div_ceil(8);
    let Some(removed) = &manifest.removed else { return Ok(vec![0; bytes]) };
    let arrays = ArrayFile::open(&path.join(removed.file()))?;
    arrays.check_bytes(BITS, bytes, 1)?;
    Ok(arrays.bytes(BITS, 0..bytes)?)
}

/// Removes a file or a folder, which may be gone already.
fn remove(path: &Path) -> Result<(), IndexError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IndexError::io(path)(error)),
        _ => Ok(()),
    }
}

/// The names in a folder. Names that are not UTF-8 are not of an index.
fn names(path: &Path) -> Result<Vec<String>, IndexError> {
    let entries = fs::read_dir(path).map_err(IndexError::io(path))?;
    let names =
        entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose());
    names.collect::<Result<_, _>>().map_err(IndexError::io(path))
}
