//! Resuming with the same settings and the same source.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sail_core::{Dtype, Progress, Provenance, StoreDtype};
use sail_data::source::{ImageData, Record};
use sail_data::{DataError, EmbeddingStore};
use sail_extract::{Event, ExtractError, ExtractOptions, Extraction, Part, extract_images};

use crate::fakes::{
    Made, assert_same, captions, files, image, image_source, images, names, options, texts, vision,
    with_faults,
};

/// Extracts and stops when `done` records are done.
fn stopped(out: &Path, done: u64, options: &ExtractOptions) -> Result<Extraction, ExtractError> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = ExtractOptions { stop: stop.clone(), ..options.clone() };
    let mut observer = |event: Event<'_>| match event {
        Event::Progress(progress) if progress.done >= done => stop.store(true, Ordering::Relaxed),
        _ => {}
    };
    extract_images(&vision(), &image_source(300), out, &options, &mut observer)
}

#[test]
fn resumes_after_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (out, expected) = (folder.path().join("stopped"), folder.path().join("expected"));
    let uninterrupted = images(&image_source(300), &expected, &options()).unwrap();
    let mut resume = false;
    for (done, expected) in [(1, 8), (16, 16), (50, 56), (200, 200)] {
        let error = stopped(&out, done, &ExtractOptions { resume, ..options() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("stopped after {expected} of 300 records: resume it to continue")
        );
        assert!(matches!(EmbeddingStore::open(&out), Err(DataError::Unfinished { .. })));
        resume = true;
    }
    // Lines of blocks that were not saved are removed.
    let mut log = std::fs::OpenOptions::new().append(true).open(out.join("skipped.jsonl")).unwrap();
    log.write_all(&b"{\"key\":\"lost\",\"reason\":\"killed\"}\n".repeat(500)).unwrap();
    let mut started = None;
    let mut observer = |event: Event<'_>| {
        if let Event::Progress(Progress { done, total, .. }) = event {
            started.get_or_insert((done, total));
        }
    };
    let resumed = ExtractOptions { resume: true, ..options() };
    let extraction = extract_images(&vision(), &image_source(300), &out, &resumed, &mut observer).unwrap();
    assert_eq!(started, Some((200, 300)));
    assert_eq!((extraction.rows, extraction.skipped), (uninterrupted.rows, uninterrupted.skipped));
    assert!(extraction.embedded > 0 && extraction.embedded < extraction.rows);
    assert_same(&out, &expected);

    // A complete store is not modified.
    let again = images(&image_source(300), &out, &resumed).unwrap();
    assert_eq!(
        (again.rows, again.skipped, again.dim, again.embedded),
        (uninterrupted.rows, uninterrupted.skipped, uninterrupted.dim, 0)
    );
    assert_same(&out, &expected);
    // A stop in the last block has no effect.
    let last = folder.path().join("last");
    stopped(&last, 300, &options()).unwrap();
    assert_same(&last, &expected);
}

#[test]
fn resumes_before_the_first_row() {
    let folder = tempfile::tempdir().unwrap();
    let (out, expected) = (folder.path().join("stopped"), folder.path().join("expected"));
    let late = |position| match position {
        0..20 => Record { key: format!("{position}"), value: Err::<ImageData, _>("gone".to_owned()) },
        _ => image(position),
    };
    let source = Made { count: 40, record: late };
    images(&source, &expected, &options()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = ExtractOptions { stop: stop.clone(), ..options() };
    let mut observer = |event: Event<'_>| {
        if let Event::Skipped(_) = event {
            stop.store(true, Ordering::Relaxed);
        }
    };
    extract_images(&vision(), &source, &out, &stopped, &mut observer).unwrap_err();
    images(&source, &out, &ExtractOptions { resume: true, ..options() }).unwrap();
    assert_same(&out, &expected);
}

