//! Damaged and malicious stores give errors: no panic, no escape from the folder, no allocation that the file
//! does not warrant.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use safetensors::tensor::{Dtype as D, TensorView};
use sail_core::{FeatureError, FeatureSource, Modality, Provenance, gather_checked};
use sail_data::{DataError, Dtype, EmbeddingStore, SafetensorsFeatures, StoreConfig, StoreWriter, scan};
use serde_json::{Value, json};

const SHARD: &str = "shard-00000.safetensors";

/// Three rows of dimension 2 in f32, keys `a`, `bc` and `def`, in shards of two.
fn write_store(path: &Path) {
    let config = StoreConfig {
        dtype: Dtype::F32,
        rows_per_shard: 2,
        ..StoreConfig::new(Modality::Text, Provenance::new("model"), 2)
    };
    let mut writer = StoreWriter::create(path, config).unwrap();
    writer.extend([("a", [1.0, 2.0]), ("bc", [3.0, 4.0]), ("def", [5.0, 6.0])]).unwrap();
    writer.finish().unwrap();
}

/// A copy of that store. It is written once only: the writer flushes to the disk, which hundreds of cases
/// would wait for.
fn store(folder: &Path) -> PathBuf {
    static FILES: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        write_store(&path);
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name(), std::fs::read(entry.path()).unwrap())
        };
        std::fs::read_dir(&path).unwrap().map(read).collect()
    });
    let path = folder.join("store");
    std::fs::create_dir(&path).unwrap();
    for (name, bytes) in FILES.iter() {
        std::fs::write(path.join(name), bytes).unwrap();
    }
    path
}

/// The error of a store whose manifest was edited.
fn with_manifest(edit: impl FnOnce(&mut Value)) -> DataError {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    edit_manifest(&path, edit);
    EmbeddingStore::open(&path).unwrap_err()
}

