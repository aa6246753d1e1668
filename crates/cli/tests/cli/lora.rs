//! Adapters of the image encoder, from encoding to a model.

use sail_vl::SailModel;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, RgbImage, Side, l2_normalize};
use sail_vl::data::EmbeddingStore;
use sail_vl::eval::project_images;
use sail_vl::layers::Head;

use crate::benchmark;
use crate::lab::Lab;
use crate::layers::photos;

const STATES: &str = "encode images --model vision --input photos --device cpu --pooling tokens --dtype f32 --layers=-3,-2 --out tokens";
const TRAIN: &str = "train --device cpu --images tokens/minus-3 --texts texts --vision vision --projector linear --dim 8 \
                     --batch 6 --epochs 4 --lr 1e-2 --holdout 2";

/// A lab with the token states of twelve images before each block of `vision`, and texts.
fn lab() -> Lab {
    let lab = benchmark::lab();
    photos(&lab, 12);
    lab.run(STATES).succeeded();
    lab.run("encode texts --model text --input captions.jsonl --device cpu --out texts").succeeded();
    lab
}

#[test]
fn adapters_are_trained_saved_and_merged() {
    let lab = lab();
    let lora = format!("{TRAIN} --lora-image 2:1:query,value,up --lora-alpha 4 --out run");
    let shown = lab.run(&format!("{lora} --dry-run")).succeeded().out;
    let adapters = "adapters    rank 2, alpha 4, of blocks.1.query, blocks.1.value, blocks.1.up";
    assert!(shown.contains(adapters) && shown.contains("head        48 + 36 -> 8"), "{shown}");
    let size = lab.run(&format!("{lora} --dry-run --json")).json();
    assert_eq!(size["adapters"]["layers"].as_array().unwrap().len(), 3);
    lab.run(&lora).succeeded();
    assert!(lab.run(&format!("{lora} --resume")).succeeded().out.contains("was complete"));
    let head = lab.run("head show run/head.safetensors").succeeded().out;
    assert!(head.contains("adapters  rank 2, alpha 4, of blocks.1.query"), "{head}");

    let encode = "encode images --model vision --input photos --device cpu --dtype f32";
    lab.run(&format!("{encode} --adapter run/head.safetensors --out adapted")).succeeded();
    lab.run(&format!("{encode} --out frozen")).succeeded();
    let eval =
        "eval retrieval --head run/head.safetensors --device cpu --texts texts --holdout --json --images";
    let found = lab.run(&format!("{eval} adapted")).json();
    let trained = lab.run(&format!("{lora} --resume --json")).json();
    for direction in ["i2t", "t2i"] {
        assert_eq!(found[direction]["r1"], trained["holdout"][direction]["r1"], "{direction}");
    }
    lab.run(&format!("{eval} frozen"))
        .failed(1, &["`adapter` is none, expected", "adapters that belong to the head"]);
    lab.run(&format!("{eval} tokens/minus-3")).failed(1, &["token"]);

    // A model of the head has the merged encoder.
    let head = Head::load(lab.path("run/head.safetensors"), &Device::flex()).unwrap();
    let store = EmbeddingStore::open(lab.path("adapted")).unwrap();
    let rows: Vec<usize> = (0..12).collect();
    let expected = l2_normalize(project_images(&head, &store, &rows, 12).unwrap());
    assert!(
        head.adapter(Side::Image)
            .unwrap()
            .unwrap()
            .weights
            .iter()
            .any(|update| update.b.iter().any(|x| *x != 0.0))
    );
    let [vision, text] = ["vision", "text"].map(|name| lab.path(name).to_str().unwrap().to_owned());
    let model = SailModel::with_head(head, Some(&vision), Some(&text), &Device::flex()).unwrap();
    let image = |key: &String| {
        sail_vl::data::decode_image(&lab.read(&format!("photos/{key}")), &Default::default()).unwrap()
    };
    let images: Vec<RgbImage> = store.keys(&rows).unwrap().iter().map(image).collect();
    let found = model.encode_images(&images).unwrap();
    assert!(found.all_close(expected, Some(1e-5), Some(1e-5)));
}

#[test]
fn options_without_meaning_are_refused() {
    let lab = lab();
    for (options, words) in [
        ("--lora-image 2:1:gate", vec!["`layers` is gate", "down, key, output, query, up, value"]),
        ("--lora-image 2:3", vec!["`blocks` is 3", "at most 2"]),
        ("--lora-image 99", vec!["`rank` is 99", "1 to 24"]),
        ("--lora-image two", vec!["`two`", "RANK[:BLOCKS[:LAYERS]]"]),
        ("--lora-image 2 --structure 1", vec!["`structure`", "none with `lora_image`"]),
        ("", vec!["`--vision`", "need `--lora-image`"]),
    ] {
        lab.refuses(&format!("{TRAIN} {options} --out run"), 2, &words);
    }
    let later = TRAIN.replace("minus-3", "minus-2");
    lab.refuses(&format!("{later} --lora-image 2:2 --out run"), 2, &["`blocks` is 2", "at most 1"]);
    let adapted = "encode images --model vision --input photos --device cpu --out adapted --adapter";
    lab.refuses(&format!("{adapted} head.safetensors"), 2, &["has no adapters of the image encoder"]);
    lab.refuses(&format!("{adapted} missing.safetensors"), 1, &["missing.safetensors"]);
}
