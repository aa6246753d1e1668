//! Splitting a job into parts and merging them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sail_core::{Named, Progress, StoreDtype};
use sail_data::DataError;
use sail_data::source::Record;
use sail_extract::{ExtractError, ExtractOptions, Part, extract_texts, merge};

use crate::fakes::{Made, assert_same, captions, files, image, image_source, images, options, text, texts};

fn no_progress() -> impl FnMut(Progress) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

/// Extracts the parts of a job, without duplicates across parts.
fn parts(folder: &Path, of: u64, options: &ExtractOptions) -> Vec<PathBuf> {
    (1..=of)
        .map(|index| {
            let out = folder.join(format!("part-{index}"));
            let part = Part { index, of };
            images(&image_source(300), &out, &ExtractOptions { part, ..options.clone() }).unwrap();
            out
        })
        .collect()
}

#[test]
fn merged_parts_equal_a_single_run() {
    for dtype in StoreDtype::ALL.iter().copied() {
        let folder = tempfile::tempdir().unwrap();
        let options = ExtractOptions { dtype, ..options() };
        let whole = folder.path().join("whole");
        images(&image_source(300), &whole, &options).unwrap();
        let mut parts = parts(folder.path(), 4, &options);
        let before: Vec<_> = parts.iter().map(|part| files(part)).collect();
        let (merged, mut rows) = (folder.path().join("new/merged"), 0);
        let store = merge(&parts, &merged, |progress| {
            rows = progress.done;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(rows, sail_core::FeatureSource::rows(&store) as u64);
        assert_same(&merged, &whole);
        assert!(before == parts.iter().map(|part| files(part)).collect::<Vec<_>>());
        let stopped = merge(&parts, &folder.path().join("stopped"), |_| ControlFlow::Break(())).unwrap_err();
        assert!(matches!(stopped, ExtractError::Store(DataError::Stopped)), "{stopped}");
        assert!(!folder.path().join("stopped").exists());
        parts.reverse();
        merge(&parts, &folder.path().join("again"), no_progress()).unwrap();
        assert_same(&folder.path().join("again"), &whole);
    }
}

#[test]
fn texts_may_have_equal_keys_in_several_parts() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    // Three blocks of nine: the two captions of a key are in different parts.
    let options = ExtractOptions { block: 9, ..options() };
    texts(&captions(25), &out("whole"), &options).unwrap();
    for index in 1..=3 {
        let part = Part { index, of: 3 };
        let options = ExtractOptions { part, source: format!("machine {index}"), ..options.clone() };
        texts(&captions(25), &out(&index.to_string()), &options).unwrap();
    }
    merge(&[out("1"), out("2"), out("3")], &out("merged"), no_progress()).unwrap();
    let text = std::fs::read_to_string(out("merged").join("encode.json")).unwrap();
    std::fs::write(out("merged").join("encode.json"), text.replace("machine 1", "made up")).unwrap();
    assert_same(&out("merged"), &out("whole"));
}

#[test]
fn merge_rejects_inconsistent_parts() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let parts = parts(folder.path(), 3, &options());
    let rejects = |parts: &[&PathBuf], words: &str| {
        let error = merge(parts, &out("merged"), no_progress()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!out("merged").exists());
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".tmp-");
        assert!(!entries.map(|entry| entry.unwrap().file_name()).any(|name| hidden(&name)));
    };
    let [one, two, three] = &parts[..] else { panic!() };
    rejects(&[one, two], "the number of parts is 2, expected 3");
    rejects(&[one, three], "the part is 3/3, expected 2/3");
    rejects(&[one, two, two, three], "the part is 2/3, expected 3/3");
    rejects(&[], "there are no parts");
    rejects(&[one, two, &out("absent")], "absent");

    let other = |name: &str, options: ExtractOptions| {
        let options = ExtractOptions { part: Part { index: 3, of: 3 }, ..options };
        images(&image_source(300), &out(name), &options).unwrap();
        out(name)
    };
    rejects(
        &[one, two, &other("f16", ExtractOptions { dtype: StoreDtype::F16, ..options() })],
        "`dtype` is \"f16\"",
    );
    rejects(
        &[one, two, &other("block", ExtractOptions { block: 4, ..options() })],
        "`block` is 4, expected 8",
    );
    rejects(
        &[one, two, &other("limit", ExtractOptions { limit: Some(280), ..options() })],
        "`records` is 280",
    );
    let mut tower = text();
    tower.model.revision = Some("other".to_owned());
    let third = ExtractOptions { part: Part { index: 3, of: 3 }, ..options() };
    extract_texts(&tower, &captions(300), &out("texts"), &third, &mut |_: sail_extract::Event<'_>| ())
        .unwrap();
    rejects(&[one, two, &out("texts")], "is");

    // One skipped record is missing.
    let skipped = three.join("skipped.jsonl");
    let lines = std::fs::read_to_string(&skipped).unwrap();
    std::fs::write(&skipped, lines.split_inclusive('\n').skip(1).collect::<String>()).unwrap();
    rejects(&[one, two, three], "the number of rows and skipped records is");
    std::fs::write(&skipped, lines).unwrap();

    let shard = two.join("shard-00001.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    let place = bytes.len() - 1000;
    bytes[place] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    rejects(&[one, two, three], "is corrupt");
    std::fs::rename(two.join("manifest.json"), two.join("partial.json")).unwrap();
    rejects(&[one, two, three], "is unfinished");
    std::fs::create_dir(out("merged")).unwrap();
    let error = merge(&parts, &out("merged"), no_progress()).unwrap_err();
    assert!(matches!(error, ExtractError::Exists { .. }), "{error}");
}

#[test]
fn merge_rejects_duplicate_images() {
    let folder = tempfile::tempdir().unwrap();
    let twice = |position: u64| Record { key: image(position % 20).key, ..image(position) };
    let paths: Vec<PathBuf> = (1..=2)
        .map(|index| {
            let out = folder.path().join(index.to_string());
            let part = ExtractOptions { part: Part { index, of: 2 }, ..options() };
            images(&Made { count: 24, record: twice }, &out, &part).unwrap();
            out
        })
        .collect();
    let error = merge(&paths, &folder.path().join("merged"), no_progress()).unwrap_err();
    assert!(
        matches!(&error, ExtractError::DuplicateKeys { count: 4, first, .. } if first == "p00000"),
        "{error}"
    );
}

#[test]
fn merge_rejects_stores_without_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let parts = parts(folder.path(), 2, &options());
    std::fs::remove_file(parts[1].join("encode.json")).unwrap();
    let error = merge(&parts, &folder.path().join("merged"), no_progress()).unwrap_err();
    assert!(matches!(&error, ExtractError::Io { path, .. } if path.ends_with("encode.json")), "{error}");
    std::fs::remove_file(parts[0].join("manifest.json")).unwrap();
    let error = merge(&parts, &folder.path().join("merged"), no_progress()).unwrap_err();
    assert!(matches!(&error, ExtractError::Store(DataError::NotAStore { .. })), "{error}");
}
