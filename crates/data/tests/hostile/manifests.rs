//! Invalid manifests.

use sail_data::{DataError, EmbeddingStore};
use serde_json::json;

use crate::{assert_malformed, with_manifest};

#[test]
fn rejects_folders_without_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(EmbeddingStore::open(folder.path()), Err(DataError::NotAStore { .. })));
    assert!(matches!(EmbeddingStore::open(folder.path().join("absent")), Err(DataError::Io { .. })));
    std::fs::create_dir(folder.path().join("manifest.json")).unwrap();
    assert_malformed(&EmbeddingStore::open(folder.path()).unwrap_err(), "regular file");
}

#[test]
fn rejects_other_and_newer_manifests() {
    assert_malformed(&with_manifest(|m| m["format"] = "zip".into()), "`format` is `zip`");
    let newer = with_manifest(|m| {
        m["version"] = 4.into();
        m["compression"] = "new in version 4".into();
    });
    assert_malformed(&newer, "`version` is 4, expected 1 to 3");
    for edit in [json!({"extra": 1}), json!({"dtype": "f64"}), json!({"rows": -1}), json!({"rows": 1e300})] {
        let (field, value) = edit.as_object().unwrap().iter().next().unwrap();
        let error = with_manifest(|m| m[field] = value.clone());
        assert!(matches!(error, DataError::Manifest { .. }), "{error}");
    }
}

#[test]
fn rejects_inconsistent_manifests() {
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
    let tokens = |grid: [u64; 2]| json!({"model": "model", "tokens": {"image": {"class_token": false, "grid": grid, "dim": 1}}});
    assert_malformed(
        &with_manifest(|m| m["provenance"] = tokens([1, 3])),
        "`dim` is 2, expected 3 for 1x3 patches",
    );
    assert_malformed(
        &with_manifest(|m| m["provenance"] = tokens([u64::MAX, u64::MAX])),
        "`dim` is 2, expected",
    );
    assert_malformed(
        &with_manifest(|m| m["dtype"] = "int8".into()),
        "`embeddings` is F32 [2, 2], expected U8 [2, 6]",
    );
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
