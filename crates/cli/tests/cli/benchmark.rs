//! `sail eval` on benchmarks, with tiny random backbones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sail_vl::burn::tensor::Device;
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use serde_json::{Value, json};

use crate::lab::{Lab, matrix};

/// Returns the fixtures of another crate of the workspace.
pub(crate) fn fixtures(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("tests/fixtures").canonicalize().unwrap()
}

/// A lab with the models `vision` (hidden size 24, so 48 values per image) and `text` (36 values), and
/// `head.safetensors`.
pub(crate) fn lab() -> Lab {
    let lab = Lab::empty();
    copy(&fixtures("encoders").join("vision/dinov2"), &lab.path("vision"));
    copy(&fixtures("encoders").join("text/bert_mean"), &lab.path("text"));
    let size = json!({"height": 20, "width": 20});
    let preprocessor = json!({
        "image_processor_type": "BitImageProcessor", "do_resize": true, "size": size, "resample": 3,
        "do_center_crop": false, "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
        "do_convert_rgb": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    });
    std::fs::write(lab.path("vision/preprocessor_config.json"), preprocessor.to_string()).unwrap();
    head(&lab, "head.safetensors", 1);
    lab
}

fn head(lab: &Lab, name: &str, seed: u64) {
    let config = HeadConfig::new(48, 36, 16, ProjectorConfig::Linear {});
    Head::new(&config, seed, &Device::flex()).unwrap().save(lab.path(name)).unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Returns a command on the data of a task, which is copied to the lab under the same name.
pub(crate) fn command(lab: &Lab, task: &str, data: &str, more: &str) -> String {
    if !lab.path(data).exists() {
        copy(&fixtures("tasks").join(data), &lab.path(data));
    }
    format!(
        "eval {task} --head head.safetensors --vision vision --text text --cache cache --data {data} {more}"
    )
}

fn percent(value: &Value) -> f64 {
    let value = value.as_f64().unwrap();
    assert!((0.0..=100.0).contains(&value), "{value}");
    value
}

#[test]
fn scores_pairs_and_lists_skipped_items() {
    let lab = lab();
    let winoground = command(&lab, "winoground", "winoground", "");
    let result = lab.run(&format!("{winoground} --json")).json();
    assert_eq!((&result["n_examples"], &result["skipped"]["count"]), (&15.into(), &1.into()));
    let [text, image, group] = ["text", "image", "group"].map(|score| percent(&result[score]));
    assert!(group <= text.min(image), "{result}");
    let ran = lab.run(&winoground).succeeded();
    assert!(ran.out.starts_with("15 examples\ntext "), "{}", ran.out);
    assert!(ran.out.contains("1 skipped") && ran.out.contains("ex_6_img_1.png"), "{}", ran.out);

    let result = lab.run(&command(&lab, "mmvp", "mmvp", "--json")).json();
    let categories = result["categories"].as_array().unwrap();
    let mean = categories.iter().map(|category| percent(&category["accuracy"])).sum::<f64>() / 3.0;
    assert!((percent(&result["score"]) - mean).abs() < 1e-9);
    assert_eq!(result["n_pairs"], 11);

    let result =
        lab.run(&command(&lab, "sugarcrepe", "sugarcrepe", "--image-dir sugarcrepe/val2017 --json")).json();
    assert_eq!((&result["n_items"], &result["subsets"][0]["name"]), (&83.into(), &"replace_obj".into()));
    let ran = lab.run(&command(&lab, "sugarcrepe", "sugarcrepe", "--image-dir sugarcrepe/val2017"));
    assert!(ran.succeeded().out.contains("mean over the subsets"));
}

/// Examples whose scores do not depend on the model.
#[test]
fn identical_images_score_zero() {
    let lab = lab();
    copy(&fixtures("tasks").join("winoground"), &lab.path("twice"));
    let lines = std::fs::read_to_string(lab.path("twice/examples.jsonl")).unwrap();
    let lines: Vec<String> = lines
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["image_1"] = line["image_0"].clone();
            line.to_string()
        })
        .collect();
    std::fs::write(lab.path("twice/examples.jsonl"), lines.join("\n")).unwrap();
    let result = lab.run(&command(&lab, "winoground", "twice", "--json")).json();
    let found = ["text", "image", "group", "n_examples"].map(|key| result[key].as_f64().unwrap());
    assert_eq!(found, [0.0, 0.0, 0.0, 16.0]);
}

