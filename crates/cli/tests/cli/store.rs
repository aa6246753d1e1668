//! `sail store`.

use std::path::Path;
use std::sync::Arc;

use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{
    EncodeError, FeatureSource, InputError, Modality, Padding, PaddingSide, Provenance, TextEncoder,
    TextFeatures, TextPooling, TextTower, TokenBatch, TokenIds, Tokenizer,
};
use sail_vl::data::source::{Record, RecordSource, Records};
use sail_vl::data::{DataError, EmbeddingStore};
use sail_vl::extract::{Event, ExtractOptions, Part, extract_texts};

use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN, changed, key, row};

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
        "image-0000: ",
        "... and 85 more rows",
    ] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    lab.refuses("store show nowhere", 1, &["cannot use nowhere"]);
    assert!(Path::new(&lab.path("whole/skipped.jsonl")).exists());
}

/// The keys of a store, and the first value of each row.
fn rows(lab: &Lab, store: &str) -> Vec<(String, f32)> {
    let store = EmbeddingStore::open(lab.path(store)).unwrap();
    let rows: Vec<usize> = (0..store.rows()).collect();
    let mut values = vec![0.0; rows.len() * store.dim()];
    store.gather(&rows, &mut values).unwrap();
    let first = values.chunks(store.dim()).map(|row| row[0]);
    store.keys(&rows).unwrap().into_iter().zip(first).collect()
}

