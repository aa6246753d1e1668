//! Options and commands around the work: devices, completions, manual pages, dry runs, environment variables, progress,
//! threads, and former spellings.

use sail_vl::burn::tensor::Device;
use sail_vl::core::Provenance;
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use serde_json::{Value, json};

use crate::benchmark;
use crate::lab::{Lab, Ran, TRAIN};

#[test]
fn devices_lists_the_cpu_and_the_choice_of_auto() {
    let lab = Lab::empty();
    let listed = lab.run("devices --json").json();
    let devices = listed["devices"].as_array().unwrap();
    let cpu = devices.iter().find(|device| device["name"] == "cpu").unwrap();
    assert_eq!(cpu["available"], true);
    let auto: Vec<_> = devices.iter().filter(|device| device["auto"] == true).collect();
    assert_eq!(auto.len(), 1, "{listed}");
    for device in devices {
        assert!(device["description"].as_str().is_some_and(|text| !text.is_empty()), "{device}");
        assert_eq!(device["available"] == false, device["reason"].is_string(), "{device}");
    }
    let table = lab.run("devices").succeeded().out;
    assert_eq!(table.lines().count(), 1 + devices.len(), "{table}");
    let chosen = table.lines().find(|line| line.contains("chosen by `auto`")).unwrap();
    assert!(chosen.starts_with(auto[0]["name"].as_str().unwrap()), "{table}");
}

#[test]
fn every_spelling_of_the_cpu_is_one_device() {
    let lab = Lab::new(100);
    let train = |device: &str, out: &str| format!("{TRAIN} --epochs 1 --device {device} --out {out}");
    for (device, out) in [("cpu", "a"), ("flex", "b"), ("cpu:0", "c")] {
        lab.run(&train(device, out)).succeeded();
        assert!(lab.read("a/head.safetensors") == lab.read(&format!("{out}/head.safetensors")), "{device}");
    }
    lab.run(&train("auto", "d")).succeeded();
}