/// The scores are those of the stores that `sail encode` writes.
#[test]
fn captions_and_classes_agree_with_stores_of_the_same_data() {
    let lab = lab();
    let task = command(&lab, "captions", "karpathy", "--image-dir karpathy/images --split val --json");
    let mut found = lab.run(&task.replace("--data karpathy", "--data karpathy/dataset_coco.json")).json();
    found.as_object_mut().unwrap().remove("skipped");
    let dataset: Value = serde_json::from_slice(&lab.read("karpathy/dataset_coco.json")).unwrap();
    let images = dataset["images"].as_array().unwrap().iter().filter(|image| image["split"] == "val");
    let lines: Vec<String> = images
        .flat_map(|image| {
            let key = &image["filename"];
            let captions = image["sentences"].as_array().unwrap().iter().take(5);
            captions
                .map(|caption| json!({"key": key, "caption": caption["raw"]}).to_string())
                .collect::<Vec<_>>()
        })
        .collect();
    std::fs::write(lab.path("captions.jsonl"), lines.join("\n")).unwrap();
    lab.run("encode images --model vision --input karpathy/images/val2014 --dtype f32 --out images")
        .succeeded();
    lab.run("encode texts --model text --input captions.jsonl --dtype f32 --out texts").succeeded();
    let mut stores =
        lab.run("eval retrieval --head head.safetensors --images images --texts texts --json").json();
    stores.as_object_mut().unwrap().remove("pairing");
    assert_eq!(found, stores);

    let task = command(&lab, "classify", "image_folder", "--json");
    let found = lab.run(&task).json();
    std::fs::remove_file(lab.path("image_folder/cover.png")).unwrap();
    let classes = found["classes"].as_array().unwrap().iter().enumerate();
    let prompts = classes.map(|(class, name)| {
        let name = name.as_str().unwrap();
        json!({"key": format!("{class}"), "caption": format!("a photo of a {name}.")}).to_string()
    });
    std::fs::write(lab.path("prompts.jsonl"), prompts.collect::<Vec<_>>().join("\n")).unwrap();
    lab.run("encode images --model vision --input image_folder --dtype f32 --out class-images").succeeded();
    lab.run("encode texts --model text --input prompts.jsonl --dtype f32 --out prompts").succeeded();
    lab.labels("labels.safetensors", &(0..18).map(|row| row / 3).collect::<Vec<_>>());
    let stores = "eval zero-shot --head head.safetensors --images class-images --prompts prompts --json";
    let stores = lab.run(&format!("{stores} --labels labels.safetensors:labels")).json();
    for (key, value) in stores.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    assert_eq!((&found["skipped"]["count"], &found["n_templates"]), (&1.into(), &1.into()));
}

