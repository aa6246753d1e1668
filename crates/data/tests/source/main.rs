//! Sources of images and captions: files of reference tools, invalid files, and properties.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_paths;
mod bad_rows;
mod bad_sources;
mod bad_tars;
mod beside;
mod file_keys;
mod formats;
mod hostile;
mod links;
mod members;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_writer;
mod properties;
mod python_json;
mod quotes;
mod urls;
#[cfg(feature = "parquet")]
mod written;

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use sail_data::DataError;
use sail_data::source::{
    ImageData, KeyScope, PassedOver, Record, RecordSource, SourceOptions, open_captions, open_images,
};
use serde_json::Value;

/// A file written by `generate_source.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/source").join(name)
}

/// A list in `expected.json`.
fn expected(name: &str) -> Vec<Value> {
    let bytes = fs::read(fixture("expected.json")).unwrap();
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    value[name].as_array().unwrap().clone()
}

fn expected_text(name: &str) -> Vec<String> {
    expected(name).iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn options(key: &str, image: &str, captions: &[&str]) -> SourceOptions {
    let column = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    SourceOptions {
        key_column: column(key),
        image_column: column(image),
        caption_columns: captions.iter().map(|&name| name.to_owned()).collect(),
        ..SourceOptions::default()
    }
}

/// Reads all records, and checks their count and that ranges agree with the whole.
fn all<T: Debug + PartialEq>(source: &dyn RecordSource<T>) -> Vec<Record<T>> {
    let walk = |range| source.records(range).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let records = walk(0..u64::MAX);
    let count = records.len() as u64;
    assert_eq!(source.count().unwrap(), count);
    for range in
        [0..0, 0..count, 1..count, 2..3, count / 2..count + 9, count..count + 1, u64::MAX - 1..u64::MAX]
    {
        let part = &records[range.start.min(count) as usize..range.end.min(count) as usize];
        assert_eq!(walk(range.clone()), part, "{range:?}");
    }
    records
}

fn images(path: &Path, options: &SourceOptions) -> Vec<Record<ImageData>> {
    all(&*open_images(path, options).unwrap())
}

fn captions(path: &Path, options: &SourceOptions) -> Vec<Record<String>> {
    all(&*open_captions(path, options).unwrap())
}

fn keys<T>(records: &[Record<T>]) -> Vec<&str> {
    records.iter().map(|record| record.key.as_str()).collect()
}

/// The captions, or nothing where there are reasons.
fn usable(records: &[Record<String>]) -> Vec<Option<&str>> {
    records.iter().map(|record| record.value.as_deref().ok()).collect()
}

/// A reason, which has to be there.
fn reason<T: Debug>(record: &Record<T>) -> &str {
    record.value.as_ref().unwrap_err()
}

/// The records before an error, and the error.
fn until_error<T>(source: &dyn RecordSource<T>) -> (Vec<Record<T>>, DataError) {
    let mut records = Vec::new();
    let mut walk = source.records(0..u64::MAX).unwrap();
    loop {
        match walk.next().unwrap_or_else(|| panic!("no error")) {
            Ok(record) => records.push(record),
            Err(error) => {
                assert!(walk.next().is_none(), "a walk goes on behind an error");
                return (records, error);
            }
        }
    }
}

/// What a caption in a cell gives: itself or nothing.
fn caption_of(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.trim().is_empty())
}

/// What a list of captions in a cell gives.
fn captions_of(value: &Value) -> Vec<Option<&str>> {
    match value.as_array() {
        Some(list) if !list.is_empty() => list.iter().map(caption_of).collect(),
        _ => vec![None],
    }
}

/// Writes a file in a folder.
fn file(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// Options with small limits.
fn small() -> SourceOptions {
    SourceOptions { max_image_bytes: 100, max_text_bytes: 40, ..SourceOptions::default() }
}
