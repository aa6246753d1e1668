//! Checking all files of an index.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sail_core::{FeatureSource, Progress};
use sail_data::EmbeddingStore;
use sail_support::{hex, ranges};
use sha2::{Digest, Sha256};

use super::entry::EntryId;
use super::error::{IndexError, ensure};
use super::manifest::HEAD;
use super::read::Index;
use crate::Codes;

/// Rows whose keys are read at once.
const KEYS: usize = 4096;

impl Index {
    /// Reads all files of the index once and checks their hashes, that the embeddings are finite and not zero, that ids are those
    /// of the keys, and that thumbnails, captions and codes can be read. `progress` counts rows.
    ///
    /// # Errors
    /// That of the first file that is not as it was written.
    pub fn verify(&self, mut progress: impl FnMut(Progress)) -> Result<(), IndexError> {
        let manifest = self.manifest();
        check_file(&self.path().join(HEAD), &manifest.identity.head_sha256)?;
        if let Some(removed) = &manifest.removed {
            check_file(&self.path().join(removed.file()), &removed.sha256)?;
        }
        let total = self.rows() as u64;
        for ((start, segment), entry) in self.segments().zip(&manifest.segments) {
            let folder = &segment.folder;
            check_file(&folder.join("manifest.json"), &entry.embeddings_sha256)?;
            check_file(segment.arrays().path(), &entry.rows_sha256)?;
            if let (Some(file), Some(notes)) = (entry.notes_file(), &entry.notes) {
                check_file(&self.path().join(file), &notes.sha256)?;
            }
            let store = EmbeddingStore::open(folder)?;
            store.verify(|_| ())?;
            if let Some(path) = segment.codes_path(manifest.codes) {
                let found = Codes::load(&path)?.rows();
                ensure(found == segment.rows, &path, "the number of codes", found, segment.rows.to_string())?;
            }
            let ids = segment.ids()?;
            for rows in ranges(segment.rows, KEYS) {
                let block: Vec<usize> = rows.clone().collect();
                for (key, row) in
                    store.keys(&block).map_err(sail_data::DataError::from)?.iter().zip(rows.clone())
                {
                    let is_own = ids[row] == EntryId::of(key);
                    ensure(
                        is_own,
                        folder,
                        format!("the id of row {row}"),
                        ids[row],
                        format!("that of `{key}`"),
                    )?;
                    segment.thumbnail(row)?;
                }
                progress(Progress { done: (start + rows.end) as u64, total, unit: "rows" });
            }
            segment.contents()?;
            if let Some(notes) = segment.notes() {
                notes.each(|_, _| Ok(()))?;
            }
        }
        Ok(())
    }
}

/// Checks the SHA-256 of a file.
fn check_file(path: &Path, expected: &str) -> Result<(), IndexError> {
    let mut file = File::open(path).map_err(IndexError::io(path))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(IndexError::io(path))? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let found = hex(&hash.finalize());
    ensure(
        found == expected,
        path,
        "the SHA-256",
        &found,
        format!("{expected}: the file was changed or is damaged"),
    )
}
