//! The settings of an encoding reach every evaluation through the head.

use sail_vl::burn::tensor::Device;
use sail_vl::core::{Modality, Provenance};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use serde_json::json;

use crate::benchmark;
use crate::lab::Lab;

/// A lab with features of 12 images and captions, encoded with settings other than the defaults, and a head trained on them.
fn lab() -> Lab {
    let lab = benchmark::lab();
    benchmark::command(&lab, "winoground", "winoground", "");
    let prompts = r#"{"prompts": {"query": "a photo of "}, "default_prompt_name": "query"}"#;
    std::fs::write(lab.path("text/config_sentence_transformers.json"), prompts).unwrap();
    let images = lab.files("winoground/images");
    let captions = images.iter().take(12).map(|name| format!("{name},caption {name}\n")).collect::<String>();
    std::fs::write(lab.path("captions.csv"), format!("key,caption\n{captions}")).unwrap();
    std::fs::create_dir(lab.path("photos")).unwrap();
    for name in images.iter().take(12) {
        std::fs::copy(lab.path(&format!("winoground/images/{name}")), lab.path(&format!("photos/{name}")))
            .unwrap();
    }
    let encode =
        |options: &str| lab.run(&format!("encode {options} --precision bf16 --dtype f32")).succeeded();
    encode("images --model vision --input photos --size 25 --out images");
    encode("texts --model text --input captions.csv --pooling class --out texts");
    let train =
        "train --images images --texts texts --projector linear --dim 16 --batch 4 --epochs 1 --out run";
    lab.run(train).succeeded();
    lab
}

const EVAL: &str = "eval winoground --data winoground --head run/head.safetensors --cache cache --json";

#[test]
fn evaluations_use_the_settings_of_the_head() {
    let lab = lab();
    let recorded = lab.run("head show run/head.safetensors --json").json()["config"].clone();
    let [image, text] = ["image", "text"].map(|side| recorded[side]["trained_on"].clone());
    assert_eq!(image["processor"]["resize"]["exact"]["height"], 25);
    assert_eq!((&image["precision"], &text["precision"]), (&"bf16".into(), &"bf16".into()));
    assert_eq!((&text["pooling"], &text["prompt"]["text"]), (&"class".into(), &"a photo of ".into()));
    let shown = lab.run("head show run/head.safetensors").succeeded().out;
    assert!(shown.contains("  prompt    \"a photo of \"\n") && shown.contains("  precision bf16"), "{shown}");

    let expected = lab.run(EVAL).json();
    let files = lab.files("cache");
    for same in [
        "--size 25 --precision bf16",
        "--prompt query --vision-pooling concat --text-pooling class",
        // Other copies of the same files are the same models, and have the same features in the cache.
        "--vision elsewhere/vision --text elsewhere/text",
    ] {
        if same.contains("elsewhere") {
            benchmark::copy(&lab.path("vision"), &lab.path("elsewhere/vision"));
            benchmark::copy(&lab.path("text"), &lab.path("elsewhere/text"));
        }
        assert_eq!(lab.run(&format!("{EVAL} {same}")).json(), expected, "{same}");
        assert_eq!(lab.files("cache"), files, "{same}");
    }
}