#[test]
fn resumes_what_version_1_started() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    stopped(&out, 50, &options()).unwrap_err();
    for file in ["encode.json", "partial.json"] {
        let path = out.join(file);
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["version"], 2);
        json["version"] = 1.into();
        let provenance = json["provenance"].as_object_mut().unwrap();
        let description = provenance.remove("processor").unwrap();
        provenance.insert("preprocessing".to_owned(), description);
        if file == "encode.json" {
            json["settings"]["precision"] = "f32".into();
        }
        std::fs::write(path, json.to_string()).unwrap();
    }
    let resume = |precision| {
        let mut tower = vision();
        tower.model.precision = Some(precision);
        let options = ExtractOptions { resume: true, ..options() };
        extract_images(&tower, &image_source(300), &out, &options, &mut |_: Event<'_>| ())
    };
    let error = resume(Dtype::BF16).unwrap_err();
    assert!(error.to_string().contains("`precision` (\"f32\", now \"bf16\")"), "{error}");
    resume(Dtype::F32).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["version"], &manifest["provenance"]["processor"]), (&2.into(), &"as is".into()));
}

#[test]
fn resume_starts_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected");
    images(&image_source(40), &expected, &options()).unwrap();
    let [absent, empty] = ["absent", "empty"].map(|name| folder.path().join(name));
    std::fs::create_dir(&empty).unwrap();
    for out in [absent, empty] {
        let resumed = ExtractOptions { resume: true, ..options() };
        let extraction = images(&image_source(40), &out, &resumed).unwrap();
        assert_eq!(extraction.embedded, extraction.rows);
        assert_same(&out, &expected);
        assert_eq!(images(&image_source(40), &out, &resumed).unwrap().embedded, 0);
    }
}

#[test]
fn rejects_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let nothing =
        images(&image_source(300), &out, &ExtractOptions { resume: true, ..options() }).unwrap_err();
    assert!(matches!(nothing, ExtractError::NothingToResume { .. }), "{nothing}");
    std::fs::remove_dir_all(&out).unwrap();
    stopped(&out, 50, &options()).unwrap_err();
    let before = files(&out);
    let resumed = || ExtractOptions { resume: true, ..options() };
    let settings = [("precision".to_owned(), "bf16".to_owned())].into();
    for (options, field) in [
        (ExtractOptions { block: 16, ..resumed() }, "`block` (8, now 16)"),
        (ExtractOptions { dtype: StoreDtype::F16, ..resumed() }, "`dtype` (\"f32\", now \"f16\")"),
        (ExtractOptions { rows_per_shard: 38, ..resumed() }, "`rows_per_shard` (37, now 38)"),
        (ExtractOptions { source: "other".into(), ..resumed() }, "`source` (\"made up\", now \"other\")"),
        (ExtractOptions { settings, ..resumed() }, "`settings` ({}, now {\"precision\":\"bf16\"})"),
        (ExtractOptions { limit: Some(9), ..resumed() }, "`records` (300, now 9)"),
        (ExtractOptions { part: Part { index: 1, of: 2 }, ..resumed() }, "`part`"),
    ] {
        let error = images(&image_source(300), &out, &options).unwrap_err();
        assert!(
            matches!(&error, ExtractError::Changed { fields, .. } if fields[0].starts_with(field)),
            "{error}"
        );
    }
    let mut tower = vision();
    tower.model = Provenance::new("another eye");
    let error =
        extract_images(&tower, &image_source(300), &out, &resumed(), &mut |_: Event<'_>| ()).unwrap_err();
    assert!(error.to_string().contains("`model` (\"eye\", now \"another eye\")"), "{error}");
    let error = texts(&captions(300), &out, &resumed()).unwrap_err();
    assert!(error.to_string().contains("`modality`"), "{error}");
    assert!(files(&out) == before, "an error changes nothing");
    let error = images(&image_source(300), &out, &options()).unwrap_err();
    assert!(matches!(error, ExtractError::Exists { .. }), "{error}");
}

