//! Copying rows of features into a store.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use sail_core::FeatureSource;
use sail_support::NewFolder;

use super::config::StoreConfig;
use super::embedding_store::EmbeddingStore;
use super::writer::StoreWriter;
use crate::DataError;

/// Maximum number of rows that are copied at once, and of their values.
const ROWS: usize = 1024;
const VALUES: usize = 1 << 24;

impl StoreWriter {
    /// Appends rows of other features with their keys, and saves every full shard. `copied` receives numbers of copied rows
    /// and may stop the copy.
    ///
    /// # Errors
    /// [`DataError::Stopped`], [`FeatureError::OutOfRange`](sail_core::FeatureError::OutOfRange), and those of reading, [`append`](StoreWriter::append) and
    /// [`save`](StoreWriter::save).
    pub fn copy(
        &mut self,
        source: &dyn FeatureSource,
        rows: impl IntoIterator<Item = usize>,
        mut copied: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), DataError> {
        let (mut rows, dim) = (rows.into_iter(), source.dim().max(1));
        let at_once = ROWS.min(VALUES / dim).max(1);
        let mut values = Vec::new();
        loop {
            let block: Vec<usize> = rows.by_ref().take(at_once).collect();
            if block.is_empty() {
                return Ok(());
            }
            values.resize(block.len() * dim, 0.0);
            source.gather(&block, &mut values)?;
            let keys = source.keys(&block)?;
            let block: Vec<_> = keys.iter().zip(values.chunks_exact(dim)).collect();
            let position = self.position() + block.len() as u64;
            self.append(&block, position)?;
            if self.full() {
                self.save()?;
            }
            if copied(block.len() as u64).is_break() {
                return Err(DataError::Stopped);
            }
        }
    }
}

/// Writes rows of features to a new store, which appears when it is complete.
///
/// # Errors
/// [`DataError::Exists`], [`DataError::Empty`] without rows, and those of [`StoreWriter::copy`].
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use sail_core::{FeatureSource, Modality, Provenance};
/// use sail_data::{MatrixFeatures, StoreConfig, write_rows};
///
/// let features = MatrixFeatures::new(1, vec![1.0, 2.0, 3.0])?.with_keys(["a", "b", "c"])?;
/// let folder = tempfile::tempdir()?;
/// let config = StoreConfig::new(Modality::Image, Provenance::new("dinov2-small"), 1);
/// let path = folder.path().join("some");
/// let store = write_rows(&features, [2, 0], &path, config, |_| ControlFlow::Continue(()))?;
/// assert_eq!(store.keys(&[0, 1])?, ["c", "a"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_rows(
    source: &dyn FeatureSource,
    rows: impl IntoIterator<Item = usize>,
    path: &Path,
    config: StoreConfig,
    copied: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<EmbeddingStore, DataError> {
    if source.dim() != config.dim {
        let (row, key) = (0, source.key(0).into_owned());
        return Err(DataError::RowSize { row, key, found: source.dim(), expected: config.dim });
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => DataError::Exists { path: path.to_owned() },
        _ => DataError::io(path)(error),
    };
    let folder = NewFolder::create(path).map_err(failed)?;
    let mut writer = StoreWriter::create_beside(folder.path(), config)?;
    writer.copy(source, rows, copied)?;
    if writer.rows() == 0 {
        return Err(DataError::Empty);
    }
    writer.close()?;
    folder.publish().map_err(failed)?;
    EmbeddingStore::open(path)
}

#[cfg(test)]
mod tests {
    use sail_core::{FeatureError, Modality, Provenance, StoreDtype};

    use super::*;
    use crate::MatrixFeatures;

    #[test]
    fn a_store_appears_complete_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let features = MatrixFeatures::new(2, (0..6000).map(|x| x as f32 + 1.0).collect()).unwrap();
        let config = || StoreConfig {
            dtype: StoreDtype::F32,
            rows_per_shard: 1000,
            ..StoreConfig::new(Modality::Text, Provenance::new("m"), 2)
        };
        let mut blocks = 0;
        let stopped = write_rows(&features, 0..3000, &path, config(), |_| {
            blocks += 1;
            if blocks == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(DataError::Stopped)));
        let all = |rows: std::ops::Range<usize>| {
            write_rows(&features, rows, &path, config(), |_| ControlFlow::Continue(()))
        };
        assert!(matches!(all(0..0), Err(DataError::Empty)));
        assert!(matches!(all(0..3001), Err(DataError::Feature(FeatureError::OutOfRange { .. }))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let store = all(7..3000).unwrap();
        let mut row = [0.0; 2];
        store.gather(&[2992], &mut row).unwrap();
        assert_eq!(
            (store.rows(), store.shards(), store.key(0).as_ref(), row),
            (2993, 3, "7", [5999.0, 6000.0])
        );
        assert!(matches!(all(0..1), Err(DataError::Exists { .. })));
    }
}
