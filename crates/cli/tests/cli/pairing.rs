//! Images and captions of which some have no partner.

use sail_vl::core::Modality;
use serde_json::{Value, json};

use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN, changed, key, row};

/// Images that lack every tenth, texts that lack every seventh with two captions each, and the same with common rows only.
fn lossy(rows: usize) -> Lab {
    let lab = Lab::empty();
    let [has_image, has_text] = [|item: &usize| !item.is_multiple_of(10), |item: &usize| item % 7 != 3];
    let image = |item: usize| (key(item), row(item, 0, IMAGE_DIM));
    let texts = |item: usize| [1, 2].map(|view| (key(item), row(item, view, TEXT_DIM)));
    let items = || 0..rows;
    lab.store("images", Modality::Image, "vision", items().filter(has_image).map(image));
    lab.store("texts", Modality::Text, "language", items().filter(has_text).rev().flat_map(texts));
    let both = |item: &usize| has_image(item) && has_text(item);
    lab.store("common-images", Modality::Image, "vision", items().filter(both).map(image));
    lab.store("common-texts", Modality::Text, "language", items().filter(both).rev().flat_map(texts));
    lab
}

/// The counts of `lossy(200)`: 180 images and 171 x 2 texts, of 154 items in both.
fn counts() -> Value {
    json!({
        "images": {"matched": 154, "rows": 180},
        "captions": [{"matched": 308, "rows": 342}],
    })
}

const COUNTS: &str = "154 of 180 images and 308 of 342 captions pair";

fn common(command: &str) -> String {
    command
        .replace("--images images", "--images common-images")
        .replace("--texts texts", "--texts common-texts")
}

#[test]
fn training_uses_the_common_rows_and_says_so() {
    let lab = lossy(200);
    let train = format!("{TRAIN} --holdout 30 --epochs 3");
    let ran = lab.run(&format!("{train} --out lossy --json --report lossy.html"));
    assert!(ran.err.contains(COUNTS), "{}", ran.err);
    assert_eq!(ran.json()["pairing"], counts());
    let config: Value = serde_json::from_slice(&lab.read("lossy/config.json")).unwrap();
    assert_eq!((&config["rows"], &config["pairing"]), (&154.into(), &counts()));
    assert!(String::from_utf8(lab.read("lossy.html")).unwrap().contains(COUNTS));

    let clean = lab.run(&format!("{} --out clean", common(&train))).succeeded();
    assert!(!clean.err.contains("captions pair"), "{}", clean.err);
    assert!(
        lab.read("lossy/head.safetensors") == lab.read("clean/head.safetensors"),
        "other pairs, other head"
    );
    let config: Value = serde_json::from_slice(&lab.read("clean/config.json")).unwrap();
    assert_eq!(config.get("pairing"), None);

    let eval = "eval retrieval --head lossy/head.safetensors --images images --texts texts --holdout --json";
    let [mut found, mut expected] = [eval.to_owned(), common(eval)].map(|command| lab.run(&command).json());
    assert_eq!(found["pairing"].take(), counts());
    expected["pairing"].take();
    assert_eq!((&found, &found["n_images"]), (&expected, &30.into()));

    lab.run(&format!("{train} --out lossy --resume")).succeeded();
    let other = (1..200).filter(|item| item % 10 != 1).map(|item| (key(item), row(item, 0, IMAGE_DIM)));
    std::fs::remove_dir_all(lab.path("images")).unwrap();
    lab.store("images", Modality::Image, "vision", other);
    let changed = lab.run(&format!("{train} --out lossy --resume"));
    assert_eq!(changed.code, Some(2), "other pairs are another run: {}", changed.err);
}

