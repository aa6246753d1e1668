//! Results of the commands on valid input.

use sail_vl::core::Modality;
use serde_json::Value;

use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN, key, row};

const FULL: &str = "--extra-texts more --holdout 100 --epochs 20";

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn train_prints_its_result() {
    let lab = Lab::new(400);
    let ran = lab.run(&format!("{TRAIN} {FULL} --json --out run"));
    assert!(ran.err.contains("80 steps"), "progress is on standard error: {}", ran.err);
    let result = ran.json();
    assert_eq!(keys(&result), ["head", "holdout", "loss", "pairing", "seconds", "steps", "stopped_early"]);
    assert_eq!((&result["steps"], &result["head"]), (&80.into(), &"run/head.safetensors".into()));
    for direction in ["i2t", "t2i"] {
        let scores = &result["holdout"][direction];
        assert_eq!(keys(scores), ["mean_rank", "median_rank", "r@1", "r@10", "r@5"]);
        assert!(float(&scores["r@1"]) > 10.0, "the problem can be learned: {scores}");
        assert!(float(&scores["r@10"]) >= float(&scores["r@5"]));
    }
    let first = lab.metrics("run").remove(0);
    let first: Value = serde_json::from_str(&first).unwrap();
    assert!(float(&result["loss"]) < float(&first["loss"]));

    assert_eq!(result["holdout"]["n_images"], 100);
    let reported = lab.run(&format!("{TRAIN} {FULL} --json --out reported --report out.html")).json();
    let page = String::from_utf8(lab.read("out.html")).unwrap();
    let recall = float(&reported["mean_recall"]);
    let curve = &reported["curves"][0];
    assert_eq!(curve["steps"].as_array().unwrap().len(), 80);
    assert_eq!(float(&curve["evaluations"].as_array().unwrap().last().unwrap()["mean_recall"]), recall);
    assert_eq!(reported["holdout"], result["holdout"]);
    for score in [format!("{recall:.1} %"), format!("{:.6}", float(&reported["loss"]))] {
        assert!(page.contains(&score), "no {score}");
    }
    let text = lab.run(&format!("{TRAIN} {FULL} --out other")).succeeded();
    assert!(
        text.out.contains("image to text") && text.out.contains("head: other/head.safetensors"),
        "{}",
        text.out
    );
    assert!(
        lab.read("run/head.safetensors") == lab.read("other/head.safetensors"),
        "the head depends on the seed alone"
    );
}

#[test]
fn evaluation_reproduces_the_scores_of_the_training() {
    let lab = Lab::new(400);
    let trained = lab.run(&format!("{TRAIN} {FULL} --json --out run")).json();
    let eval = "eval retrieval --head run/head.safetensors --images images --texts texts";
    let held_out = lab.run(&format!("{eval} --json --holdout 100 --seed 7")).json();
    assert_eq!(keys(&held_out), ["i2t", "n_images", "n_texts", "pairing", "t2i"]);
    for direction in ["i2t", "t2i"] {
        assert_eq!(held_out[direction], trained["holdout"][direction]);
    }
    assert_eq!(held_out["n_images"], 100);
    let all = lab.run(&format!("{eval} --json")).json();
    // One to three captions an image.
    assert_eq!((&all["n_images"], &all["n_texts"]), (&400.into(), &799.into()));
    let text = lab.run(eval).succeeded();
    assert!(text.out.starts_with("400 images, 799 texts"), "{}", text.out);
}

#[test]
fn zero_shot_with_prompts_of_a_store_and_of_a_file() {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --holdout 30 --epochs 20 --out run")).succeeded();
    // Every image is its own class; a class has its captions as prompts, the last class first.
    let prompts = (0..400).map(|i| (199 - i / 2, 1 + i % 2));
    let prompts = prompts.map(|(item, variant)| (key(item), row(item, variant, TEXT_DIM)));
    lab.store("prompts", Modality::Text, "language", prompts);
    let labels: Vec<i64> = (0..200).map(|item| 199 - item).collect();
    lab.labels("labels.safetensors", &labels);
    let eval =
        "eval zero-shot --head run/head.safetensors --images images --labels labels.safetensors:labels";
    let result = lab.run(&format!("{eval} --prompts prompts --json")).json();
    assert_eq!((&result["n_images"], &result["n_classes"]), (&200.into(), &200.into()));
    assert!(float(&result["top1"]) > 20.0 && float(&result["top5"]) > float(&result["top1"]), "{result}");

    let rows = (0..200).map(|item| row(199 - item, 1, TEXT_DIM)).collect();
    lab.matrices("prompts.safetensors", &[("other", vec![vec![1.0; 3]]), ("prompts", rows)]);
    let bare = format!("{eval} --prompts prompts.safetensors:prompts");
    let single = lab.run(&format!("{bare} --json")).json();
    assert!(float(&single["top1"]) > 20.0, "{single}");
    let held_out = lab.run(&format!("{bare} --holdout 30 --seed 7 --json")).json();
    assert_eq!((&held_out["n_images"], &held_out["n_classes"]), (&30.into(), &200.into()));
    assert_eq!(lab.run(&format!("{bare} --holdout --json")).json(), held_out);
    assert!(lab.run(&bare).succeeded().out.contains("top-1"));
}

#[test]
fn head_show_describes_a_head() {
    let lab = Lab::new(100);
    lab.run(&format!("{TRAIN} --epochs 1 --out run")).succeeded();
    let shown = lab.run("head show run/head.safetensors --json").json();
    assert_eq!(keys(&shown), ["bias", "config", "holdout", "parameters", "scale"]);
    assert_eq!(shown["config"]["image"]["projector"]["kind"], "glu");
    assert_eq!(shown["config"]["text"]["trained_on"]["model"], "language");
    let text = lab.run("head show run/head.safetensors").succeeded().out;
    for words in
        ["dimension   32", "image side", "64 ->", "trained on vision", "parameters", "held out    no pairs"]
    {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
}

#[test]
fn every_projector_and_loss_trains() {
    let lab = Lab::new(200);
    let rest = "--batch 64 --lr 1e-3 --seed 7 --epochs 10";
    for (name, head, loss) in [
        ("linear", "--projector linear --dim 32", "--loss sigmoid --normalization batch --blocks sum"),
        ("mlp", "--projector mlp --dim 32", "--loss info-nce"),
        ("swiglu", "--projector swiglu --width 2 --dim 32", "--loss barlow-twins"),
        ("adamw", "--projector glu --width 2 --dim 32", "--optimizer adamw"),
    ] {
        let command = format!("train --images images --texts texts --extra-texts more {rest} {head} {loss}");
        let last = lab.run(&format!("{command} --out {name} --json")).json();
        let first: Value = serde_json::from_str(&lab.metrics(name)[0]).unwrap();
        assert!(float(&last["loss"]) < 0.9 * float(&first["loss"]), "{name}: {first} {last}");
        assert_eq!(last["holdout"], Value::Null);
    }
}

#[test]
fn rows_of_a_file_are_paired_by_position() {
    let lab = Lab::empty();
    let images = (0..128).map(|item| row(item, 0, IMAGE_DIM)).collect();
    let texts = (0..128).map(|item| row(item, 1, TEXT_DIM)).collect();
    lab.matrices("data.safetensors", &[("image", images), ("text", texts)]);
    let command = "train --images data.safetensors:image --texts data.safetensors:text --projector linear --dim 32 \
                   --batch 64 --lr 1e-3 --holdout 28 --epochs 1 --out run --json";
    assert_eq!(lab.run(command).json()["steps"], 1);
}
