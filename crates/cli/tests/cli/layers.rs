//! Layers of encoders, from encoding to a model.

use std::fs::File;

use sail_vl::SailModel;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{Layer, RgbImage, l2_normalize};
use sail_vl::data::EmbeddingStore;
use sail_vl::eval::project_images;
use sail_vl::layers::Head;
use serde_json::{Value, json};

use crate::benchmark;
use crate::lab::{Lab, Ran};

const ENCODE_TEXTS: &str =
    "encode texts --model text --input captions.jsonl --device cpu --layers last,-2 --out texts";

/// Writes images of two pixels that depend on the row, and their captions.
pub(crate) fn photos(lab: &Lab, rows: u8) {
    std::fs::create_dir(lab.path("photos")).unwrap();
    let mut captions = String::new();
    for row in 0..rows {
        let file = File::create(lab.path(&format!("photos/{row}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 2, 1);
        encoder.set_color(png::ColorType::Rgb);
        let pixels = [20 * row, 0, 200, 9, 15 * row, 1];
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        captions += &json!({"key": format!("{row}.png"), "caption": format!("{row} cats")}).to_string();
        captions.push('\n');
    }
    std::fs::write(lab.path("captions.jsonl"), captions).unwrap();
}

#[test]
fn a_head_on_inner_layers_is_opened_at_them() {
    let lab = benchmark::lab();
    photos(&lab, 6);
    let images = "encode images --model vision --input photos --device cpu --layers=-2,-1 --out images";
    let encoded = lab.run(&format!("{images} --json")).json();
    let stores = encoded["stores"].as_array().unwrap();
    assert_eq!(
        (&stores[0]["store"], &stores[1]["store"]),
        (&json!("images/minus-2"), &json!("images/minus-1"))
    );
    assert_eq!(stores[0]["rows"], 6);
    lab.run(ENCODE_TEXTS).succeeded();
    let text = lab.run(&format!("{ENCODE_TEXTS} --resume")).succeeded().out;
    assert!(text.contains("texts/minus-2") && text.contains("the store was complete"), "{text}");
    assert!(lab.run("store show texts/minus-2").succeeded().out.contains("-2"));

    let train = "train --device cpu --projector linear --dim 8 --batch 3 --epochs 1 --holdout 0 --out run";
    lab.run(&format!("{train} --images images/minus-2 --texts texts/minus-2")).succeeded();
    let other = "eval retrieval --head run/head.safetensors --device cpu --images images/minus-1";
    lab.run(&format!("{other} --texts texts/minus-2"))
        .failed(1, &["`layer` is -1, expected -2", "same layer"]);

    let head = Head::load(lab.path("run/head.safetensors"), &Device::flex()).unwrap();
    let [vision, text] = ["vision", "text"].map(|name| lab.path(name).to_str().unwrap().to_owned());
    let model = SailModel::with_head(head, Some(&vision), Some(&text), &Device::flex()).unwrap();
    assert_eq!(model.vision().provenance().layer, Some(Layer::FromEnd(2)));
    assert_eq!(model.text().provenance().layer, Some(Layer::FromEnd(2)));
}

#[test]
fn token_states_of_layers_are_stores_for_heads_that_read_them() {
    let lab = benchmark::lab();
    photos(&lab, 6);
    let encode = "encode images --model vision --input photos --device cpu --dtype int8 --pooling tokens";
    let layers = format!("{encode} --layers=last,-2 --out images");
    let plan = lab.run(&format!("{layers} --dry-run --json")).json();
    // Patches of 5 pixels and a class token, of width 24, in two stores.
    assert_eq!((&plan["dim"], &plan["bytes"]), (&json!(17 * 24), &json!(2 * 6 * 17 * (24 + 4))));
    let text = lab.run(&format!("{layers} --dry-run")).succeeded().out;
    for words in ["a class token and 4x4 patches of 24 values", "408 values in int8"] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    lab.run(&layers).succeeded();
    let shown = lab.run("store show images/minus-2 --json").json();
    let grid = &shown["provenance"]["tokens"]["image"]["grid"];
    assert_eq!((&shown["dim"], &shown["dtype"], grid), (&json!(408), &json!("int8"), &json!([4, 4])));
    let rows = |encoded: Ran| encoded.json()["rows"].clone();
    assert_eq!(rows(lab.run(&format!("{encode} --out again --json"))), 6);
    let file = "shard-00000.safetensors";
    assert!(lab.read(&format!("again/{file}")) == lab.read(&format!("images/last/{file}")));

    lab.run("encode images --model vision --input photos --device cpu --out pooled").succeeded();
    lab.run("encode texts --model text --input captions.jsonl --device cpu --out texts").succeeded();
    let train = "train --device cpu --texts texts --dim 8 --batch 3 --epochs 1 --holdout 0";
    lab.run(&format!("{train} --projector token --images images/last --out run")).succeeded();
    lab.run(&format!("{train} --projector linear --images pooled --out plain")).succeeded();
    lab.run(&format!("{train} --projector token --gram 0.5 --images images/last --out gram")).succeeded();
    let step: Value =
        serde_json::from_slice(lab.read("gram/metrics.jsonl").split(|b| *b == b'\n').next().unwrap())
            .unwrap();
    assert!(step["auxiliary"]["gram"].as_f64().is_some_and(|value| value > 0.0), "{step}");
    for (options, code, named) in [
        ("--projector token --images pooled", 1, ["are pooled", "`token`"]),
        ("--projector linear --gram 0.5 --images pooled", 2, ["`gram`", "token states"]),
        ("--projector token-transformer --images again", 2, ["`head_width` is 64", "a divisor of 24"]),
    ] {
        lab.run(&format!("{train} {options} --out refused")).failed(code, &named);
    }
    let eval = "eval retrieval --device cpu --texts texts --head";
    lab.run(&format!("{eval} run/head.safetensors --images images/last")).succeeded();
    lab.run(&format!("{eval} run/head.safetensors --images pooled")).failed(1, &["pooled", "`token`"]);
    lab.run(&format!("{eval} plain/head.safetensors --images again"))
        .failed(1, &["a class token and 4x4 patches", "`linear`"]);
    lab.run(&format!("{eval} run/head.safetensors --images images/minus-2"))
        .failed(1, &["`layer` is -2, expected last"]);

    lab.run(&format!("{train} --images images/last --out wrong")).failed(1, &["4x4 patches", "`glu`"]);
    let fit = "fit procrustes --images images/last --texts texts --holdout 0 --out fitted.safetensors";
    lab.run(fit).failed(1, &["4x4 patches of 24 values", "encode with a pooling"]);
    let probe = "probe --images tokens=images/last --texts text=texts --device cpu --out probed";
    lab.run(probe).failed(1, &["has token states, a class token and 4x4 patches"]);

    // A model gives the head the tokens that it was trained on.
    let head = Head::load(lab.path("run/head.safetensors"), &Device::flex()).unwrap();
    let [vision, text] = ["vision", "text"].map(|name| lab.path(name).to_str().unwrap().to_owned());
    let model = SailModel::with_head(head, Some(&vision), Some(&text), &Device::flex()).unwrap();
    let image = sail_vl::data::decode_image(&lab.read("photos/3.png"), &Default::default()).unwrap();
    let embedding = model.encode_images(std::slice::from_ref(&image)).unwrap();
    let store = EmbeddingStore::open(lab.path("images/last")).unwrap();
    let head = Head::load(lab.path("run/head.safetensors"), &Device::flex()).unwrap();
    let stored = project_images(&head, &store, &[3], 1).unwrap();
    let cosine = (embedding * l2_normalize(stored)).sum().into_scalar::<f32>();
    assert!(cosine > 0.999, "{cosine}");
    // Dense features are those of the patches, at any size.
    assert_eq!(model.dense().encode(std::slice::from_ref(&image)).unwrap().dims(), [1, 4, 4, 8]);
    let wide = RgbImage::new(30, 10);
    assert_eq!(model.dense().encode_unresized(&[wide]).unwrap().dims(), [1, 2, 6, 8]);
}

#[test]
fn tokens_of_images_of_any_size_are_refused() {
    let lab = benchmark::lab();
    let file = lab.path("vision/preprocessor_config.json");
    let mut preprocessor: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    preprocessor["size"] = json!({"shortest_edge": 20});
    std::fs::write(file, preprocessor.to_string()).unwrap();
    photos(&lab, 1);
    lab.run("encode images --model vision --input photos --pooling tokens --out store --dry-run")
        .failed(2, &["`pooling` is tokens", "16x4 patches", "4x16 patches", "preprocess all to one size"]);
}

#[test]
fn layers_that_do_not_exist_are_refused() {
    let lab = benchmark::lab();
    std::fs::write(lab.path("captions.jsonl"), json!({"key": "a", "caption": "a cat"}).to_string()).unwrap();
    let encode = ENCODE_TEXTS.replace("last,-2", "last,-9");
    lab.run(&format!("{encode} --dry-run")).failed(1, &["unsupported layer -9", "-1 to -"]);
    for layers in ["first", "-0", "last,last"] {
        let encode = ENCODE_TEXTS.replace("last,-2", layers);
        lab.run(&encode).failed(2, &["layer"]);
    }
    let plan = lab.run(&format!("{ENCODE_TEXTS} --dry-run --json")).json();
    assert_eq!((&plan["layers"], &plan["bytes"]), (&json!(["last", "-2"]), &json!(2 * 36 * 2)));
}