#[test]
fn rejects_another_source() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let resumed = ExtractOptions { resume: true, ..options() };
    stopped(&out, 50, &options()).unwrap_err();
    let error = images(&image_source(299), &out, &resumed).unwrap_err();
    assert!(matches!(error, ExtractError::Changed { .. }), "{error}");
    // All records are shifted by one.
    let error = images(&Made { count: 300, record: |position| with_faults(position + 1) }, &out, &resumed)
        .unwrap_err();
    assert!(matches!(&error, ExtractError::SourceChanged { position: 55, .. }), "{error}");
}

#[test]
fn detects_duplicates_after_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let (out, expected) = (folder.path().join("stopped"), folder.path().join("expected"));
    let twice = |position: u64| Record { key: image(position % 100).key, ..image(position) };
    let source = Made { count: 200, record: twice };
    assert_eq!(images(&source, &expected, &options()).unwrap().rows, 100);
    let stop = Arc::new(AtomicBool::new(false));
    let options = ExtractOptions { stop: stop.clone(), ..options() };
    let mut observer = |event: Event<'_>| {
        if matches!(event, Event::Progress(Progress { done: 104, .. })) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    extract_images(&vision(), &source, &out, &options, &mut observer).unwrap_err();
    let resumed = ExtractOptions { resume: true, ..crate::fakes::options() };
    assert_eq!(images(&source, &out, &resumed).unwrap().rows, 100);
    assert_same(&out, &expected);
}

#[test]
fn rejects_corrupt_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let resumed = ExtractOptions { resume: true, ..options() };
    stopped(&out, 50, &options()).unwrap_err();
    let whole = std::fs::read(out.join("skipped.jsonl")).unwrap();
    for (bytes, words) in [
        (&whole[..whole.len() - 5], "lines, expected at least"),
        (&[&b"{}\n".repeat(20)[..]].concat()[..], "missing field"),
    ] {
        std::fs::write(out.join("skipped.jsonl"), bytes).unwrap();
        let error = images(&image_source(300), &out, &resumed).unwrap_err();
        assert!(matches!(&error, ExtractError::Damaged { reason, .. } if reason.contains(words)), "{error}");
    }
    std::fs::write(out.join("skipped.jsonl"), whole).unwrap();
    let json = std::fs::read_to_string(out.join("encode.json")).unwrap();
    for (from, to) in [("\"version\": 2", "\"version\": 4"), ("\"block\": 8", "\"block\": 0"), ("{", "[")] {
        std::fs::write(out.join("encode.json"), json.replacen(from, to, 1)).unwrap();
        let error = images(&image_source(300), &out, &resumed).unwrap_err();
        assert!(matches!(&error, ExtractError::Damaged { .. }), "{error}");
    }
    std::fs::write(out.join("encode.json"), &json).unwrap();
    let partial = std::fs::read_to_string(out.join("partial.json")).unwrap();
    std::fs::write(out.join("partial.json"), partial.replacen("\"position\": 56", "\"position\": 5", 1))
        .unwrap();
    let error = images(&image_source(300), &out, &resumed).unwrap_err();
    assert!(matches!(&error, ExtractError::Damaged { .. }), "{error}");
    std::fs::write(out.join("partial.json"), partial).unwrap();
    std::fs::write(out.join(".tmp-Xy12Zw"), "half").unwrap();
    images(&image_source(300), &out, &resumed).unwrap();
    assert!(!names(&out).contains(&".tmp-Xy12Zw".to_owned()));
}

#[test]
fn rejects_a_second_process() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let mut busy = None;
    let mut observer = |event: Event<'_>| {
        if matches!(event, Event::Progress(Progress { done: 16, .. })) {
            let resumed = ExtractOptions { resume: true, ..options() };
            busy = Some(images(&image_source(100), &out, &resumed).unwrap_err());
        }
    };
    extract_images(&vision(), &image_source(100), &out, &options(), &mut observer).unwrap();
    assert!(matches!(busy, Some(ExtractError::Busy { .. })), "{busy:?}");
}