fn edit_manifest(path: &Path, edit: impl FnOnce(&mut Value)) {
    let file = path.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    edit(&mut manifest);
    std::fs::write(file, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// The result of opening a store whose first shard was replaced and whose manifest states the new length.
fn with_shard(edit: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<(), DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let bytes = edit(std::fs::read(path.join(SHARD)).unwrap());
    edit_manifest(&path, |manifest| manifest["shards"][0]["bytes"] = bytes.len().into());
    std::fs::write(path.join(SHARD), bytes).unwrap();
    EmbeddingStore::open(&path).map(drop)
}

/// A first shard with these keys and everything else as it should be.
fn with_keys(key_bytes: &[u8], offsets: &[u64]) -> Result<(), DataError> {
    let offsets: Vec<u8> = offsets.iter().flat_map(|x| x.to_le_bytes()).collect();
    let values = [0u8, 0, 128, 63].repeat(4);
    let tensor = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    with_shard(|_| {
        let tensors = [
            ("embeddings", tensor(D::F32, &[2, 2], &values)),
            ("key_bytes", tensor(D::U8, &[key_bytes.len()], key_bytes)),
            ("key_offsets", tensor(D::U64, &[offsets.len() / 8], &offsets)),
        ];
        safetensors::serialize(tensors, None).unwrap()
    })
}

/// A safetensors file with this header and `data` zero bytes behind it.
fn raw(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn assert_malformed(error: &DataError, part: &str) {
    let message = error.to_string();
    assert!(matches!(error, DataError::Malformed { .. }) && message.contains(part), "{part}: {message}");
}

#[test]
fn what_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(EmbeddingStore::open(folder.path()), Err(DataError::NotAStore { .. })));
    assert!(matches!(EmbeddingStore::open(folder.path().join("absent")), Err(DataError::Io { .. })));
    std::fs::create_dir(folder.path().join("manifest.json")).unwrap();
    assert_malformed(&EmbeddingStore::open(folder.path()).unwrap_err(), "regular file");
}

#[test]
fn foreign_and_newer_manifests() {
    assert_malformed(&with_manifest(|m| m["format"] = "zip".into()), "`format` is `zip`");
    let newer = with_manifest(|m| {
        m["version"] = 2.into();
        m["compression"] = "new in version 2".into();
    });
    assert_malformed(&newer, "`version` is 2, expected 1");
    for edit in [json!({"extra": 1}), json!({"dtype": "f64"}), json!({"rows": -1}), json!({"rows": 1e300})] {
        let (field, value) = edit.as_object().unwrap().iter().next().unwrap();
        let error = with_manifest(|m| m[field] = value.clone());
        assert!(matches!(error, DataError::Manifest { .. }), "{error}");
    }
}

#[test]
fn manifests_that_contradict_themselves_or_the_shards() {
    assert_malformed(&with_manifest(|m| m["rows"] = 4.into()), "`rows` is 4, expected 3");
    assert_malformed(&with_manifest(|m| m["dim"] = 0.into()), "`dim` is 0");
    assert_malformed(&with_manifest(|m| m["dim"] = u64::MAX.into()), "`dim` is 18446744073709551615");
    assert_malformed(
        &with_manifest(|m| m["dim"] = 3.into()),
        "`embeddings` is F32 [2, 2], expected F32 [2, 3]",
    );
    assert_malformed(&with_manifest(|m| m["dtype"] = "f16".into()), "expected F16 [2, 2]");
    assert_malformed(&with_manifest(|m| m["shards"][1]["rows"] = 0.into()), "`rows` of shard-00001");
    assert_malformed(&with_manifest(|m| m["shards"][0]["bytes"] = 1.into()), "expected 1 bytes");
    assert_malformed(&with_manifest(|m| m["shards"][0]["sha256"] = "xyz".into()), "`sha256`");
    let swapped = with_manifest(|m| {
        m["shards"][0]["rows"] = 1.into();
        m["shards"][1]["rows"] = 2.into();
    });
    assert_malformed(&swapped, "expected F32 [1, 2]");
    let overflow = with_manifest(|m| {
        m["rows"] = u64::MAX.into();
        m["shards"][0]["rows"] = u64::MAX.into();
        m["shards"][1]["rows"] = u64::MAX.into();
    });
    assert_malformed(&overflow, "`embeddings`");
    let none = with_manifest(|m| {
        m["rows"] = 0.into();
        m["shards"] = json!([]);
    });
    assert!(matches!(none, DataError::Empty));
}

#[test]
fn shard_names_cannot_leave_the_folder() {
    for name in
        ["../shard-00000.safetensors", "/etc/passwd", "..", "a/b", "shard-00001.safetensors", "C:\\x", ""]
    {
        assert_malformed(&with_manifest(|m| m["shards"][0]["file"] = name.into()), "the file of shard 0");
    }
}

#[test]
fn a_missing_or_truncated_shard_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let shard = path.join(SHARD);
    let bytes = std::fs::read(&shard).unwrap();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        std::fs::write(&shard, &bytes[..length]).unwrap();
        assert_malformed(&EmbeddingStore::open(&path).unwrap_err(), &format!("the length is {length}"));
        // Nor does it help to adjust the manifest.
        let error = with_shard(|bytes| bytes[..length].to_vec()).unwrap_err();
        assert!(matches!(error, DataError::Safetensors { .. }), "{error}");
    }
    std::fs::remove_file(&shard).unwrap();
    let error = EmbeddingStore::open(&path).unwrap_err();
    assert!(matches!(&error, DataError::Io { path, .. } if path.ends_with(SHARD)), "{error}");
}

#[test]
fn flipped_bytes_and_wrong_checksums_fail_verification() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let shard = path.join("shard-00001.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    let last_value = bytes.len() - 4;
    bytes[last_value] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let error = EmbeddingStore::open(&path).unwrap().verify(|_| {}).unwrap_err();
    let DataError::Checksum { path: named, expected, found } = &error else { panic!("{error}") };
    assert!(named == &shard && expected != found && found.len() == 64, "{error}");

    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    edit_manifest(&path, |manifest| manifest["shards"][0]["sha256"] = "0".repeat(64).into());
    let error = EmbeddingStore::open(&path).unwrap().verify(|_| {}).unwrap_err();
    assert!(matches!(&error, DataError::Checksum { path, .. } if path.ends_with(SHARD)), "{error}");
}

