//! Indexes of parts.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use sail_data::source::{SourceOptions, open_images};
use sail_extract::Event;
use sail_search::{Index, IndexError, UpdateOptions, merge, update};

use crate::support::{Lab, files, model, options};

/// Indexes the images with these numbers, as a table names them.
fn index(lab: &Lab, name: &str, numbers: impl Iterator<Item = u8>) -> PathBuf {
    let table = lab.path_of(&format!("{name}.csv"));
    let rows: String = numbers.map(|n| format!("{n:02}.png\n")).collect();
    fs::write(&table, format!("image\n{rows}")).unwrap();
    let source = SourceOptions { image_root: Some(lab.images()), ..SourceOptions::default() };
    let images = open_images(&table, &source).unwrap();
    let options = UpdateOptions { segment_rows: 1 << 16, ..options(&lab.images()) };
    let out = lab.path_of(name);
    update(&out, &model(&lab.colours), &images.as_ref().into(), &options, &mut |_: Event<'_>| ()).unwrap();
    out
}

#[test]
fn parts_become_the_index_of_one_run() {
    let lab = Lab::new();
    for n in 0..40u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    let whole = index(&lab, "whole", 0..40);
    // Whole blocks, so that the embeddings are the same.
    let parts = [index(&lab, "first", 0..24), index(&lab, "second", 24..40)];
    let merged = merge(&parts, &lab.path_of("merged"), |_| ControlFlow::Continue(())).unwrap();
    merged.verify(|_| ()).unwrap();
    let (mut merged, mut whole) = (files(merged.path()), files(&whole));
    for own in ["lock", "skipped.jsonl"] {
        whole.remove(own);
    }
    let json = |files: &mut std::collections::BTreeMap<String, Vec<u8>>| -> serde_json::Value {
        let mut json: serde_json::Value =
            serde_json::from_slice(&files.remove("index.json").unwrap()).unwrap();
        json["generation"] = 0.into();
        json
    };
    let (mut found, mut expected) = (json(&mut merged), json(&mut whole));
    // Codes are centred on the first part, in one run on all.
    let codes = "segments/000000/codes.safetensors";
    assert_eq!(merged.remove(codes).is_some(), whole.remove(codes).is_some());
    found["segments"][0]["bytes"].take();
    expected["segments"][0]["bytes"].take();
    assert_eq!(found, expected);
    assert_eq!(merged.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert!(merged == whole);
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let lab = Lab::new();
    for n in 0..8u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    let (a, b) = (index(&lab, "a", 0..5), index(&lab, "b", 4..8));
    let out = lab.path_of("out");
    let join = |parts: &[PathBuf]| merge(parts, &out, |_| ControlFlow::Continue(()));
    let error = join(&[a.clone(), b.clone()]).unwrap_err();
    assert!(matches!(&error, IndexError::DuplicateKeys { count: 1, key, .. } if key == "04.png"), "{error}");
    assert!(matches!(join(&[]), Err(IndexError::NoParts)));
    assert!(matches!(
        merge(std::slice::from_ref(&a), &b, |_| ControlFlow::Continue(())),
        Err(IndexError::Exists { .. })
    ));
    let stopped = merge(std::slice::from_ref(&a), &out, |_| ControlFlow::Break(())).unwrap_err();
    assert!(stopped.is_stopped() && !out.exists());
    let mut other = Lab::new();
    other.colours.name = "other".to_owned();
    other.image("x.png", [1, 2, 3]);
    other.update().unwrap();
    assert!(matches!(join(&[a, other.index()]), Err(IndexError::Model { .. })));
    // Files of other folders are named in full.
    let third = Lab::new();
    third.image("y.png", [1, 2, 3]);
    third.update().unwrap();
    join(&[b, third.index()]).unwrap();
    let merged = Index::open(&out).unwrap();
    let entry = merged.entry(merged.row_of_key("y.png").unwrap()).unwrap();
    assert_eq!(entry.file, Some(third.path("y.png")));
}
