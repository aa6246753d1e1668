//! The rows and skipped records of an extraction.

use std::collections::HashSet;
use std::path::Path;

use sail_core::{FeatureSource, Modality, Processor, Progress, StoreDtype};
use sail_data::EmbeddingStore;
use sail_data::source::{ImageData, Record};
use sail_extract::{Event, ExtractOptions, Skipped, extract_images, extract_images_on, extract_texts_on};

use crate::fakes::{
    DIM, Made, assert_same, caption, captions, image, image_source, images, names, options, png, text, texts,
    vision, with_faults,
};

fn skipped(out: &Path) -> Vec<Skipped> {
    let lines = std::fs::read_to_string(out.join("skipped.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn row(store: &EmbeddingStore, row: usize) -> Vec<f32> {
    let mut out = vec![0.0; store.dim()];
    store.gather(&[row], &mut out).unwrap();
    out
}

#[test]
fn rows_are_in_the_order_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/store");
    let extraction = images(&image_source(200), &out, &options()).unwrap();
    let mut seen = HashSet::new();
    let broken = |position: u64| position % 13 == 5 || position % 17 == 3;
    let new = |position: &u64| !broken(*position) && seen.insert(with_faults(*position).key);
    let good: Vec<u64> = (0..200).filter(new).collect();
    assert!(!good.contains(&49), "the key of 48");
    assert_eq!((extraction.rows, extraction.skipped), (good.len() as u64, 200 - good.len() as u64));
    assert_eq!((extraction.dim, extraction.embedded), (DIM, extraction.rows));

    let store = EmbeddingStore::open(&out).unwrap();
    store.verify(|_| {}).unwrap();
    assert_eq!(
        (store.modality(), store.dtype(), store.shards()),
        (Modality::Image, StoreDtype::F32, good.len().div_ceil(37))
    );
    let provenance = store.provenance().unwrap();
    assert_eq!((provenance.model.as_str(), provenance.pooling.as_deref()), ("eye", Some("pooled")));
    assert_eq!(provenance.processor, Some(Processor::Description("as is".to_owned())));
    let keys: Vec<String> = (0..store.rows()).map(|row| store.key(row).into_owned()).collect();
    assert_eq!(keys, good.iter().map(|&position| with_faults(position).key).collect::<Vec<_>>());

    // The fourth block in batches, embedded by the tower directly: 24 to 31, of which 31 is truncated.
    let decoded = |position: &u64| match image(*position).value.unwrap() {
        ImageData::Bytes(bytes) => image::load_from_memory(&bytes).unwrap().to_rgb8(),
        _ => panic!(),
    };
    for batch in [&[24u64, 26, 27, 28, 29][..], &[25, 30]] {
        let batch: Vec<u64> = batch.iter().copied().filter(|&position| !broken(position)).collect();
        let rows = vision().embed_images(&batch.iter().map(decoded).collect::<Vec<_>>()).unwrap();
        let rows: Vec<f32> = rows.into_data().iter::<f32>().collect();
        for (position, expected) in batch.iter().zip(rows.chunks(DIM)) {
            let place = good.iter().position(|found| found == position).unwrap();
            assert_eq!(row(&store, place), expected, "image {position}");
        }
    }

    let lines = skipped(&out);
    assert_eq!(lines.len() as u64, extraction.skipped);
    let reason = |position: u64| &lines.iter().find(|line| line.key == image(position).key).unwrap().reason;
    assert_eq!(reason(3), "gone");
    assert!(!reason(18).is_empty());
    assert_eq!(reason(48), "an earlier record has the same key");
    let expected = ["encode.json", "manifest.json"];
    assert_eq!(names(&out)[..2], expected);
    assert_eq!(names(&out).len(), expected.len() + store.shards() + 1);
}

#[test]
fn skips_empty_captions() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let extraction = texts(&captions(300), &out, &ExtractOptions { block: 64, ..options() }).unwrap();
    let good: Vec<u64> = (0..300).filter(|position| position % 11 != 0).collect();
    assert_eq!((extraction.rows, extraction.skipped), (good.len() as u64, 300 - good.len() as u64));
    assert!(skipped(&out).iter().all(|line| line.reason == "the text is empty"));
    let store = EmbeddingStore::open(&out).unwrap();
    assert_eq!(store.modality(), Modality::Text);
    let keys: Vec<String> = (0..store.rows()).map(|row| store.key(row).into_owned()).collect();
    assert_eq!(keys, good.iter().map(|&position| caption(position).key).collect::<Vec<_>>());
    let second: Vec<String> =
        good.iter().filter(|&&p| (64..128).contains(&p)).map(|&p| caption(p).value.unwrap()).collect();
    let rows: Vec<f32> = text().embed_texts(&second).unwrap().into_data().iter::<f32>().collect();
    let first = good.iter().position(|&position| position >= 64).unwrap();
    assert_eq!(row(&store, first), rows[..DIM]);
}

