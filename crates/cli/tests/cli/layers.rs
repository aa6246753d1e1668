//! Layers of encoders, from encoding to a model.

use std::fs::File;

use sail_vl::SailModel;
use sail_vl::burn::tensor::Device;
use sail_vl::core::Layer;
use sail_vl::layers::Head;
use serde_json::json;

use crate::benchmark;

const ENCODE_TEXTS: &str =
    "encode texts --model text --input captions.jsonl --device cpu --layers last,-2 --out texts";

#[test]
fn a_head_on_inner_layers_is_opened_at_them() {
    let lab = benchmark::lab();
    std::fs::create_dir(lab.path("photos")).unwrap();
    let mut captions = String::new();
    for row in 0..6u8 {
        let file = File::create(lab.path(&format!("photos/{row}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 2, 1);
        encoder.set_color(png::ColorType::Rgb);
        let pixels = [40 * row, 0, 200, 9, 30 * row, 1];
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        captions += &json!({"key": format!("{row}.png"), "caption": format!("{row} cats")}).to_string();
        captions.push('\n');
    }
    std::fs::write(lab.path("captions.jsonl"), captions).unwrap();
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
