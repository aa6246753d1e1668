//! Images and captions with damaged records of ten kinds, from encoding to evaluation: no record is lost silently.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::benchmark::lab;
use crate::lab::Lab;
use crate::segment::write_png;

const RECORDS: usize = 2000;

enum Damage {
    /// The contents of the image file.
    Image(fn(Vec<u8>) -> Vec<u8>),
    /// The path in the table.
    Path(&'static str),
    /// The caption.
    Caption(&'static [u8]),
}

/// Each damages ten records, and is recognised by this part of the reason for skipping them.
const DAMAGES: [(&str, Damage); 10] = [
    ("HTML page", Damage::Image(|_| b"<!DOCTYPE html><title>404</title>".to_vec())),
    (
        "Git LFS pointer",
        Damage::Image(|_| b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec()),
    ),
    (
        "truncated",
        Damage::Image(|mut png| {
            png.truncate(png.len() / 2);
            png
        }),
    ),
    ("the file is empty", Damage::Image(|_| Vec::new())),
    ("HEIC", Damage::Image(|_| b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec())),
    ("is missing", Damage::Path("missing.png")),
    ("..", Damage::Path("../outside.png")),
    ("the same key", Damage::Path("0.png")),
    ("the caption is empty", Damage::Caption(b"  ")),
    ("not valid UTF-8", Damage::Caption(b"caf\xe9")),
];

fn damage(item: usize) -> Option<&'static Damage> {
    (item % 20 == 7).then(|| &DAMAGES[item / 20 % DAMAGES.len()].1)
}

/// Writes the images and `pairs.csv`.
fn write(lab: &Lab) {
    fs::create_dir(lab.path("photos")).unwrap();
    let mut table = b"path,caption\n".to_vec();
    for item in 0..RECORDS {
        let (mut path, mut caption) = (format!("{item}.png"), format!("image {item}").into_bytes());
        let file = lab.path("photos").join(&path);
        let pixels: Vec<u8> = (0..24 * 20 * 3).map(|value| (value * item % 251) as u8).collect();
        write_png(&file, png::ColorType::Rgb, &pixels);
        match damage(item) {
            Some(Damage::Image(edit)) => fs::write(&file, edit(fs::read(&file).unwrap())).unwrap(),
            Some(Damage::Path(other)) => path = (*other).to_owned(),
            Some(Damage::Caption(other)) => caption = other.to_vec(),
            None => {}
        }
        table.extend_from_slice(path.as_bytes());
        table.push(b',');
        table.extend_from_slice(&caption);
        table.push(b'\n');
    }
    fs::write(lab.path("photos/pairs.csv"), table).unwrap();
}

/// Counts the reasons in a store's `skipped.jsonl`.
fn skipped(lab: &Lab, store: &str) -> BTreeMap<&'static str, usize> {
    let text = String::from_utf8(lab.read(&format!("{store}/skipped.jsonl"))).unwrap();
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let reason = record["reason"].as_str().unwrap();
        let kind = DAMAGES.iter().find(|(words, _)| reason.contains(words));
        *counts.entry(kind.unwrap_or_else(|| panic!("{reason}")).0).or_default() += 1;
    }
    counts
}

#[test]
fn every_damaged_record_is_accounted_for() {
    let lab = lab();
    write(&lab);
    let input = "--input photos/pairs.csv --json";
    let images = lab.run(&format!("encode images --model vision {input} --out images")).json();
    let texts = lab.run(&format!("encode texts --model text {input} --out texts")).json();
    let counts = |words: &[&'static str]| words.iter().map(|&words| (words, 10)).collect::<BTreeMap<_, _>>();
    let (of_images, of_texts) = DAMAGES.split_at(8);
    let words =
        |damages: &[(&'static str, Damage)]| damages.iter().map(|(words, _)| *words).collect::<Vec<_>>();
    assert_eq!(skipped(&lab, "images"), counts(&words(of_images)));
    assert_eq!(skipped(&lab, "texts"), counts(&words(of_texts)));
    assert_eq!((&images["rows"], &images["skipped"]), (&1920.into(), &80.into()));
    assert_eq!((&texts["rows"], &texts["skipped"]), (&1980.into(), &20.into()));

    // Twenty images have lost their captions. Seventy captions have lost their images; those of the repeated image are
    // further captions of the first.
    let train = "train --images images --texts texts --projector linear --dim 16 --batch 256 --epochs 2 --holdout 200";
    lab.run(&format!("{train} --out run")).succeeded();
    let config: Value = serde_json::from_slice(&lab.read("run/config.json")).unwrap();
    let pairing = &config["pairing"];
    assert_eq!(pairing["images"], json!({"matched": 1900, "rows": 1920}));
    assert_eq!(pairing["captions"], json!([{"matched": 1910, "rows": 1980}]));
    let eval = "eval retrieval --head run/head.safetensors --images images --texts texts --holdout --json";
    let scores = lab.run(eval).json();
    assert_eq!(scores["n_images"], 200, "{scores}");
}
