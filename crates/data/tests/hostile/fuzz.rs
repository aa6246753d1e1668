//! Random changes of files.

use std::path::Path;

use proptest::prelude::*;
use sail_core::FeatureSource;
use sail_data::{EmbeddingStore, SafetensorsFeatures, scan};

use crate::{SHARD, edit_manifest, store, with_keys};

/// Calls all methods of a store; errors are fine, panics are not.
fn use_store(path: &Path) {
    let Ok(store) = EmbeddingStore::open(path) else {
        return;
    };
    for row in 0..store.rows() {
        let _ = store.key(row);
        let _ = store.keys(&[row]);
        let _ = store.gather(&[row], &mut vec![0.0; store.dim()]);
    }
    let _ = scan(&store, |_| {});
    let _ = store.verify(|_| {});
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flips_and_cuts_never_panic(
        in_manifest: bool,
        adjust_manifest: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path());
        let file = path.join(if in_manifest { "manifest.json" } else { SHARD });
        let mut bytes = std::fs::read(&file).unwrap();
        for (index, value) in flips {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Some(length) = cut {
            bytes.truncate(length.index(bytes.len()));
        }
        // Past the length check, to test the parser.
        if adjust_manifest && !in_manifest {
            edit_manifest(&path, |manifest| manifest["shards"][0]["bytes"] = bytes.len().into());
        }
        std::fs::write(&file, bytes).unwrap();
        use_store(&path);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), plausible_length: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path());
        let mut shard = bytes.clone();
        if plausible_length && shard.len() >= 8 {
            let length = (shard.len() as u64 - 8).to_le_bytes();
            shard[..8].copy_from_slice(&length);
        }
        edit_manifest(&path, |manifest| manifest["shards"][0]["bytes"] = shard.len().into());
        std::fs::write(path.join(SHARD), &shard).unwrap();
        use_store(&path);
        let _ = SafetensorsFeatures::open(path.join(SHARD), None);

        std::fs::write(path.join("manifest.json"), bytes).unwrap();
        prop_assert!(EmbeddingStore::open(&path).is_err());
    }

    #[test]
    fn random_offsets_never_panic(offsets in prop::collection::vec(prop_oneof![0u64..8, any::<u64>()], 3)) {
        let valid = offsets[0] == 0 && offsets[1] <= offsets[2] && offsets[2] == 5;
        prop_assert_eq!(with_keys(b"abcde", &offsets).is_ok(), valid);
    }
}
