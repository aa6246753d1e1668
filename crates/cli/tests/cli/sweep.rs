//! Sweeps with settings that diverge.

use crate::lab::{Lab, TRAIN, changed};

/// At the rates above 1 the weights leave the range of f32.
fn sweep(rates: &str) -> String {
    let train = changed(TRAIN, "--projector linear --weight-decay 0");
    let train = train.replace("--width 2", "").replace("--lr 1e-3", "");
    format!("{train} --holdout 50 --epochs 8 --sweep lr={rates} --out swept")
}

#[test]
fn a_diverging_setting_is_recorded_and_the_rest_is_ranked() {
    let lab = Lab::new(200);
    let ran = lab.run(&format!("{} --json --report sweep.html", sweep("3e20,1e-3,1e39,1e-5")));
    assert!(ran.err.contains("lr=3e20 diverged: "), "{}", ran.err);
    let found = ran.json();
    let rates = |found: &serde_json::Value| -> Vec<String> {
        let settings = found["settings"].as_array().unwrap().iter();
        settings.map(|setting| setting["setting"]["lr"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(rates(&found), ["1e-3", "1e-5", "3e20", "1e39"]);
    assert_eq!(found["best"], "swept/lr=1e-3/head.safetensors");
    for (setting, what) in [(2, "the loss is NaN at step"), (3, "the loss is NaN at step 1")] {
        let reason = found["settings"][setting]["diverged"].as_str().unwrap();
        assert!(reason.contains(what), "{reason}");
    }
    let page = String::from_utf8(lab.read("sweep.html")).unwrap();
    assert!(page.contains("Diverged settings") && page.contains("lr=3e20"));

    // What is known is not trained again.
    let again = lab.run(&format!("{} --json --resume", sweep("3e20,1e-3,1e39,1e-5"))).succeeded();
    assert!(!again.err.contains("diverged"), "{}", again.err);
    assert_eq!(rates(&again.json()), ["1e-3", "1e-5", "3e20", "1e39"]);
    let text = lab.run(&format!("{} --resume", sweep("3e20,1e-3"))).succeeded().out;
    assert!(text.contains("lr=3e20  diverged: the loss is NaN"), "{text}");
    assert!(text.ends_with("best head: swept/lr=1e-3/head.safetensors\n"), "{text}");
    // Other settings under the same name are.
    std::fs::remove_dir_all(lab.path("swept/lr=1e-3")).unwrap();
    let shorter = sweep("3e20,1e-3").replace("--epochs 8", "--epochs 1");
    lab.run(&format!("{shorter} --resume")).failed(2, &["`train.epochs` (8, now 1)"]);
}

#[test]
fn seeds_give_means_and_differences_larger_than_their_spread() {
    let lab = Lab::new(200);
    let train = changed(TRAIN, "--projector linear").replace("--width 2", "").replace("--lr 1e-3", "");
    let train = format!("{} --holdout 50 --epochs 8 --out swept", train.replace("--seed 7", ""));
    let swept = format!("{train} --seeds 0..6 --sweep lr=1e-3,1e-8");
    let found = lab.run(&format!("{swept} --json --report seeds.html")).succeeded().json();
    assert_eq!(found["settings"].as_array().unwrap().len(), 12);
    let [first, second] = [&found["seeds"][0], &found["seeds"][1]];
    assert_eq!((&first["setting"]["lr"], &second["setting"]["lr"]), (&"1e-3".into(), &"1e-8".into()));
    assert_eq!(first["seeds"], serde_json::json!([0, 1, 2, 3, 4, 5]));
    // The mean of the settings with the same value, from the other list.
    let of = |lr: &str| {
        let settings = found["settings"].as_array().unwrap().iter();
        let recalls = settings.filter(|setting| setting["setting"]["lr"] == lr);
        recalls.map(|setting| setting["mean_recall"].as_f64().unwrap()).sum::<f64>() / 6.0
    };
    for (summary, lr) in [(first, "1e-3"), (second, "1e-8")] {
        assert!((summary["scores"]["mean recall"]["mean"].as_f64().unwrap() - of(lr)).abs() < 1e-9);
    }
    assert!(first.get("to_best").is_none());
    assert_eq!(second["to_best"]["larger_than_spread"], true, "{second}");
    let page = String::from_utf8(lab.read("seeds.html")).unwrap();
    assert!(page.contains("larger than spread") && page.contains("lr=1e-8,seed=2"));

    // A run with one seed is the same run.
    let single = lab.run(&format!("{} --lr 1e-3 --seed 1 --json", train.replace("swept", "single")));
    let single = single.succeeded().json();
    let settings = found["settings"].as_array().unwrap();
    let same = settings.iter().find(|setting| setting["head"] == "swept/lr=1e-3,seed=1/head.safetensors");
    assert_eq!(same.unwrap()["holdout"], single["holdout"]);

    let text = lab.run(&format!("{swept} --resume")).succeeded().out;
    assert!(text.contains(" ± ") && text.contains("lr=1e-3"), "{text}");
    for (options, words) in [
        ("--seeds 3", ["1 seeds", "at least two"]),
        ("--seeds 0..3 --seed 1", ["--seeds", "--seed"]),
        ("--seeds 0..3 --sweep seed=1,2", ["--sweep seed=1,2", "--seeds"]),
    ] {
        lab.refuses(&format!("{} {options}", train.replace("swept", "other")), 2, &words);
    }
}

#[test]
fn a_sweep_without_a_result_fails() {
    let lab = Lab::new(200);
    let words = ["none of the 2 settings could be trained", "lr=3e20: the loss is NaN at step"];
    lab.run(&sweep("3e20,1e39")).failed(1, &words);
}