/// Adds a folder to the cache of the hub as a data set, in the layout of a download: files by hash, and links to them.
#[cfg(unix)]
fn publish(lab: &Lab, folder: &Path, id: &str) {
    const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";
    let repository = lab.path("hub").join(format!("datasets--{}", id.replace('/', "--")));
    let snapshot = repository.join("snapshots").join(COMMIT);
    let mut listing = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap();
            let hash = format!("{:040x}", listing.len());
            let (blob, link) = (repository.join("blobs").join(&hash), snapshot.join(name));
            for path in [&blob, &link] {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            }
            let size = std::fs::copy(&path, &blob).unwrap();
            let up = "../".repeat(name.components().count() + 1);
            std::os::unix::fs::symlink(format!("{up}blobs/{hash}"), &link).unwrap();
            listing.push(json!({"name": name, "size": size, "hash": hash}));
        }
    }
    for (name, text) in
        [("refs/main", COMMIT), (&format!(".listing/{COMMIT}.json"), &json!(listing).to_string())]
    {
        let path = repository.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The scores are those of folders, without a connection.
#[cfg(unix)]
#[test]
fn reads_data_sets_by_id() {
    let lab = lab();
    for (task, data, more) in [
        ("winoground", "winoground", ""),
        ("mmvp", "mmvp", ""),
        ("sugarcrepe", "sugarcrepe", "--image-dir sugarcrepe"),
        ("captions", "karpathy", "--image-dir karpathy --split val"),
        ("classify", "image_folder", ""),
        ("classify", "web_dataset", ""),
    ] {
        let fixture = fixtures("tasks").join(data);
        publish(&lab, &fixture, &format!("org/{data}"));
        let images = [("sugarcrepe", "sugarcrepe/val2017"), ("karpathy", "karpathy/images")];
        for (set, folder) in images.iter().filter(|(set, _)| *set == data) {
            publish(&lab, &fixtures("tasks").join(folder), &format!("org/{set}-images"));
        }
        let here = command(&lab, task, data, &format!("{more} --json"));
        let here = images.iter().fold(here, |here, (set, folder)| {
            here.replace(&format!("--image-dir {set}"), &format!("--image-dir {folder}"))
        });
        let there = command(&lab, task, data, &format!("{more} --json"))
            .replace(&format!("--data {data}"), &format!("--data org/{data}@main"))
            .replace(&format!("--image-dir {data}"), &format!("--image-dir org/{data}-images"));
        let (mut here, mut there) = (lab.run(&here).json(), lab.run(&there).json());
        if data == "image_folder" {
            // An image outside the class folders is not downloaded.
            for found in [&mut here, &mut there] {
                found.as_object_mut().unwrap().remove("skipped");
            }
        }
        assert_eq!(here, there, "{data}");
    }
    let absent = command(&lab, "mmvp", "mmvp", "").replace("--data mmvp", "--data org/winoground");
    lab.run(&absent)
        .failed(1, &["cannot use the data set org/winoground", "none of the files", "Questions.csv"]);
}

#[test]
fn second_head_reads_the_cache() {
    let lab = lab();
    let task = command(&lab, "classify", "web_dataset", "--json");
    let first = lab.run(&task);
    assert!(first.err.contains("18 records"), "{}", first.err);
    let first = first.json();
    assert_eq!((&first["n_images"], &first["absent_classes"]), (&17.into(), &1.into()));
    let files = lab.files("cache");
    head(&lab, "other.safetensors", 2);
    let second = lab.run(&task.replace("head.safetensors", "other.safetensors"));
    assert_eq!(second.err, "", "nothing is encoded");
    assert_ne!(second.json(), first);
    assert_eq!(lab.files("cache"), files);
    let ensemble = format!("{task} --template {{}} --template the_{{c}}");
    assert_eq!(lab.run(&ensemble).json()["n_templates"], 2);
}

/// Checks that a page shows the single images of the JSON.
pub(crate) fn shown(galleries: &Value, html: &str) {
    let of = |verdict: &str| galleries[verdict].as_array().unwrap();
    for (verdict, count) in [("wrong", "n_wrong"), ("right", "n_right")] {
        assert!(html.contains(&format!("{} of {}, evenly spread", of(verdict).len(), galleries[count])));
        for answer in of(verdict) {
            let candidates = answer["candidates"].as_array().unwrap();
            assert_eq!(candidates[0]["correct"], verdict == "right");
            assert!(html.contains(answer["key"].as_str().unwrap()), "{answer}");
            for candidate in candidates {
                let score = format!("{:.2}", candidate["score"].as_f64().unwrap()).replace('-', "\u{2212}");
                assert!(html.contains(candidate["label"].as_str().unwrap()), "{candidate}");
                assert!(html.contains(&score), "{candidate}");
            }
        }
    }
}

/// Checks all cells of a page's confusion matrix.
fn confusion_is_shown(found: &Value, html: &str) {
    let cells: BTreeMap<[usize; 2], f64> = found["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| {
            (
                ["truth", "found"].map(|side| cell[side].as_u64().unwrap() as usize),
                cell["times"].as_f64().unwrap(),
            )
        })
        .collect();
    let classes: BTreeSet<usize> = cells.keys().flatten().copied().collect();
    let names: Vec<&str> = classes.iter().map(|&class| found["classes"][class].as_str().unwrap()).collect();
    let (columns, rows) = matrix(html);
    assert_eq!(columns, names);
    assert_eq!(rows.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    for (&truth, (_, row)) in classes.iter().zip(rows) {
        let times = |&class: &usize| cells.get(&[truth, class]).copied().unwrap_or(0.0);
        assert_eq!(row, classes.iter().map(times).collect::<Vec<_>>(), "class {truth}");
    }
}

#[test]
fn reports_show_correct_and_incorrect_images() {
    let lab = lab();
    for (task, data, more) in [
        ("classify", "web_dataset", ""),
        ("classify", "image_folder", ""),
        ("captions", "karpathy/dataset_coco.json", "--image-dir karpathy/images"),
    ] {
        command(&lab, task, data.split('/').next().unwrap(), "");
        let command = command(&lab, task, data, more);
        let plain = lab.run(&format!("{command} --json")).json();
        let mut reported = lab.run(&format!("{command} --json --report out.html")).json();
        let html = String::from_utf8(lab.read("out.html")).unwrap();
        let galleries = reported.as_object_mut().unwrap().remove("galleries").unwrap();
        assert_eq!(reported, plain, "the same scores");
        shown(&galleries, &html);
        if task == "classify" {
            let times = |cell: &Value| cell["times"].as_u64().unwrap();
            let images: u64 = plain["confusion"].as_array().unwrap().iter().map(times).sum();
            assert_eq!(plain["n_images"], images);
            assert!(html.contains(" classes, in images."));
            confusion_is_shown(&plain, &html);
        }
        let images = html.matches("data:image/jpeg;base64,").count();
        assert!((12..=24).contains(&images), "{images}");
        let score = if task == "classify" { &plain["top1"] } else { &plain["i2t"]["r@1"] };
        assert!(html.contains(&format!("{:.2} %", percent(score))));
        for heading in ["Images: incorrect", "Images: correct", "Skipped", "Settings"] {
            assert!(html.contains(heading), "{heading}");
        }
        assert_eq!(html.contains("most often confused with"), task == "classify");
    }
}

#[test]
fn exit_codes_tell_invalid_usage_from_invalid_data() {
    let lab = lab();
    let captions = command(&lab, "captions", "karpathy", "--image-dir karpathy/images");
    let captions = captions.replace("--data karpathy", "--data karpathy/dataset_coco.json");
    let classify = command(&lab, "classify", "image_folder", "");
    for (command, code, words) in [
        (format!("{captions} --split restval"), 2, ["`restval`", "test (14), train (2), val (14)"]),
        (format!("{captions} --device abacus"), 2, ["`abacus`", "expected one of cpu"]),
        (format!("{captions} --dtype f8"), 2, ["'f8'", "[possible values: f16, bf16, f32, int8]"]),
        (format!("{captions} --batch 0"), 2, ["`block` is 0", "at least 1"]),
        (format!("{classify} --template image"), 2, ["`image`", "no placeholder"]),
        (
            "encode images --model vision --input image_folder --key-column id --out x".to_owned(),
            2,
            ["`key_column` does not apply", "a folder of images"],
        ),
        (
            classify.replace("--head head", "--head absent"),
            1,
            ["cannot open the model", "absent.safetensors"],
        ),
        (
            classify.replace("--data image_folder", "--data absent"),
            1,
            ["`absent`", "neither a folder nor an id"],
        ),
        (
            classify.replace("--data image_folder", "--data no/such"),
            1,
            ["`no/such`", "HF_HUB_OFFLINE disables downloads"],
        ),
        (
            captions.replace("captions ", "winoground ").replace(" --image-dir karpathy/images", ""),
            1,
            ["examples.jsonl", "Winoground"],
        ),
    ] {
        lab.refuses(&command, code, &words);
    }
    lab.refuses(&format!("{captions} --captions 0"), 2, &["'0' for '--captions"]);
}
