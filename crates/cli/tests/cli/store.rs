//! `sail store`: merge, verify and show.

use std::path::Path;
use std::sync::Arc;

use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{
    EncodeError, InputError, Modality, Padding, PaddingSide, Provenance, TextEncoder, TextFeatures,
    TextPooling, TextTower, TokenBatch, TokenIds, Tokenizer,
};
use sail_vl::data::DataError;
use sail_vl::data::source::{Record, RecordSource, Records};
use sail_vl::extract::{Event, ExtractOptions, Part, extract_texts};

use crate::lab::{Lab, key, row};

/// A text model with one feature, the length of the text.
struct Ruler;

impl TextEncoder for Ruler {
    fn encode_texts(&self, batch: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let lengths = batch.mask.clone().float().sum_dim(1);
        let [rows, length] = batch.mask.dims();
        let tokens = Tensor::zeros([rows, length, 1], &lengths.device());
        Ok(TextFeatures { tokens, mask: batch.mask, pooled: Some(lengths) })
    }
}

impl Tokenizer for Ruler {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        Ok(TokenIds(text.bytes().map(u32::from).collect()))
    }

    fn padding(&self) -> Padding {
        Padding { id: 0, side: PaddingSide::Right }
    }

    fn describe(&self) -> String {
        "bytes".to_owned()
    }
}

/// Captions of one to fifty letters; every tenth is empty.
struct Captions(u64);

impl RecordSource<String> for Captions {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.0)
    }

    fn records(&self, range: std::ops::Range<u64>) -> Result<Records<String>, DataError> {
        let length = |position: u64| if position % 10 == 9 { 0 } else { position as usize % 50 + 1 };
        let record = move |position: u64| Record {
            key: key(position as usize),
            value: Ok("x".repeat(length(position))),
        };
        Ok(Box::new(range.map(move |position| Ok(record(position)))))
    }
}