/// Version 1 recorded a line of text, and neither prompts nor modules after the pooling, because it applied none.
#[test]
fn heads_of_version_1_are_evaluated_as_they_were_trained() {
    let lab = benchmark::lab();
    benchmark::command(&lab, "winoground", "winoground", "");
    let prompts = r#"{"prompts": {"query": "a photo of "}, "default_prompt_name": "query"}"#;
    std::fs::write(lab.path("text/config_sentence_transformers.json"), prompts).unwrap();
    std::fs::write(lab.path("captions.txt"), "a cat\n").unwrap();
    lab.run("encode texts --model text --input captions.txt --out texts").succeeded();
    let stored = lab.run("store show texts --json").json()["provenance"].clone();
    assert_eq!(
        (&stored["modules"][0], &stored["prompt"]["text"]),
        (&"normalize".into(), &"a photo of ".into())
    );
    let [hash, limit] = ["tokenizer", "max_length"].map(|name| stored["processor"][name].clone());
    let line = format!(
        "tokenizer {}, at most {limit} tokens with [CLS] [SEP], cut at the right, padded with 2 at the right",
        hash.as_str().unwrap()
    );
    let earlier = json!({
        "model": "text", "weights_sha256": stored["weights_sha256"], "preprocessing": line, "pooling": "mean",
    });
    let head = |provenance: serde_json::Value| {
        let text: Provenance = serde_json::from_value(provenance).unwrap();
        let head =
            Head::new(&HeadConfig::new(48, 36, 16, ProjectorConfig::Linear {}), 1, &Device::flex()).unwrap();
        head.with_provenance(Some(&Provenance::new("vision")), Some(&text))
            .save(lab.path("earlier.safetensors"))
            .unwrap();
    };
    head(earlier.clone());
    let eval = "eval winoground --data winoground --head earlier.safetensors --cache earlier";
    lab.run(eval).succeeded();
    lab.refuses(&format!("{eval} --prompt query"), 2, &["`--prompt` contradicts the head"]);
    let mut by_name = earlier.clone();
    by_name["pooling"] = "pooled".into();
    head(by_name);
    let expected = lab.run(&format!("{eval} --json")).json();
    head(earlier.clone());
    assert_eq!(lab.run(&format!("{eval} --json")).json(), expected);
    // Features of today have another length and a prompt.
    let images = (0..1).map(|_| ("1".to_owned(), vec![1.0; 48]));
    lab.store("images", Modality::Image, "vision", images);
    let retrieval = "eval retrieval --head earlier.safetensors --images images --texts texts";
    lab.refuses(retrieval, 1, &["`modules` is \"normalize\", expected none: encode both"]);
    let mut other = earlier;
    other["preprocessing"] = line.replace(&format!("at most {limit}"), "at most 9").into();
    head(other);
    lab.refuses(eval, 1, &[&format!("`processor` is `max_length` {limit}, expected `max_length` 9")]);
}

#[test]
fn options_that_contradict_the_head_are_refused() {
    let lab = lab();
    for (option, words) in [
        ("--size 20", ["`--size` contradicts the head", "`processor` is `resize`"]),
        ("--precision f32", ["`--precision` contradicts the head", "`precision` is f32, expected bf16"]),
        ("--prompt none", ["`--prompt` contradicts the head", "`prompt` is none, expected \"a photo of \""]),
        (
            "--vision-pooling class",
            ["`--vision-pooling` contradicts", "`pooling` is `class`, expected `concat`"],
        ),
        ("--text-pooling mean", ["`--text-pooling` contradicts", "`pooling` is `mean`, expected `class`"]),
    ] {
        lab.refuses(&format!("{EVAL} {option}"), 2, &words);
    }
    lab.refuses(
        &format!("{EVAL} --prompt qeury"),
        1,
        &["`prompt` of the model is `qeury`", "`query`, `none`"],
    );
    // Stores of other settings do not fit either.
    lab.run("encode texts --model text --input captions.csv --prompt none --precision bf16 --pooling class --out bare")
        .succeeded();
    let eval = "eval retrieval --head run/head.safetensors --images images --texts bare";
    lab.refuses(eval, 1, &["other text features: `prompt` is none, expected \"a photo of \": encode with"]);
    lab.refuses(
        "eval retrieval --head run/head.safetensors --images images --texts texts,bare",
        1,
        &["the prompt"],
    );
}

#[test]
fn quantized_features_are_other_features() {
    let lab = lab();
    let encode = "encode images --model vision --input photos --size 25 --precision bf16 --dtype f32";
    lab.run(&format!("{encode} --quantize int8 --out int8")).succeeded();
    let manifest = std::fs::read(lab.path("int8/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["provenance"]["quantization"], "int8");
    let retrieval = "eval retrieval --head run/head.safetensors --images int8 --texts texts";
    let reason = "`quantization` is int8, expected none: encode with the same quantization";
    lab.refuses(retrieval, 1, &[reason]);
    // The widths of this model are odd.
    let texts = "encode texts --model text --input captions.csv --quantize int8 --out int8-texts";
    lab.refuses(texts, 2, &["`quantization` is int8, expected none: a layer has 36 inputs"]);
}
