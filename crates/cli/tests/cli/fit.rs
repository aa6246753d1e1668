//! `sail fit`: heads in closed form.

use sail_vl::burn::tensor::Device;
use sail_vl::core::Modality;
use sail_vl::layers::Head;

use crate::lab::{IMAGE_DIM, Lab, TRAIN, key, row};

const PAIRS: &str = "--images images --texts texts";

#[test]
fn every_method_writes_a_head_that_evaluations_take() {
    let lab = Lab::new(200);
    for method in ["procrustes", "cca", "csa", "ridge", "ridge --direction text-to-image"] {
        let fit = format!("fit {method} {PAIRS} --holdout 60 --seed 7 --out fitted");
        let found = lab.run(&format!("{fit} --json")).json();
        assert_eq!(found["method"], method.split(' ').next().unwrap());
        // One to three captions of each of 140 images.
        assert!(found["pairs"].as_u64().unwrap() > 140, "{found}");
        let chance = 100.0 / 60.0;
        assert!(found["holdout"]["i2t"]["r@1"].as_f64().unwrap() > 3.0 * chance, "{found}");
        // The head knows its holdout, and gives the same scores.
        let scores = lab.run(&format!("eval retrieval --head fitted {PAIRS} --holdout --json")).json();
        assert_eq!(scores["i2t"], found["holdout"]["i2t"]);
        let shown = lab.run("head show fitted").succeeded().out;
        assert!(shown.contains("held out    60 pairs with the seed 7"), "{shown}");
        assert!(shown.contains("trained on vision") && shown.contains("trained on language"), "{shown}");
        lab.refuses(&fit, 2, &["fitted exists"]);
        std::fs::remove_file(lab.path("fitted")).unwrap();
    }
    let out = lab.run(&format!("fit cca {PAIRS} --extra-texts more --dim 5 --out fitted")).succeeded().out;
    assert!(out.contains("-> 5 directions") && out.contains("by cross-validation"), "{out}");
}

#[test]
fn few_pairs_are_named() {
    let lab = Lab::new(80);
    let out = lab.run("fit cca --images images --texts more --holdout 50 --out fitted").succeeded().out;
    assert!(out.contains("30 pairs") && out.contains("fewer images than their dimensions"), "{out}");
    assert!(out.contains("only the regularization makes their covariance invertible"), "{out}");
}

#[test]
fn invalid_settings_are_refused() {
    let lab = Lab::new(50);
    let cca = format!("fit cca {PAIRS} --out fitted");
    lab.refuses(&format!("{cca} --regularization 0"), 2, &["`regularization` is 0", "above 0"]);
    lab.refuses(&format!("{cca} --regularization -1"), 2, &["`regularization` is -1"]);
    lab.refuses(&format!("{cca} --dim 0"), 2, &["`dim` is 0"]);
    lab.refuses(&format!("{cca} --holdout 50"), 2, &["cannot hold out 50 of 50 pairs"]);
    lab.refuses(
        "fit cca --images images --texts more --holdout 49 --out x",
        1,
        &["found 1 pairs", "at least 2"],
    );
    lab.refuses("fit cca --images more --texts texts --out x", 2, &["more holds text features"]);
    assert!(!lab.path("fitted").exists());
}

#[test]
fn an_image_encoder_is_translated_under_a_head() {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --holdout 60 --epochs 10 --out run")).succeeded();
    // Another encoder, whose features are those of the first in another order, moved, and wider.
    let other = |item| {
        let features = row(item, 0, IMAGE_DIM);
        features.iter().rev().map(|x| 3.0 * x + 0.5).chain([1.0; 8]).collect::<Vec<f32>>()
    };
    lab.store("other", Modality::Image, "other", (0..200).rev().map(|item| (key(item), other(item))));
    let translate = "fit translate --head run/head.safetensors --from other --to images";
    let found = lab.run(&format!("{translate} --out translated --json")).json();
    // The images that the training of the head held out are held out of the translation.
    assert_eq!((&found["images"], &found["held_out"]["images"]), (&140.into(), &60.into()));
    assert!(found["held_out"]["variance"].as_f64().unwrap() > 0.99, "{found}");
    let scores = |head: &str, images: &str| {
        lab.run(&format!("eval retrieval --head {head} --images {images} --texts texts --holdout --json"))
            .json()
    };
    let (original, translated) = (scores("run/head.safetensors", "images"), scores("translated", "other"));
    let r10 = |scores: &serde_json::Value| scores["i2t"]["r@10"].as_f64().unwrap();
    assert!((r10(&original) - r10(&translated)).abs() < 5.0, "{original} {translated}");
    let shown = lab.run("head show translated").succeeded().out;
    assert!(shown.contains("72 -> translated to 64 of vision") && shown.contains("for other"), "{shown}");

    // The head takes the features of the new encoder only, and is not translated twice.
    let old = "eval retrieval --head translated --images images --texts texts";
    lab.refuses(old, 1, &["64 dimensions, expected 72"]);
    let twice = "fit translate --head translated --from images --to other --out x";
    lab.refuses(twice, 1, &["translated from another encoder already"]);
    let swapped = "fit translate --head run/head.safetensors --from images --to other --out x";
    lab.refuses(swapped, 1, &["72 dimensions, expected 64"]);
    assert_eq!(
        Head::load(lab.path("translated"), &Device::flex()).unwrap().config().image.as_ref().unwrap().input,
        72
    );
}
