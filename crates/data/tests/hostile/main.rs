//! Corrupt and malicious stores are errors: no panics, no access outside the folder, no allocation beyond the file size.

#![allow(clippy::unwrap_used, clippy::panic)]

mod changes;
mod fuzz;
mod manifests;
mod shards;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use safetensors::tensor::{Dtype as D, TensorView};
use sail_core::{Modality, Provenance, StoreDtype};
use sail_data::{DataError, EmbeddingStore, StoreConfig, StoreWriter};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SHARD: &str = "shard-00000.safetensors";

/// Three rows of dimension 2 in f32, keys `a`, `bc` and `def`, in shards of two.
fn write_store(path: &Path) {
    let config = StoreConfig {
        dtype: StoreDtype::F32,
        rows_per_shard: 2,
        ..StoreConfig::new(Modality::Text, Provenance::new("model"), 2)
    };
    let mut writer = StoreWriter::create(path, config).unwrap();
    writer.extend([("a", [1.0, 2.0]), ("bc", [3.0, 4.0]), ("def", [5.0, 6.0])]).unwrap();
    writer.finish().unwrap();
}

/// A copy of that store. It is written only once, since syncing files takes time.
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

/// The result of verifying a store whose first shard was replaced and whose manifest states the new length and checksum.
fn with_shard(edit: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<(), DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let bytes = edit(std::fs::read(path.join(SHARD)).unwrap());
    edit_manifest(&path, |manifest| {
        manifest["shards"][0]["bytes"] = bytes.len().into();
        manifest["shards"][0]["sha256"] = sail_support::hex(&Sha256::digest(&bytes)).into();
    });
    std::fs::write(path.join(SHARD), bytes).unwrap();
    EmbeddingStore::open(&path)?.verify(|_| ())
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
