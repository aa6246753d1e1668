//! Invalid shards and safetensors files.

use safetensors::tensor::{Dtype as D, TensorView};
use sail_core::{FeatureError, FeatureSource, gather_checked};
use sail_data::{DataError, EmbeddingStore, SafetensorsFeatures, scan};

use crate::{SHARD, assert_malformed, edit_manifest, raw, store, with_keys, with_shard};

#[test]
fn rejects_missing_and_truncated_shards() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let shard = path.join(SHARD);
    let bytes = std::fs::read(&shard).unwrap();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        std::fs::write(&shard, &bytes[..length]).unwrap();
        assert_malformed(&EmbeddingStore::open(&path).unwrap_err(), &format!("the length is {length}"));
        // Also with the same length in the manifest.
        let error = with_shard(|bytes| bytes[..length].to_vec()).unwrap_err();
        assert!(matches!(error, DataError::Safetensors { .. }), "{error}");
    }
    std::fs::remove_file(&shard).unwrap();
    let error = EmbeddingStore::open(&path).unwrap_err();
    assert!(matches!(&error, DataError::Io { path, .. } if path.ends_with(SHARD)), "{error}");
}

#[test]
fn verify_detects_wrong_checksums() {
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
fn rejects_invalid_headers() {
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
    // Rejected by the length, before parsing.
    let error = with_shard(|_| u64::MAX.to_le_bytes().to_vec()).unwrap_err();
    assert_malformed(&error, "the header length is 18446744073709551615");
    let error = with_shard(|_| raw("{}", 0)).unwrap_err();
    assert!(matches!(error, DataError::NoTensor { .. }), "{error}");
}

#[test]
fn rejects_invalid_keys() {
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
        // Valid as a whole, but split within a character.
        ("\u{e9}".as_bytes(), &[0, 1, 2], "the key of row 0"),
    ];
    for (bytes, offsets, part) in cases {
        assert_malformed(&with_keys(bytes, offsets).unwrap_err(), part);
    }
}

#[test]
fn keys_are_read_when_they_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let shard = path.join(SHARD);
    let mut bytes = std::fs::read(&shard).unwrap();
    // The keys `a` and `bc` come last.
    *bytes.last_mut().unwrap() = 0xff;
    std::fs::write(&shard, &bytes).unwrap();
    let store = EmbeddingStore::open(&path).unwrap();
    assert_eq!(store.keys(&[0, 2]).unwrap(), ["a", "def"]);
    let error = store.keys(&[1]).unwrap_err();
    assert!(matches!(error, FeatureError::Io { .. }), "{error:?}");
    assert!(matches!(store.verify(|_| {}), Err(DataError::Checksum { .. })));
}

#[test]
fn what_stands_in_the_place_of_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 437955512\n";
    let page = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    for (text, words) in [(pointer, "git lfs pull"), (page, "an HTML page")] {
        let file = folder.path().join("features.safetensors");
        std::fs::write(&file, text).unwrap();
        let error = SafetensorsFeatures::open(&file, None).unwrap_err().to_string();
        assert!(error.contains("features.safetensors is ") && error.contains(words), "{error}");
        let error = with_shard(|_| text.as_bytes().to_vec()).unwrap_err().to_string();
        assert!(error.contains(SHARD) && error.contains(words), "{error}");
        let other = tempfile::tempdir().unwrap();
        let path = store(other.path());
        std::fs::write(path.join("manifest.json"), text).unwrap();
        let error = EmbeddingStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("manifest.json") && error.contains(words), "{error}");
    }
}

#[test]
fn gather_rejects_unusable_rows() {
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