#[test]
fn headers_that_lie() {
    let cases = [
        ("length beyond the file", [&1000u64.to_le_bytes()[..], b"{}"].concat()),
        ("not JSON", raw("]", 0)),
        ("gap", raw(r#"{"embeddings":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}"#, 24)),
        (
            "end beyond the file",
            raw(r#"{"embeddings":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, 8),
        ),
        (
            "shape larger than its bytes",
            raw(r#"{"embeddings":{"dtype":"F32","shape":[9,9],"data_offsets":[0,16]}}"#, 16),
        ),
        (
            "overflowing shape",
            raw(r#"{"embeddings":{"dtype":"F32","shape":[9223372036854775808,4],"data_offsets":[0,0]}}"#, 0),
        ),
        (
            "overlap",
            raw(
                r#"{"embeddings":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
                    "key_bytes":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}"#,
                16,
            ),
        ),
    ];
    for (name, bytes) in cases {
        let error = with_shard(|_| bytes.clone()).unwrap_err();
        assert!(matches!(error, DataError::Safetensors { .. }), "{name}: {error}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("single.safetensors");
        std::fs::write(&file, bytes).unwrap();
        let error = SafetensorsFeatures::open(&file, None).unwrap_err();
        assert!(matches!(error, DataError::Safetensors { .. }), "{name}: {error}");
    }
    // Refused by its length alone, before anything is parsed.
    let error = with_shard(|_| u64::MAX.to_le_bytes().to_vec()).unwrap_err();
    assert_malformed(&error, "the header length is 18446744073709551615");
    let error = with_shard(|_| raw("{}", 0)).unwrap_err();
    assert!(matches!(error, DataError::NoTensor { .. }), "{error}");
}

#[test]
fn keys_that_lie() {
    with_keys("a\u{e9}".as_bytes(), &[0, 1, 3]).unwrap();
    with_keys(b"", &[0, 0, 0]).unwrap();
    let cases: [(&[u8], &[u64], &str); 9] = [
        (b"abc", &[1, 2, 3], "key offset 0 is 1, expected 0 to 0"),
        (b"abc", &[0, 2, 1], "key offset 2 is 1, expected 2 to 3"),
        (b"abc", &[0, 1, 4], "key offset 2 is 4, expected 1 to 3"),
        (b"abc", &[0, u64::MAX, 3], "key offset 1 is 18446744073709551615"),
        (b"abc", &[0, 1, 2], "the last key offset is 2, expected 3"),
        (b"abc", &[0, 3], "`key_offsets` is U64 [2], expected U64 [3]"),
        (b"abc", &[0, 1, 2, 3], "`key_offsets` is U64 [4], expected U64 [3]"),
        (b"a\xff", &[0, 1, 2], "the key of row 1"),
        // Valid as a whole, but cut through a character.
        ("\u{e9}".as_bytes(), &[0, 1, 2], "the key of row 0"),
    ];
    for (bytes, offsets, part) in cases {
        assert_malformed(&with_keys(bytes, offsets).unwrap_err(), part);
    }
}

#[test]
fn a_shard_that_shrinks_after_opening_is_an_error_where_it_is_used() {
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
fn a_shard_that_is_written_to_or_replaced_after_opening_is_an_error() {
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
    let refused = |error: FeatureError, what: &str| {
        let message = error.to_string();
        assert!(matches!(error, FeatureError::Changed { .. }), "{message}");
        assert!(message.contains(SHARD) && message.contains(what) && message.contains("same file back"));
    };
    refused(opened.gather(&[0], &mut [0.0; 2]).unwrap_err(), "time of change");
    refused(opened.keys(&[0]).unwrap_err(), "time of change");
    assert!(matches!(opened.verify(|_| {}), Err(DataError::Feature(FeatureError::Changed { .. }))));

    // The same bytes at the same time, but another file: what a second encoding would leave.
    let opened = EmbeddingStore::open(&path).unwrap();
    let other = folder.path().join("other");
    std::fs::write(&other, &bytes).unwrap();
    set_time(&other);
    std::fs::rename(&other, &shard).unwrap();
    if cfg!(unix) {
        refused(opened.gather(&[0], &mut [0.0; 2]).unwrap_err(), "inode");
    }
    EmbeddingStore::open(&path).unwrap().gather(&[0], &mut [0.0; 2]).unwrap();
}

#[test]
fn unusable_values_in_a_file_are_named_when_they_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("single.safetensors");
    let values: Vec<u8> =
        [1.0, 1.0, f32::NAN, 1.0, 0.0, 0.0].iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
    let view = TensorView::new(D::F32, vec![3, 2], &values).unwrap();
    std::fs::write(&file, safetensors::serialize([("x", view)], None).unwrap()).unwrap();
    let features = SafetensorsFeatures::open(&file, None).unwrap();
    gather_checked(&features, &[0], &mut [0.0; 2]).unwrap();
    let error = gather_checked(&features, &[0, 1], &mut [0.0; 4]).unwrap_err();
    assert!(matches!(error, FeatureError::NotFinite { row: 1, column: 0, .. }), "{error}");
    let error = gather_checked(&features, &[2], &mut [0.0; 2]).unwrap_err();
    assert!(matches!(error, FeatureError::ZeroNorm { row: 2, .. }), "{error}");
    assert!(matches!(scan(&features, |_| {}), Err(FeatureError::NotFinite { row: 1, .. })));
}

/// Everything that can be done with a store that opens; errors are fine, panics are not.
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
        // Past the length check, so that the parser has to cope.
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