#[test]
fn completions_for_every_shell() {
    let lab = Lab::empty();
    for (shell, word) in [
        ("bash", "complete -F _sail"),
        ("zsh", "#compdef sail"),
        ("fish", "complete -c sail"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = lab.run(&format!("completions {shell}")).succeeded().out;
        assert!(script.contains(word), "{shell}");
        for option in ["projector", "image-dir", "dry-run"] {
            assert!(script.contains(option), "no {option} for {shell}");
        }
        // The other shells complete no values.
        if ["bash", "zsh", "fish"].contains(&shell) {
            assert!(script.contains("swiglu") && script.contains("bf16"), "no values for {shell}");
        }
    }
    lab.refuses("completions cmd", 2, &["'cmd'", "bash"]);
}

#[test]
fn man_writes_a_page_for_every_command() {
    let lab = Lab::empty();
    lab.run("man pages/man1").succeeded();
    let pages = lab.files("pages/man1");
    for page in ["sail.1", "sail-train.1", "sail-encode-images.1", "sail-eval-retrieval.1", "sail-devices.1"]
    {
        assert!(pages.contains(&page.to_owned()), "no {page} in {pages:?}");
    }
    let train = String::from_utf8(lab.read("pages/man1/sail-train.1")).unwrap();
    for word in [".TH", "projector", "Examples:"] {
        assert!(train.contains(word), "no {word}");
    }
    std::fs::write(lab.path("file"), "").unwrap();
    lab.refuses("man file", 1, &["cannot write to file"]);
}

#[test]
fn encode_dry_run_writes_nothing() {
    let lab = benchmark::lab();
    let lines: Vec<String> =
        (0..5).map(|row| json!({"key": row.to_string(), "caption": "a cat"}).to_string()).collect();
    std::fs::write(lab.path("captions.jsonl"), lines.join("\n")).unwrap();
    let encode = "encode texts --model text --input captions.jsonl --device cpu --out store";
    let before = lab.list();
    let plan = lab.run(&format!("{encode} --dry-run --json")).json();
    let expected = [
        ("model", json!("text")),
        ("revision", Value::Null),
        ("records", json!(5)),
        ("dim", json!(36)),
        ("dtype", json!("f16")),
        ("bytes", json!(5 * 36 * 2)),
        ("pooling", json!("mean")),
        ("device", json!("cpu")),
        ("source", json!("captions.jsonl")),
        ("store", json!("store")),
    ];
    for (field, value) in expected {
        assert_eq!(plan[field], value, "{field}");
    }
    let part =
        lab.run(&format!("{encode} --dry-run --json --dtype f32 --batch 2 --limit 4 --part 2/2")).json();
    assert_eq!((&part["records"], &part["bytes"]), (&2.into(), &(2 * 36 * 4).into()));
    let text = lab.run(&format!("{encode} --dry-run")).succeeded().out;
    for words in ["records     5", "36 values in f16", "nothing was written"] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    assert_eq!(lab.list(), before);
    let rows = lab.run(&format!("{encode} --json")).json();
    assert_eq!((&rows["rows"], &rows["dim"]), (&plan["records"], &plan["dim"]));
    lab.refuses(&format!("{encode} --dry-run"), 2, &["store exists"]);
    let several = "encode texts --model text --input captions.jsonl --device cpu,cpu --batch 2 --out several";
    assert_eq!(lab.run(&format!("{several} --dry-run --json")).json()["device"], "cpu, cpu");
    lab.run(several).succeeded();
    lab.run("encode texts --model text --input captions.jsonl --batch 2 --out one").succeeded();
    let rows = |store: &str| std::fs::read(lab.path(store).join("shard-00000.safetensors")).unwrap();
    assert_eq!(rows("several"), rows("one"));

    std::fs::create_dir(lab.path("photos")).unwrap();
    std::fs::write(lab.path("photos/a.png"), "not read by a dry run").unwrap();
    let images = lab.run("encode images --model vision --input photos --out images --dry-run --json").json();
    assert_eq!(
        (&images["records"], &images["dim"], &images["pooling"]),
        (&1.into(), &48.into(), &"concat".into())
    );
}

#[test]
fn train_dry_run_predicts_the_size_of_the_run() {
    let lab = Lab::new(200);
    let train = format!("{TRAIN} --extra-texts more --holdout 50 --epochs 3 --out run");
    let before = lab.list();
    let plan = lab.run(&format!("{train} --dry-run --json")).json();
    assert_eq!(
        (&plan["pairs"], &plan["holdout"], &plan["caption_sets"]),
        (&150.into(), &50.into(), &2.into())
    );
    let text = lab.run(&format!("{train} --dry-run")).succeeded().out;
    assert!(text.contains("nothing was written"), "{text}");
    assert_eq!(lab.list(), before);
    let result = lab.run(&format!("{train} --json")).json();
    assert_eq!(plan["steps"], result["steps"]);
    let head = lab.run("head show run/head.safetensors --json").json();
    assert_eq!(plan["parameters"], head["parameters"]);
    lab.refuses(&format!("{train} --dry-run"), 2, &["run exists"]);
    lab.refuses(&format!("{train} --dry-run --sweep lr=1e-3"), 2, &["--dry-run", "--sweep"]);
}

#[test]
fn environment_variables_replace_defaults_and_options_replace_both() {
    let lab = Lab::new(100);
    let train = |out: &str, more: &str| format!("{TRAIN} --epochs 1 --out {out} {more}");
    let run = |variable: &str, value: &str, arguments: &str| lab.run_with(&[(variable, value)], arguments);
    run("SAIL_DEVICE", "abacus", &train("a", "")).failed(2, &["unknown device `abacus`"]);
    run("SAIL_DEVICE", "abacus", &train("a", "--device cpu")).succeeded();
    run("SAIL_THREADS", "0", &train("b", "")).failed(2, &["'0' for '--threads"]);
    run("SAIL_THREADS", "1", &train("b", "")).succeeded();
    assert_eq!(run("SAIL_PROGRESS", "never", &train("c", "")).succeeded().err, "");
    assert!(run("SAIL_PROGRESS", "never", &train("d", "--progress plain")).succeeded().err.contains("steps"));
    run("SAIL_PROGRESS", "bar", &train("e", ""))
        .failed(2, &["'bar'", "[possible values: auto, never, plain]"]);
    assert!(run("SAIL_LOG", "sail_train=info", &train("f", "")).succeeded().err.contains("train{"));
    assert!(!run("SAIL_LOG", "sail_extract=info", &train("g", "")).succeeded().err.contains("train{"));
    run("SAIL_LOG", "sail=loud", &train("h", "")).failed(2, &["'sail=loud' for '--log"]);
}

#[test]
fn sweep_keeps_options_of_the_environment_and_global_options() {
    let lab = Lab::new(100);
    let train =
        format!("--threads 1 {TRAIN} --no-verify --holdout 20 --epochs 1 --sweep width=1,2 --json -q");
    let found = lab.run_with(&[("SAIL_DEVICE", "cpu")], &format!("{train} --out swept")).json();
    assert_eq!(found["settings"].as_array().unwrap().len(), 2);
    let device = lab.run_with(&[("SAIL_DEVICE", "abacus")], &format!("{train} --device cpu --out again"));
    device.succeeded();
    assert_eq!(lab.files("swept").len(), lab.files("again").len());
}

#[test]
fn verbosity_decides_what_is_logged() {
    let lab = Lab::new(100);
    let run =
        |out: &str, more: &str| lab.run(&format!("{TRAIN} --epochs 1 --out {out} {more}")).succeeded().err;
    let plain = run("plain", "");
    assert!(plain.contains("1 steps") && !plain.contains("INFO"), "{plain}");
    let verbose = run("verbose", "-v");
    for span in ["INFO", "verify{", "train{", "time.busy"] {
        assert!(verbose.contains(span), "no {span:?} in {verbose}");
    }
    assert_eq!(run("quiet", "--quiet"), "");
    assert_eq!(run("hidden", "--progress never"), "");
    lab.refuses(&format!("{TRAIN} --out x -q -v"), 2, &["--quiet", "--verbose"]);
    // Before the command as well as after it.
    assert_eq!(lab.run(&format!("-q {TRAIN} --epochs 1 --out first")).succeeded().err, "");
}

#[test]
fn the_number_of_threads_does_not_change_the_head() {
    let lab = Lab::new(200);
    for threads in [1, 3] {
        lab.run(&format!("{TRAIN} --epochs 2 --threads {threads} --out run-{threads}")).succeeded();
    }
    assert!(lab.read("run-1/head.safetensors") == lab.read("run-3/head.safetensors"));
}

#[cfg(target_os = "linux")]
#[test]
fn threads_limits_the_pool() {
    let lab = Lab::new(200);
    let threads_of = |threads: usize| {
        let out = format!("run-{threads}");
        let train = format!("{TRAIN} --epochs 1000000 --threads {threads} --out {out}");
        let mut process = lab.start(&train);
        while lab.steps(&out) < 3 && process.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let count = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap().count();
        process.kill().unwrap();
        process.wait().unwrap();
        count
    };
    assert_eq!(threads_of(9) - threads_of(2), 7);
}

#[test]
fn former_spellings_are_understood() {
    let lab = Lab::new(200);
    let train = |options: &str, out: &str| {
        let command =
            format!("train --images images --texts texts --dim 32 --batch 64 --epochs 1 --out {out}");
        lab.run(&format!("{command} {options}")).succeeded();
        lab.read(&format!("{out}/head.safetensors"))
    };
    let new = train("--projector linear --normalization pair-count --micro-batch 16", "new");
    assert!(train("--head linear --normalization pairs --chunk 16", "old") == new);
    let swept = "--holdout 50 --sweep head=linear,mlp";
    train_sweep(&lab, swept);

    let help = lab.run("train --help").succeeded().out;
    for hidden in ["--head", "--chunk", "flex", "pairs]"] {
        assert!(!help.contains(hidden), "{hidden}");
    }
}

fn train_sweep(lab: &Lab, options: &str) {
    let train = "train --images images --texts texts --dim 32 --batch 64 --epochs 1 --out swept --json";
    let found = lab.run(&format!("{train} {options}")).json();
    assert!(lab.path("swept/head=mlp/head.safetensors").exists(), "{found}");
}

/// A lab with a head that records its backbones, and Winoground.
fn lab_with_backbones(vision: &str, text: &str) -> Lab {
    let lab = benchmark::lab();
    let head =
        Head::new(&HeadConfig::new(48, 36, 16, ProjectorConfig::Linear {}), 1, &Device::flex()).unwrap();
    let head = head.with_provenance(Some(&Provenance::new(vision)), Some(&Provenance::new(text)));
    head.save(lab.path("recorded.safetensors")).unwrap();
    benchmark::command(&lab, "winoground", "winoground", "");
    lab
}

#[test]
fn backbones_come_from_the_head_and_features_go_to_the_cache_of_the_user() {
    let lab = lab_with_backbones("vision", "text");
    let named = "eval winoground --data winoground --head head.safetensors --vision vision --text text --cache named --json";
    let named = lab.run(named).json();
    let eval = "eval winoground --data winoground --head recorded.safetensors --json";
    assert_eq!(lab.run(eval).json(), named);
    // The default, on a platform whose user cache can be moved by a variable.
    if cfg!(target_os = "linux") {
        assert!(lab.path("user-cache/sail/features").is_dir());
    }
    let with_cache = |folder: &str| lab.run_with(&[("SAIL_CACHE", folder)], eval);
    assert_eq!(with_cache("moved").json(), named);
    assert_eq!(lab.files("moved").len(), lab.files("named").len());
    assert_eq!(lab.run(&format!("{eval} --vision vision --cache other")).json(), named);
}

#[test]
fn backbones_that_the_head_does_not_name_are_asked_for() {
    let lab = lab_with_backbones("elsewhere", "text");
    let eval = |head: &str| format!("eval winoground --data winoground --head {head}");
    lab.refuses(&eval("head.safetensors"), 2, &["--vision", "does not record its image backbone"]);
    let recorded = eval("recorded.safetensors");
    lab.refuses(&recorded, 1, &["--vision", "`elsewhere` recorded by the head"]);
    lab.refuses(&format!("{recorded} --vision vision"), 1, &["cannot open the model", "elsewhere"]);
}

#[test]
fn revision_is_part_of_the_model() {
    let lab = benchmark::lab();
    std::fs::write(lab.path("captions.txt"), "a cat\n").unwrap();
    let encode = |model: &str| format!("encode texts --input captions.txt --out store --model {model}");
    lab.refuses(&encode("org/model@v1"), 1, &["org/model", "HF_HUB_OFFLINE"]);
    lab.refuses(&encode("org/model@"), 1, &["org/model@"]);
    // The former option.
    lab.refuses(&encode("org/model --revision v1"), 1, &["org/model", "HF_HUB_OFFLINE"]);
    lab.refuses(&encode("text --revision v1"), 2, &["`--revision`", "folder"]);
}

#[test]
fn long_help_ends_with_examples_and_short_help_does_not() {
    let lab = Lab::empty();
    for command in ["", "train", "encode images", "eval retrieval", "store merge"] {
        let Ran { out, .. } = lab.run(&format!("{command} --help")).succeeded();
        assert!(out.contains("\nExamples:\n") && out.contains("Global options:"), "{out}");
        assert!(!lab.run(&format!("{command} -h")).succeeded().out.contains("Examples:"));
    }
}