#[test]
fn a_probe_uses_the_rows_that_every_set_has() {
    let lab = lossy(200);
    let blind = (0..200).filter(|item| item % 9 != 0).map(|item| (key(item), row(item, 0, 16)));
    lab.store("blind", Modality::Image, "blind", blind);
    let common_blind = (0..200).filter(|item| item % 9 != 0 && item % 10 != 0 && item % 7 != 3);
    lab.store(
        "common-blind",
        Modality::Image,
        "blind",
        common_blind.map(|item| (key(item), row(item, 0, 16))),
    );
    let probe = "probe --images images --texts texts --images blind --holdout 30 --dim 16 --epochs 2 --permutations 0 \
                 --resamples 10 --json";
    let ran = lab.run(&format!("{probe} --out probed"));
    assert!(ran.err.contains("of 180 rows of images"), "{}", ran.err);
    let found = ran.json();
    let config: Value = serde_json::from_slice(&lab.read("probed/config.json")).unwrap();
    assert_eq!(config["matched"][0]["rows"], 180);
    assert_eq!(config["matched"][0]["matched"], config["rows"]);
    // The same rows alone lead to the same scores.
    let clean = common(probe).replace("--images blind", "--images common-blind");
    let clean =
        clean.replace("common-images", "images=common-images").replace("common-blind", "blind=common-blind");
    let expected = lab.run(&clean.replace("common-texts", "texts=common-texts")).json();
    assert_eq!(found["pairs"], expected["pairs"]);
    let error = lab.run(&format!("{probe} --unmatched error"));
    error.failed(1, &["`blind` does not match `images`", "captions pair"]);
}

#[test]
fn what_does_not_match_can_be_refused() {
    let lab = lossy(200);
    let train = format!("{TRAIN} --out run");
    let words = [
        "differ, 154 of 180 images and 308 of 342 captions pair",
        "image-0003",
        "image-0190",
        "--unmatched drop",
    ];
    lab.refuses(&format!("{train} --unmatched error"), 1, &words);
    let eval = "eval retrieval --head run/head.safetensors --images images --texts texts --unmatched error";
    lab.refuses(eval, 1, &words);
    let probe = "probe --images images --texts texts --holdout 30 --unmatched error";
    lab.refuses(probe, 1, &words);
}

#[test]
fn keys_that_are_spelled_differently_are_recognized() {
    let lab = Lab::new(100);
    let texts = (0..100).map(|item| (format!("val/{}.jpg", key(item)), row(item, 1, TEXT_DIM)));
    lab.store("spelled", Modality::Text, "language", texts);
    let train = changed(TRAIN, "--texts spelled --out run");
    let words = [
        "0 of 100 images and 0 of 100 captions pair",
        "without the folders that all keys begin with and file extensions, 100 of 100 images and 100 of 100 captions would pair",
    ];
    lab.refuses(&train, 1, &words);
    lab.refuses(&format!("{train} --unmatched drop"), 1, &words);

    // Most of the texts have no image: an error, unless it is meant.
    let many = (0..300).map(|item| (key(item), row(item, 1, TEXT_DIM)));
    lab.store("many", Modality::Text, "language", many);
    let train = changed(TRAIN, "--texts many --epochs 1 --out run");
    lab.refuses(&train, 1, &["100 of 100 images and 100 of 300 captions pair", "--unmatched drop"]);
    let dropped = lab.run(&format!("{train} --unmatched drop")).succeeded();
    assert!(dropped.err.contains("100 of 300 captions pair"), "{}", dropped.err);
    let again = lab.run("train --config run/config.json --out again").succeeded();
    assert!(again.err.contains("100 of 300 captions pair"), "{}", again.err);
    assert!(lab.read("run/head.safetensors") == lab.read("again/head.safetensors"));
}

#[test]
fn a_batch_larger_than_the_training_set_is_all_of_it() {
    let lab = Lab::new(100);
    let train = changed(TRAIN, "--batch 32768 --epochs 2 --holdout 20");
    let ran = lab.run(&format!("{train} --out large --json"));
    let said = "the batch size 32768 is larger than the 80 samples of an epoch: every batch has all of them";
    assert!(ran.err.contains(said), "{}", ran.err);
    assert_eq!(ran.json()["steps"], 2);
    lab.run(&format!("{} --out exact", changed(&train, "--batch 80"))).succeeded();
    assert!(lab.read("large/head.safetensors") == lab.read("exact/head.safetensors"));
    lab.run(&format!("{train} --out large --resume")).succeeded();
    let plan = lab.run(&format!("{train} --out planned --dry-run --json")).json();
    assert_eq!(plan["batch"], 80);
}