#[test]
fn result_is_independent_of_threads_and_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let one = ExtractOptions { threads: 1, ..options() };
    images(&image_source(300), &out("one"), &one).unwrap();
    let many = ExtractOptions { threads: 16, checkpoint_every: std::time::Duration::ZERO, ..options() };
    images(&image_source(300), &out("many"), &many).unwrap();
    assert_same(&out("many"), &out("one"));
    images(&image_source(300), &out("batch"), &ExtractOptions { block: 9, ..options() }).unwrap();
    let shard = "shard-00000.safetensors";
    let read = |name: &str| std::fs::read(out(name).join(shard)).unwrap();
    assert!(read("batch") != read("one"), "rows of the fake tower depend on the batch");
}

#[test]
fn skips_unusable_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("good.png"), png(2, 2, [1, 2, 3])).unwrap();
    std::fs::write(path("empty.png"), []).unwrap();
    std::fs::write(path("text.png"), "not an image").unwrap();
    std::fs::create_dir(path("folder.png")).unwrap();
    let file = |name: &str| Ok(ImageData::File(path(name)));
    let values = [
        ("good", file("good.png"), ""),
        ("empty", file("empty.png"), "the file is empty"),
        ("text", file("text.png"), "not an image"),
        ("folder", file("folder.png"), "expected a regular file"),
        ("missing", file("missing.png"), "the file cannot be read"),
        ("red", Ok(ImageData::Bytes(png(2, 2, [255, 0, 0]))), "it is red"),
        ("bug", Ok(ImageData::Bytes(png(2, 2, [255, 0, 1]))), "panicked: an unexpected bug"),
        ("source", Err("the line is invalid".to_owned()), "the line is invalid"),
        ("good", file("good.png"), "the same key"),
        ("other", file("good.png"), ""),
    ];
    let reasons: Vec<(&str, &str)> = values.iter().map(|(key, _, reason)| (*key, *reason)).collect();
    let source = Made {
        count: values.len() as u64,
        record: move |position| {
            let (key, value, _) = values[position as usize].clone();
            Record { key: key.to_owned(), value }
        },
    };
    let mut reported = Vec::new();
    let mut observer = |event: Event<'_>| {
        if let Event::Skipped(skipped) = event {
            reported.push(skipped.clone());
        }
    };
    let out = path("store");
    let extraction = extract_images(&vision(), &source, &out, &options(), &mut observer).unwrap();
    assert_eq!((extraction.rows, extraction.skipped), (2, 8));
    let lines = skipped(&out);
    assert_eq!(reported, lines);
    let expected = reasons.iter().filter(|(_, reason)| !reason.is_empty());
    for (line, (key, reason)) in lines.iter().zip(expected) {
        assert!(line.key == *key && line.reason.contains(reason), "{line:?}");
    }
}

#[test]
fn limit_takes_the_first_records() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let limited = ExtractOptions { limit: Some(20), ..options() };
    let extraction = images(&image_source(300), &out, &limited).unwrap();
    assert_eq!(extraction.rows + extraction.skipped, 20);
    let short = folder.path().join("short");
    images(&Made { count: 20, record: with_faults }, &short, &options()).unwrap();
    assert_same(&out, &short);
    // A limit beyond the end has no effect.
    images(&image_source(20), &folder.path().join("all"), &ExtractOptions { limit: Some(99), ..options() })
        .unwrap();
    assert_same(&folder.path().join("all"), &short);
}

#[test]
fn progress_counts_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = Vec::new();
    let mut observer = |event: Event<'_>| {
        if let Event::Progress(progress) = event {
            events.push(progress);
        }
    };
    extract_images(&vision(), &image_source(20), &folder.path().join("store"), &options(), &mut observer)
        .unwrap();
    assert_eq!(events, [0, 8, 16, 20].map(|done| Progress { done, total: 20, unit: "records" }));
}

#[test]
fn the_store_does_not_depend_on_the_number_of_towers() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: String| folder.path().join(name);
    let observer = &mut |_: Event<'_>| ();
    images(&image_source(300), &out("images".into()), &options()).unwrap();
    texts(&captions(300), &out("texts".into()), &options()).unwrap();
    for count in [2, 3, 64] {
        let (eyes, readers) = (vec![vision(); count], vec![text(); count]);
        let found = out(format!("images-{count}"));
        extract_images_on(&eyes, &image_source(300), &found, &options(), observer).unwrap();
        assert_same(&found, &out("images".into()));
        let found = out(format!("texts-{count}"));
        extract_texts_on(&readers, &captions(300), &found, &options(), observer).unwrap();
        assert_same(&found, &out("texts".into()));
    }
}

#[test]
fn towers_must_be_of_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = vision();
    other.model.model = "other".to_owned();
    for (towers, found) in [(vec![], "are none"), (vec![vision(), other], "other")] {
        let out = folder.path().join("store");
        let error = extract_images_on(&towers, &image_source(9), &out, &options(), &mut |_: Event<'_>| ());
        let message = error.unwrap_err().to_string();
        assert!(message.contains(found), "{message}");
        assert!(!out.exists());
    }
}
