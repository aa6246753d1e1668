//! Several stores that are read as one.

use sail_vl::core::Modality;
use serde_json::Value;

use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN, changed, key, row};

/// The images of a lab in two stores, and the texts in two stores with another boundary.
fn parts(rows: usize) -> Lab {
    let lab = Lab::new(rows);
    let images = |items: std::ops::Range<usize>| items.map(|item| (key(item), row(item, 0, IMAGE_DIM)));
    lab.store("images-1", Modality::Image, "vision", images(0..rows / 4));
    lab.store("images-2", Modality::Image, "vision", images(rows / 4..rows));
    let texts =
        |items: std::ops::Range<usize>, view| items.map(move |item| (key(item), row(item, view, TEXT_DIM)));
    lab.store("texts-1", Modality::Text, "language", texts(0..rows / 2, 1));
    lab.store("texts-2", Modality::Text, "language", texts(rows / 2..rows, 1));
    lab.store("texts-all", Modality::Text, "language", texts(0..rows, 1));
    lab.store("more-1", Modality::Text, "language", texts(0..rows / 3, 9));
    lab.store("more-2", Modality::Text, "language", texts(rows / 3..rows, 9));
    lab
}

const SEVERAL: &str = "--images images-1,images-2 --texts texts-1,texts-2 --extra-texts more-1,more-2";
const ONE: &str = "--images images --texts texts-all --extra-texts more";

#[test]
fn several_stores_train_the_same_head_as_one_and_resume() {
    let lab = parts(400);
    let train =
        |stores: &str, out: &str| format!("{} --holdout 50 --epochs 3 --out {out}", changed(TRAIN, stores));
    lab.run(&train(ONE, "one")).succeeded();
    lab.run(&train(SEVERAL, "several")).succeeded();
    assert!(
        lab.read("one/head.safetensors") == lab.read("several/head.safetensors"),
        "the same rows, another head"
    );
    let config: Value = serde_json::from_slice(&lab.read("several/config.json")).unwrap();
    assert_eq!(
        (&config["images"], &config["texts"]),
        (&"images-1,images-2".into(), &"texts-1,texts-2".into())
    );
    assert_eq!(config["extra_texts"], Value::from(vec!["more-1,more-2"]));

    lab.run(&format!("{} --resume", train(SEVERAL, "several"))).succeeded();
    let other = train(&SEVERAL.replace("images-1,images-2", "images-2,images-1"), "several");
    lab.refuses(&format!("{other} --resume"), 2, &["images-1,images-2"]);

    let eval = |stores: &str| format!("eval retrieval --head one/head.safetensors --json {stores}");
    let [one, several] =
        ["--images images --texts texts-all", "--images images-2,images-1 --texts texts-2,texts-1"]
            .map(|stores| lab.run(&eval(stores)).json());
    assert_eq!(several["n_images"], 400);
    assert_eq!(one, several);
}

#[test]
fn rejects_stores_that_do_not_match() {
    let lab = parts(200);
    let with = |images: &str| format!("train --images {images} --texts texts --batch 64 --out run");
    lab.refuses(&with("images-1,nowhere"), 1, &["cannot use images-1,nowhere", "`nowhere` does not exist"]);
    lab.refuses(&with("images-1,texts"), 1, &["texts has the modality text, expected image as in images-1"]);
    lab.refuses(&with("texts-1,texts-2"), 2, &["texts-1,texts-2 holds text features"]);
    lab.refuses(&with("images,images-1"), 1, &["50 image rows have duplicate keys", "image-0000"]);
    lab.refuses(&with("images-1"), 1, &["have no image"]);
    lab.store("other", Modality::Image, "other-vision", [("x".to_owned(), row(1, 0, IMAGE_DIM))]);
    lab.refuses(
        &with("images,other"),
        1,
        &["other has the model other-vision, expected vision as in images"],
    );
    lab.store("wide", Modality::Image, "vision", [("x".to_owned(), row(1, 0, TEXT_DIM))]);
    lab.refuses(&with("images,wide"), 1, &["wide has the dimension 48, expected 64 as in images"]);
    lab.matrices("bare.safetensors", &[("x", vec![row(0, 0, IMAGE_DIM)])]);
    lab.refuses(&with("images,bare.safetensors"), 1, &["by position", "by key as in images"]);

    let shard = lab.path("images-2/shard-00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    lab.refuses(&with("images-1,images-2"), 1, &["images-2/shard-00000.safetensors is corrupt"]);
}

#[test]
fn files_are_concatenated_by_position() {
    let lab = Lab::empty();
    let rows =
        |items: std::ops::Range<usize>, view, dim| items.map(|item| row(item, view, dim)).collect::<Vec<_>>();
    lab.matrices("a.safetensors", &[("i", rows(0..60, 0, IMAGE_DIM)), ("t", rows(0..60, 1, TEXT_DIM))]);
    lab.matrices("b.safetensors", &[("i", rows(60..200, 0, IMAGE_DIM)), ("t", rows(60..200, 1, TEXT_DIM))]);
    let all = [("i", rows(0..200, 0, IMAGE_DIM)), ("t", rows(0..200, 1, TEXT_DIM))];
    lab.matrices("all.safetensors", &all);
    let train = |stores: &str, out: &str| format!("{} --epochs 2 --out {out}", changed(TRAIN, stores));
    let several = "--images a.safetensors:i,b.safetensors:i --texts a.safetensors:t,b.safetensors:t";
    lab.run(&train("--images all.safetensors:i --texts all.safetensors:t", "one")).succeeded();
    lab.run(&train(several, "several")).succeeded();
    assert!(lab.read("one/head.safetensors") == lab.read("several/head.safetensors"));
}
