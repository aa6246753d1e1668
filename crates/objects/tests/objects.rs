//! Objects in a store in memory, and in one on disk.

#![cfg(feature = "cloud")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use sail_objects::{Bucket, FetchOptions, ObjectError, Progress, ProgressFn};

/// The stores of these tests answer at once.
fn put(store: &dyn ObjectStore, name: &str, bytes: &[u8]) {
    let path = ObjectPath::from(name);
    store.put_opts(&path, bytes.to_vec().into(), Default::default()).now_or_never().unwrap().unwrap();
}

fn bucket(store: &Arc<InMemory>, prefix: &str) -> Bucket {
    Bucket::with_store(store.clone(), ObjectPath::from(prefix), &format!("s3://bucket/{prefix}")).unwrap()
}

fn data() -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    for (name, bytes) in [
        ("data/0.tar", &b"first"[..]),
        ("data/more/1.tar", b"second"),
        ("data/empty.txt", b""),
        ("database.csv", b"not below the folder"),
    ] {
        put(&*store, name, bytes);
    }
    store
}

/// The files below a folder by their relative paths.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(
                files(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            ),
            false => drop(found.insert(name, std::fs::read(entry.path()).unwrap())),
        }
    }
    found
}

fn expected(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|&(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}

/// Options that add up the bytes that are received.
fn counting(cache: &Path) -> (FetchOptions, Arc<Mutex<u64>>) {
    let received = Arc::new(Mutex::new(0));
    let sum = received.clone();
    let progress: ProgressFn = Arc::new(move |Progress { done, total, .. }| {
        assert!(done <= total);
        *sum.lock().unwrap() = done;
    });
    (FetchOptions { progress: Some(progress), ..FetchOptions::new(cache) }, received)
}

#[test]
fn a_folder_is_fetched_once_and_again_what_has_changed() {
    let (store, cache) = (data(), tempfile::tempdir().unwrap());
    let (options, received) = counting(cache.path());
    let folder = bucket(&store, "data").fetch(&options).unwrap();
    let all = expected(&[("0.tar", b"first"), ("more/1.tar", b"second"), ("empty.txt", b"")]);
    assert_eq!(files(&folder), all);
    assert_eq!(*received.lock().unwrap(), 11);

    *received.lock().unwrap() = 0;
    assert_eq!(bucket(&store, "data").fetch(&options).unwrap(), folder);
    assert_eq!(*received.lock().unwrap(), 0, "it was in the cache");

    // The same length: only the tag tells.
    put(&*store, "data/0.tar", b"FIRST");
    store.delete(&ObjectPath::from("data/empty.txt")).now_or_never().unwrap().unwrap();
    let changed = bucket(&store, "data").fetch(&options).unwrap();
    assert_eq!(files(&changed), expected(&[("0.tar", b"FIRST"), ("more/1.tar", b"second")]));
    assert_eq!(*received.lock().unwrap(), 5);
    assert_eq!(files(&folder), all, "a folder in use does not change");
}

#[test]
fn objects_in_the_place_of_folders_are_no_files() {
    let (store, cache) = (data(), tempfile::tempdir().unwrap());
    put(&*store, "data", b"");
    put(&*store, "data/more", b"");
    let folder = bucket(&store, "data").fetch(&FetchOptions::new(cache.path())).unwrap();
    let all = expected(&[("0.tar", b"first"), ("more/1.tar", b"second"), ("empty.txt", b"")]);
    assert_eq!(files(&folder), all);
    // The whole bucket.
    let folder = bucket(&store, "").fetch(&FetchOptions::new(cache.path())).unwrap();
    assert_eq!(files(&folder).len(), 4);
}

#[test]
fn one_object_is_a_file() {
    let (store, cache) = (data(), tempfile::tempdir().unwrap());
    let file = bucket(&store, "database.csv").fetch(&FetchOptions::new(cache.path())).unwrap();
    assert!(file.ends_with("database.csv"), "{file:?}");
    assert_eq!(std::fs::read(file).unwrap(), b"not below the folder");
}

#[test]
fn refuses_what_cannot_be_fetched() {
    let (store, cache) = (data(), tempfile::tempdir().unwrap());
    let options = FetchOptions::new(cache.path().join("cache"));
    let nothing = bucket(&store, "dat").fetch(&options);
    assert!(matches!(nothing, Err(ObjectError::Nothing { .. })), "{nothing:?}");
    let large = bucket(&store, "data").fetch(&FetchOptions { max_bytes: 10, ..options.clone() });
    assert!(matches!(large, Err(ObjectError::TooLarge { found: 11, max: 10, .. })), "{large:?}");
    for name in ["hostile/a:b", "hostile/a\\b"] {
        let store = Arc::new(InMemory::new());
        let path = ObjectPath::parse(name).unwrap();
        store.put(&path, "x".into()).now_or_never().unwrap().unwrap();
        let error = bucket(&store, "hostile").fetch(&options);
        assert!(matches!(error, Err(ObjectError::Name { .. })), "{name:?}: {error:?}");
    }
    assert!(!cache.path().join("cache").exists());
    for url in ["s3://", "s3:bucket", "bucket/data", "s4://bucket/data"] {
        let error = Bucket::open(url).err();
        assert!(matches!(error, Some(ObjectError::Url { .. })), "{url}: {error:?}");
    }
}

#[test]
fn a_folder_is_uploaded_with_its_manifest_last() {
    let folder = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let content = [("a-manifest.json", &b"{}"[..]), ("shard-0.safetensors", &long), ("skipped.jsonl", b"")];
    for (name, bytes) in content {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let store = Arc::new(InMemory::new());
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (seen, inside) = (sent.clone(), store.clone());
    let progress: ProgressFn = Arc::new(move |Progress { done, total, .. }| {
        let manifest = ObjectPath::from("out/images/a-manifest.json");
        assert!(inside.head(&manifest).now_or_never().unwrap().is_err(), "before {done} of {total}");
        seen.lock().unwrap().push((done, total));
    });
    let out = bucket(&store, "out/images");
    assert!(!out.contains("a-manifest.json").unwrap());
    out.upload(folder.path(), "a-manifest.json", Some(&progress)).unwrap();
    assert!(out.contains("a-manifest.json").unwrap());
    assert_eq!(sent.lock().unwrap().last(), Some(&(20_000_002, 20_000_002)));

    let cache = tempfile::tempdir().unwrap();
    let fetched = out.fetch(&FetchOptions::new(cache.path())).unwrap();
    assert!(files(&fetched) == expected(&content));
}

#[test]
fn stores_on_disk_behave_as_those_in_memory() {
    let (remote, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(local.path().join("manifest.json"), "{}").unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(remote.path()).unwrap());
    let bucket = Bucket::with_store(store, ObjectPath::from("images"), "file:///images").unwrap();
    bucket.upload(local.path(), "manifest.json", None).unwrap();
    assert_eq!(files(remote.path()), expected(&[("images/manifest.json", b"{}")]));
    let fetched = bucket.fetch(&FetchOptions::new(local.path().join("cache"))).unwrap();
    assert_eq!(files(&fetched), expected(&[("manifest.json", b"{}")]));
}
