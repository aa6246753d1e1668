//! `sail train` with a regularizer, and with images and texts that are not paired.

use crate::lab::{Lab, Ran, TRAIN};

const REST: &str = "--unpaired-images rest-images --unpaired-texts rest-texts";

/// A folder with pairs of 160 images, and other images and texts.
fn lab() -> Lab {
    let lab = Lab::new(240);
    lab.run("store subset images --count 160 --out pair-images").succeeded();
    lab.run("store filter images --keys pair-images --invert --out rest-images").succeeded();
    lab.run("store filter texts --keys pair-images --invert --out rest-texts").succeeded();
    lab
}

fn train(options: &str) -> String {
    let train = TRAIN.replace("--images images", "--images pair-images");
    format!("{train} --unmatched drop --holdout 40 --epochs 3 {options}")
}

/// The error of a command that was refused.
fn refused(ran: Ran) -> String {
    assert!(ran.code.is_some_and(|code| code != 0), "{}", ran.out);
    ran.err
}

#[test]
fn values_of_both_losses_are_recorded_and_other_settings_do_not_resume() {
    let lab = lab();
    let options = format!("{REST} --klot 0.1 --teacher cca --structure 2:2:0.1 --out run");
    lab.run(&train(&options)).succeeded();
    let metrics = std::fs::read_to_string(lab.path("run/metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    for name in ["klot", "structure"] {
        assert!(first["auxiliary"][name].as_f64().is_some_and(|value| value > 0.0), "{first}");
    }
    let config = std::fs::read_to_string(lab.path("run/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["unpaired"]["batch_size"], 64);
    assert_eq!(config["unpaired"]["teacher"]["method"], "cca");
    assert_eq!(config["structure"]["levels"], 2);

    lab.run(&train(&format!("{options} --resume"))).succeeded();
    let other = train(&format!("{REST} --klot 0.2 --structure 2:2:0.1 --out run --resume"));
    let error = refused(lab.run(&other));
    assert!(error.contains("unpaired.weight"), "{error}");
    lab.run("train --config run/config.json --klot 0.3 --out again").succeeded();
}

#[test]
fn held_out_rows_are_left_out_and_a_step_has_as_many_rows_as_there_are() {
    let lab = lab();
    let options =
        "--unpaired-images images --unpaired-texts rest-texts --klot 0.1 --unpaired-batch 1000 --out run";
    let ran = lab.run(&train(options));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("40 images and 0 texts that are not paired are held out"), "{}", ran.err);
    assert!(ran.err.contains("the batch size 1000 is larger than"), "{}", ran.err);
}

#[test]
fn a_teacher_that_saw_held_out_pairs_is_refused() {
    let lab = lab();
    let teacher = train("--out teacher").replace("--epochs 3", "--epochs 1");
    lab.run(&teacher).succeeded();
    lab.run(&teacher.replace("--holdout 40", "--holdout 0").replace("teacher", "all")).succeeded();
    let run = |teacher: &str, out: &str| {
        lab.run(&train(&format!("{REST} --klot 0.1 --teacher {teacher}/head.safetensors --out {out}")))
    };
    run("teacher", "run").succeeded();
    let error = refused(run("all", "other"));
    assert!(error.contains("--holdout 40 --seed 7"), "{error}");
    assert!(!lab.path("other").exists());
}

#[test]
fn other_encoders_and_incomplete_options_are_refused() {
    let lab = lab();
    lab.store(
        "strange",
        sail_vl::core::Modality::Image,
        "another-vision",
        (0..20).map(|item| (item.to_string(), vec![1.0; crate::lab::IMAGE_DIM])),
    );
    for (options, named) in [
        ("--unpaired-images strange --unpaired-texts rest-texts --klot 0.1", "strange"),
        ("--unpaired-images rest-images --unpaired-texts rest-images --klot 0.1", "expected text features"),
        ("--unpaired-images rest-images --klot 0.1", "--unpaired-texts"),
        ("--teacher cca", "--klot"),
        ("--unpaired-images rest-images --unpaired-texts rest-texts --klot 0", "`klot` is 0"),
        (
            "--unpaired-images rest-images --unpaired-texts rest-texts --klot 1 --klot-epsilon 0",
            "`epsilon` is 0",
        ),
        (
            "--unpaired-images rest-images --unpaired-texts rest-texts --klot 1 --teacher none.safetensors",
            "none.safetensors",
        ),
        ("--structure 1:0", "`levels` is 0"),
        ("--structure x", "WEIGHT[:LEVELS[:TEMPERATURE]]"),
    ] {
        let error = refused(lab.run(&train(&format!("{options} --out run"))));
        assert!(error.contains(named), "{options}: {error}");
        assert!(!lab.path("run").exists(), "{options}");
    }
}