fn encode(lab: &Lab, name: &str, part: Part) {
    let ruler = Arc::new(Ruler);
    let tower = TextTower {
        encoder: ruler.clone(),
        tokenizer: ruler,
        pooling: TextPooling::Pooled,
        model: Provenance::new("ruler"),
        device: Device::flex(),
    };
    let options = ExtractOptions { block: 8, rows_per_shard: 30, part, ..ExtractOptions::texts() };
    extract_texts(&tower, &Captions(100), &lab.path(name), &options, &mut |_: Event<'_>| ()).unwrap();
}

fn parts(of: u64) -> Lab {
    let lab = Lab::empty();
    for index in 1..=of {
        encode(&lab, &format!("part{index}"), Part { index, of });
    }
    encode(&lab, "whole", Part::WHOLE);
    lab
}

fn assert_whole(lab: &Lab, store: &str) {
    assert_eq!(lab.files(store), lab.files("whole"));
    for file in lab.files("whole") {
        let read = |store: &str| lab.read(&format!("{store}/{file}"));
        assert!(read(store) == read("whole"), "{file} differs");
    }
}

#[test]
fn merged_parts_equal_the_store_of_one_run() {
    let lab = parts(3);
    let merged = lab.run("store merge part3 part1 part2 --out merged --json").json();
    assert_eq!(merged, serde_json::json!({"rows": 90, "dim": 1, "store": "merged"}));
    assert_whole(&lab, "merged");
    let text = lab.run("store merge part1 part2 part3 --out new/again/").succeeded().out;
    assert_eq!(text, "90 rows of 3 parts\nstore: new/again\n");
    assert_whole(&lab, "new/again");

    lab.refuses("store merge part1 part2 part3 --out merged", 2, &["merged exists"]);
    lab.refuses("store merge part1 part2 --out other", 2, &["the number of parts is 2, expected 3"]);
    lab.refuses("store merge part1 part3 part3 --out other", 2, &["part3", "the part is 3/3, expected 2/3"]);
    lab.refuses("store merge part1 part2 nowhere --out other", 1, &["cannot use nowhere"]);
    let bare = (0..5).map(|item| (key(item), row(item, 1, 1)));
    lab.store("bare", Modality::Text, "ruler", bare);
    lab.refuses("store merge part1 part2 bare --out other", 1, &["cannot merge", "bare/encode.json"]);
    assert_eq!(lab.run("store merge --out other").code, Some(2));
}

#[test]
fn verify_finds_damage() {
    let lab = parts(1);
    let sound = lab.run("store verify whole --json").json();
    assert_eq!((&sound["sound"], &sound["rows"], &sound["shards"]), (&true.into(), &90.into(), &3.into()));
    assert!(lab.run("store verify whole").succeeded().out.starts_with("whole is valid: 90 rows in 3 files"));
    lab.refuses("store verify nowhere", 1, &["cannot use nowhere"]);

    let shard = lab.path("whole/shard-00001.safetensors");
    let whole = std::fs::read(&shard).unwrap();
    let mut flipped = whole.clone();
    let index = flipped.len() - 40;
    flipped[index] ^= 1;
    std::fs::write(&shard, flipped).unwrap();
    lab.refuses("store verify whole", 1, &["shard-00001.safetensors is corrupt", "SHA-256"]);
    std::fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    lab.refuses("store verify whole --json", 1, &["shard-00001.safetensors", "the length"]);
    std::fs::remove_file(&shard).unwrap();
    lab.refuses("store verify whole", 1, &["shard-00001.safetensors"]);
    std::fs::write(&shard, whole).unwrap();
    let manifest = String::from_utf8(lab.read("whole/manifest.json")).unwrap();
    std::fs::write(lab.path("whole/manifest.json"), manifest.replacen("\"rows\": 90", "\"rows\": 91", 1))
        .unwrap();
    lab.refuses("store verify whole", 1, &["`rows` is 91, expected 90"]);
    std::fs::rename(lab.path("whole/manifest.json"), lab.path("whole/partial.json")).unwrap();
    lab.refuses("store verify whole", 1, &["is unfinished"]);
}

#[test]
fn verify_finds_rows_that_are_not_finite() {
    // A shard with a NaN and a matching checksum, as another program could write it.
    let lab = Lab::empty();
    lab.store("store", Modality::Image, "eye", (0..3).map(|item| (key(item), vec![1.0, 2.0])));
    let path = lab.path("store/shard-00000.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let index = bytes.windows(4).position(|window| window == [0x00, 0x3c, 0x00, 0x40]).unwrap();
    bytes[index + 4..index + 6].copy_from_slice(&[0x00, 0x7e]);
    std::fs::write(&path, bytes).unwrap();
    let error = lab.run("store verify store").err;
    let found = error.split("SHA-256 is ").nth(1).unwrap()[..64].to_owned();
    let expected = error.split("expected ").nth(1).unwrap()[..64].to_owned();
    let manifest = String::from_utf8(lab.read("store/manifest.json")).unwrap();
    std::fs::write(lab.path("store/manifest.json"), manifest.replace(&expected, &found)).unwrap();
    lab.refuses("store verify store", 1, &["cannot use store", "row 1 (key `image-0001`)", "NaN"]);
}

#[test]
fn show_describes_a_store() {
    let lab = parts(1);
    let shown = lab.run("store show whole --json").json();
    for (field, value) in [("modality", "text"), ("dtype", "f16")] {
        assert_eq!(shown[field], value);
    }
    for (field, value) in [("rows", 90), ("dim", 1), ("shards", 3)] {
        assert_eq!(shown[field], value);
    }
    assert_eq!(shown["provenance"]["model"], "ruler");
    assert_eq!(shown["keys"][4], "image-0004");
    let text = lab.run("store show whole").succeeded().out;
    for words in [
        "modality    text",
        "90 of dimension 1 in f16",
        "model       ruler",
        "input       bytes",
        "image-0000, ",
    ] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    lab.refuses("store show nowhere", 1, &["cannot use nowhere"]);
    assert!(Path::new(&lab.path("whole/skipped.jsonl")).exists());
}
