//! Shards that change after the store was opened.

use std::path::Path;

use sail_core::{FeatureError, FeatureSource};
use sail_data::{DataError, EmbeddingStore};

use crate::{SHARD, store};

#[test]
fn detects_a_truncated_shard() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let opened = EmbeddingStore::open(&path).unwrap();
    let file = std::fs::File::options().write(true).open(path.join(SHARD)).unwrap();
    file.set_len(64).unwrap();
    let error = opened.gather(&[0], &mut [0.0; 2]).unwrap_err();
    let FeatureError::Changed { path: named, what: "length", .. } = &error else { panic!("{error}") };
    assert!(named.ends_with(SHARD), "{error}");
    assert!(matches!(opened.keys(&[1]), Err(FeatureError::Changed { .. })));
    let mut out = [0.0; 2];
    opened.gather(&[2], &mut out).unwrap();
    assert_eq!(out, [5.0, 6.0]);
}

#[test]
fn detects_a_modified_or_replaced_shard() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let shard = path.join(SHARD);
    let bytes = std::fs::read(&shard).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let set_time = |path: &Path| {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    };

    let opened = EmbeddingStore::open(&path).unwrap();
    std::fs::write(&shard, &bytes).unwrap();
    set_time(&shard);
    let rejected = |error: FeatureError, what: &str| {
        let message = error.to_string();
        assert!(matches!(error, FeatureError::Changed { .. }), "{message}");
        assert!(message.contains(SHARD) && message.contains(what) && message.contains("restore the file"));
    };
    rejected(opened.gather(&[0], &mut [0.0; 2]).unwrap_err(), "modification time");
    rejected(opened.keys(&[0]).unwrap_err(), "modification time");
    assert!(matches!(opened.verify(|_| {}), Err(DataError::Feature(FeatureError::Changed { .. }))));

    // Another file with the same bytes and modification time, as after encoding again.
    let opened = EmbeddingStore::open(&path).unwrap();
    let other = folder.path().join("other");
    std::fs::write(&other, &bytes).unwrap();
    set_time(&other);
    std::fs::rename(&other, &shard).unwrap();
    if cfg!(unix) {
        rejected(opened.gather(&[0], &mut [0.0; 2]).unwrap_err(), "inode");
    }
    EmbeddingStore::open(&path).unwrap().gather(&[0], &mut [0.0; 2]).unwrap();
}