fn keys(lab: &Lab, store: &str) -> Vec<String> {
    rows(lab, store).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn filter_keeps_rows_by_their_keys() {
    let lab = Lab::new(200);
    std::fs::write(lab.path("list.txt"), "\u{feff}image-0007\r\nimage-0003\r\n\r\nimage-0007\r\nabsent\r\n")
        .unwrap();
    let ran = lab.run("store filter images --keys list.txt --out listed --json");
    assert!(ran.err.contains("1 of the 3 keys to select are not in images"), "{}", ran.err);
    let result = ran.json();
    assert_eq!(result, serde_json::json!({"rows": 2, "of": 200, "unusable": 0, "store": "listed"}));
    let all = rows(&lab, "images");
    // In the order of the store.
    assert_eq!(rows(&lab, "listed"), [all[3].clone(), all[7].clone()]);
    let shown = lab.run("store show listed --json").json();
    assert_eq!((&shown["provenance"]["model"], &shown["dtype"]), (&"vision".into(), &"f16".into()));

    let text = lab.run("store filter images --keys list.txt --invert --out others").succeeded().out;
    assert_eq!(text, "198 of 200 rows\nstore: others\n");
    lab.run("store filter images --pattern image-000? --pattern *-0150 --out matched").succeeded();
    let expected: Vec<String> = (0..10).chain([150]).map(key).collect();
    assert_eq!(keys(&lab, "matched"), expected);
    // All captions of the images.
    lab.run("store filter texts --keys listed --out captions").succeeded();
    let expected: Vec<String> = [7, 7, 3].map(key).into();
    assert_eq!(keys(&lab, "captions").into_iter().filter(|found| expected.contains(found)).count(), 2 + 1);
    std::fs::write(lab.path("skipped.jsonl"), "{\"key\":\"image-0000\",\"reason\":\"gone\"}\n").unwrap();
    lab.run("store filter images --keys skipped.jsonl --invert --out rest").succeeded();
    assert_eq!(keys(&lab, "rest")[0], key(1));

    lab.refuses(
        "store filter images --pattern x* --out none",
        2,
        &["none of the 200 rows", "store show images"],
    );
    lab.refuses("store filter images --pattern image* --out rest", 1, &["rest exists"]);
    lab.refuses("store filter images --out none", 2, &["--keys", "--pattern"]);
    lab.refuses(
        "store filter images --keys nowhere.txt --out none",
        2,
        &["cannot read the keys in nowhere.txt"],
    );
    lab.refuses("store filter nowhere --pattern x --out none", 1, &["cannot use nowhere"]);
}

#[test]
fn filter_and_subset_work_on_files() {
    let lab = Lab::empty();
    let mut values: Vec<Vec<f32>> = (0..50).map(|item| row(item, 0, 8)).collect();
    values[13][2] = f32::NAN;
    values[17][0] = f32::INFINITY;
    values[20].fill(0.0);
    lab.matrices("data.safetensors", &[("x", values.clone()), ("y", values[..10].to_vec())]);
    let stats = lab.run("store stats data.safetensors:x --json").json();
    assert_eq!((&stats["rows"], &stats["dim"], &stats["dtype"]), (&50.into(), &8.into(), &"f32".into()));
    assert_eq!((&stats["not_finite"]["count"], &stats["zeros"]["count"]), (&2.into(), &1.into()));
    assert_eq!(stats["not_finite"]["first"], serde_json::json!(["13", "17"]));
    let norm = |row: &Vec<f32>| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let finite: Vec<f64> = values.iter().map(norm).filter(|norm| norm.is_finite()).collect();
    let mean = finite.iter().sum::<f64>() / finite.len() as f64;
    assert!((stats["norms"]["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert_eq!((&stats["norms"]["min"], &stats["distinct_keys"]), (&0.0.into(), &serde_json::Value::Null));
    let text = lab.run("store stats data.safetensors:x").succeeded().out;
    assert!(
        text.contains("not finite  2 rows (`13`, `17`)") && text.contains("rows pair by position"),
        "{text}"
    );

    let filter = "store filter data.safetensors:x --usable --out usable";
    lab.refuses(filter, 2, &["--modality image"]);
    let result = lab.run(&format!("{filter} --modality image --json")).json();
    assert_eq!((&result["rows"], &result["unusable"]), (&47.into(), &3.into()));
    let found = rows(&lab, "usable");
    assert_eq!((found[13].0.as_str(), found[13].1), ("14", values[14][0]));
    let shown = lab.run("store show usable --json").json();
    assert_eq!((&shown["provenance"]["model"], &shown["modality"]), (&"data:x".into(), &"image".into()));
    lab.run("store verify usable").succeeded();
    let part = "store subset data.safetensors:y --range 2..5 --modality text --model bert --out part";
    lab.run(part).succeeded();
    assert_eq!(keys(&lab, "part"), ["2", "3", "4"]);
    let text = lab.run("store show data.safetensors:y --rows 1").succeeded().out;
    assert!(
        text.contains("modality    unknown") && text.contains("\n0: ") && text.contains("9 more rows"),
        "{text}"
    );
    for (range, words) in [("5..2", "FROM less than TO"), ("x..2", "FROM..TO"), ("7", "FROM..TO")] {
        lab.refuses(&format!("store subset data.safetensors:y --range {range} --out none"), 2, &[words]);
    }
}

#[test]
fn subsets_of_images_and_captions_pair() {
    let lab = Lab::new(200);
    for side in ["images", "texts"] {
        lab.run(&format!("store subset {side} --count 40 --seed 3 --out some-{side}")).succeeded();
        lab.run(&format!("store subset {side} --fraction 0.5 --out half-{side}")).succeeded();
    }
    assert_eq!(keys(&lab, "some-images").len(), 40);
    for part in ["some", "half"] {
        let sides = format!("--images {part}-images --texts {part}-texts --unmatched error");
        lab.run(&format!("{} --epochs 1 --out {part}", changed(TRAIN, &sides))).succeeded();
    }
    let stats = lab.run("store stats some-texts --json").json();
    assert_eq!(stats["distinct_keys"], 40);
    let repeated = stats["repeated_keys"]["count"].as_u64().unwrap();
    assert_eq!(stats["rows"], 40 + repeated);
    assert!(repeated > 0);
    lab.run("store subset images --range 190.. --out last").succeeded();
    assert_eq!(keys(&lab, "last"), (190..200).map(key).collect::<Vec<_>>());
    lab.refuses("store subset images --range 500.. --out none", 2, &["none of the 200 rows"]);
    lab.refuses("store subset images --fraction 1.5 --out none", 2, &["a number from 0 to 1"]);
    lab.refuses("store subset images --out none", 2, &["--count", "--fraction"]);
}

#[test]
fn export_writes_files_of_other_programs() {
    let lab = Lab::new(50);
    let npy = lab.run("store export images --out images.npy --json").json();
    assert_eq!([&npy["rows"], &npy["dim"]], [50, IMAGE_DIM]);
    assert_eq!(lab.read("images.npy").len(), 128 + 4 * 50 * IMAGE_DIM);
    let keys = String::from_utf8(lab.read("images.keys.txt")).unwrap();
    assert_eq!(keys.lines().count(), 50);
    // The keys are a list that `filter` takes.
    lab.run("store filter images --keys images.keys.txt --out same").succeeded();
    lab.run("store export images --out images.bin --format fvecs").succeeded();
    assert_eq!(lab.read("images.bin").len(), 4 * 50 * (1 + IMAGE_DIM));
    let text = lab.run("store export texts --out texts.parquet").succeeded().out;
    assert!(text.starts_with(&format!("99 rows of dimension {}", TEXT_DIM)), "{text}");
    assert!(lab.read("texts.parquet").starts_with(b"PAR1") && lab.read("texts.parquet").ends_with(b"PAR1"));
    lab.refuses("store export images --out images.npy", 2, &["images.npy exists"]);
    lab.refuses("store export images --out images.csv", 2, &["`.parquet`, `.npy`, `.fvecs`", "--format"]);
}
