//! A head records the pairs that its training held out, and an evaluation uses no others by mistake.

use sail_vl::burn::tensor::Device;
use sail_vl::core::Modality;
use sail_vl::layers::Head;

use crate::lab::{IMAGE_DIM, Lab, TRAIN, key, row};

const EVAL: &str = "eval retrieval --head run/head.safetensors --images images --texts texts";

/// A lab with a run that held out 60 of 200 pairs, and a run that held out none.
fn trained() -> Lab {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --holdout 60 --epochs 2 --out run")).succeeded();
    lab.run(&format!("{TRAIN} --epochs 1 --out all")).succeeded();
    lab
}

#[test]
fn the_head_knows_its_holdout() {
    let lab = trained();
    let stated = lab.run(&format!("{EVAL} --holdout 60 --seed 7 --json")).json();
    assert_eq!(stated["n_images"], 60);
    for options in ["--holdout", "--holdout 60", "--holdout --seed 7"] {
        assert_eq!(lab.run(&format!("{EVAL} {options} --json")).json(), stated, "{options}");
    }
    let shown = lab.run("head show run/head.safetensors").succeeded().out;
    assert!(shown.contains("held out    60 pairs with the seed 7"), "{shown}");
    // The order of the rows does not matter.
    let reversed = (0..200).rev().map(|item| (key(item), row(item, 0, IMAGE_DIM)));
    lab.store("reversed", Modality::Image, "vision", reversed);
    let found =
        lab.run(&format!("{} --holdout --json", EVAL.replace("images images", "images reversed"))).json();
    assert_eq!(found["n_images"], 60);
}

#[test]
fn a_contradiction_is_an_error() {
    let lab = trained();
    let said = ["`--holdout` is 61, but the training of run/head.safetensors held out 60 pairs"];
    lab.refuses(&format!("{EVAL} --holdout 61"), 2, &said);
    lab.refuses(&format!("{EVAL} --holdout 6"), 2, &["`--holdout` is 6,"]);
    lab.refuses(&format!("{EVAL} --holdout 60 --seed 8"), 2, &["`--seed` is 8", "with the seed 7"]);
    lab.refuses(&format!("{EVAL} --holdout 0"), 2, &["`--holdout` is 0"]);
    let all = EVAL.replace("run/", "all/");
    lab.refuses(&format!("{all} --holdout"), 2, &["all/head.safetensors was trained without a holdout"]);
    lab.refuses(&format!("{all} --holdout 60 --seed 7"), 2, &["was trained without a holdout"]);

    // Other keys would lead to other held-out pairs, some of which were trained on.
    let fewer = (10..200).map(|item| (key(item), row(item, 0, IMAGE_DIM)));
    lab.store("fewer", Modality::Image, "vision", fewer);
    let fewer = EVAL.replace("images images", "images fewer");
    lab.refuses(&format!("{fewer} --holdout -q"), 2, &["other keys", "omit `--holdout`"]);
    lab.run(&fewer).succeeded();
}

#[test]
fn a_head_without_a_record_needs_the_number() {
    let lab = trained();
    let path = lab.path("run/head.safetensors");
    let head = Head::load(&path, &Device::flex()).unwrap();
    let stated = lab.run(&format!("{EVAL} --holdout --json")).json();
    head.with_holdout(None).save(&path).unwrap();
    lab.refuses(&format!("{EVAL} --holdout"), 2, &["does not record", "--holdout ROWS", "--seed SEED"]);
    assert_eq!(lab.run(&format!("{EVAL} --holdout 60 --seed 7 --json")).json(), stated);
    assert!(lab.run("head show run/head.safetensors").succeeded().out.contains("held out    unknown pairs"));
}

#[test]
fn scores_on_training_pairs_are_named() {
    let lab = trained();
    let said = "was trained on 140 of these 200 pairs: add `--holdout`";
    let all = lab.run(EVAL).succeeded();
    assert!(all.err.contains(said), "{}", all.err);
    assert!(!lab.run(&format!("{EVAL} --holdout")).succeeded().err.contains("was trained on"));
    let other = (0..200).map(|item| (format!("new-{item}"), row(item, 0, IMAGE_DIM)));
    lab.store("other", Modality::Image, "vision", other);
    let texts = (0..200).map(|item| (format!("new-{item}"), row(item, 1, crate::lab::TEXT_DIM)));
    lab.store("other-texts", Modality::Text, "language", texts);
    let other =
        lab.run("eval retrieval --head run/head.safetensors --images other --texts other-texts").succeeded();
    assert!(!other.err.contains("was trained on"), "{}", other.err);
}

#[test]
fn another_holdout_after_a_warm_start_is_named() {
    let lab = trained();
    let warm = "train --images images --texts texts --batch 64 --epochs 1 --warm-start run/head.safetensors";
    let same = lab.run(&format!("{warm} --holdout 60 --seed 7 --out same")).succeeded();
    assert!(!same.err.contains("another holdout"), "{}", same.err);
    let other = lab.run(&format!("{warm} --holdout 60 --seed 8 --out other")).succeeded();
    assert!(other.err.contains("trained with another holdout (60 pairs, seed 7)"), "{}", other.err);
}
