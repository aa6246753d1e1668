//! Runs the commands of `docs/reproduce.md` on stand-ins: tiny random models under the names of the published ones, and small
//! data in the layout of the published ones. So only the data are missing.

use std::fs;
use std::path::Path;

use png::ColorType;
use serde_json::{Value, json};

use crate::benchmark::{copy, fixtures};
use crate::console::documented;
use crate::lab::Lab;
use crate::segment::write_png;

/// The options that are replaced: a window of 448 pixels has thousands of the stand-in's patches.
const WINDOWS: [&str; 2] =
    ["--short-side 448 --window 448 --stride 224", "--short-side 20 --window 20 --stride 10"];
/// The authors' head is that of the published backbones; the one that the page trains takes its place.
const HEAD: [&str; 2] = ["--head sail-l-nv2", "--head runs/sail-l-nv2/head.safetensors"];

#[test]
fn commands_of_the_paper_run_on_stand_ins() {
    let lab = lab();
    let (mut uses, mut trains) = (Vec::new(), Vec::new());
    for command in documented().into_iter().filter(|command| command.source.starts_with("docs/reproduce.md"))
    {
        let words = command.words[1..].join(" ").replace(WINDOWS[0], WINDOWS[1]);
        match words.contains(HEAD[0]) {
            true => uses.push(words.replace(HEAD[0], HEAD[1])),
            false => trains.push(words),
        }
    }
    assert!(trains.len() > 35 && uses.len() == 8, "{} and {}", trains.len(), uses.len());
    for command in trains.iter().chain(&uses) {
        println!("{command}");
        let ran = lab.run(command);
        match command.ends_with("--json") {
            true => drop(ran.json()),
            false => drop(ran.succeeded()),
        }
    }
    let settings = |run: &str| -> Value {
        serde_json::from_slice(&lab.read(&format!("runs/{run}/config.json"))).unwrap()
    };
    // The rows of the ablation differ in the settings of the table.
    let row = |row: usize| {
        let config = settings(&format!("ablation/{row}"));
        assert_eq!((&config["train"]["epochs"], &config["train"]["seed"]), (&50.into(), &42.into()));
        let head = lab.run(&format!("head show runs/ablation/{row}/head.safetensors --json")).json();
        let layer = &head["config"]["image"]["projector"];
        let kind = |value: &Value| value["kind"].as_str().unwrap().to_owned();
        let width = layer["width"].as_u64().or(layer["expansion"].as_u64());
        (
            kind(layer),
            width,
            kind(&config["loss"]),
            config["loss"]["normalization"].as_str().map(str::to_owned),
        )
    };
    let glu = |width, loss: &str, divisor: Option<&str>| {
        ("glu".to_owned(), Some(width), loss.to_owned(), divisor.map(str::to_owned))
    };
    assert_eq!(row(1), ("linear".into(), None, "info-nce".into(), None));
    assert_eq!(row(2), ("mlp".into(), Some(4), "info-nce".into(), None));
    assert_eq!((row(3), row(4)), (glu(4, "info-nce", None), glu(8, "info-nce", None)));
    assert_eq!(row(5), glu(8, "sigmoid", Some("batch")));
    for last in 6..=8 {
        assert_eq!(row(last), glu(8, "sigmoid", Some("pair-count")));
    }
    assert_eq!(settings("ablation/7")["texts"], "features/cc3m/gte-long");
    assert_eq!(settings("ablation/8")["extra_texts"], json!(["features/cc3m/gte-long"]));
}

/// A lab with the stand-ins.
fn lab() -> Lab {
    let lab = Lab::empty();
    for (family, model) in [
        ("vision/vit_mae", "facebook/vit-mae-base"),
        ("vision/vit_mae", "facebook/vit-mae-large"),
        ("vision/vit_mae", "facebook/vit-mae-huge"),
        ("vision/ijepa", "facebook/ijepa_vith14_1k"),
        ("vision/vit", "facebook/dino-vitb16"),
        ("vision/dinov2", "facebook/dinov2-base"),
        ("vision/dinov2", "facebook/dinov2-large"),
        ("vision/dinov2", "facebook/dinov2-giant"),
        ("text/gte", "Alibaba-NLP/gte-large-en-v1.5"),
        ("text/nv_embed", "nvidia/NV-Embed-v2"),
    ] {
        publish(&lab, family, model);
    }
    for size in ["base", "large"] {
        model(&lab, "vision/ibot_original", &format!("models/ibot-{size}"));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    copy(&root.join("docs/reproduce"), &lab.path("docs/reproduce"));

    let tasks = fixtures("tasks");
    for set in ["cc3m", "cc12m", "yfcc15m"] {
        pairs(&lab, set, &tasks.join("image_folder"));
    }
    for split in ["train", "val"] {
        let folder = lab.path(&format!("data/imagenet/{split}"));
        copy(&tasks.join("image_folder"), &folder);
        fs::remove_file(folder.join("cover.png")).unwrap();
    }
    for (from, to) in [
        ("karpathy/images", "coco"),
        ("karpathy/images/test2014", "flickr30k-images"),
        ("winoground", "winoground"),
        ("mmvp", "mmvp"),
    ] {
        copy(&tasks.join(from), &lab.path(&format!("data/{to}")));
    }
    let mut captions: Value =
        serde_json::from_slice(&fs::read(tasks.join("karpathy/dataset_coco.json")).unwrap()).unwrap();
    fs::write(lab.path("data/dataset_coco.json"), captions.to_string()).unwrap();
    for image in captions["images"].as_array_mut().unwrap() {
        image.as_object_mut().unwrap().remove("filepath");
    }
    captions["dataset"] = "flickr30k".into();
    fs::write(lab.path("data/dataset_flickr30k.json"), captions.to_string()).unwrap();

    scenes(&lab, "ADEChallengeData2016", ["images/validation", "annotations/validation"], "");
    scenes(&lab, "coco-stuff", ["images/val2017", "annotations/val2017"], "_labelTrainIds");
    scenes(&lab, "VOCdevkit/VOC2012", ["JPEGImages", "SegmentationClass"], "");
    fs::create_dir_all(lab.path("data/VOCdevkit/VOC2012/ImageSets/Segmentation")).unwrap();
    fs::write(lab.path("data/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"), "scene\n").unwrap();
    lab
}

/// Copies a tiny random model of a family, with a preprocessing for images of its size.
fn model(lab: &Lab, family: &str, name: &str) {
    let (from, to) = (fixtures("encoders").join(family), lab.path(name));
    copy(&from, &to);
    // The results of the reference, which are no weights.
    for results in ["expected.safetensors", "dense.safetensors"] {
        let _ = fs::remove_file(to.join(results));
    }
    let config: Value = serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    if let Some(side) = config["image_size"].as_u64() {
        let preprocessor = json!({
            "image_processor_type": "BitImageProcessor", "do_resize": true, "size": {"height": side, "width": side},
            "resample": 3, "do_center_crop": false, "do_rescale": true, "rescale_factor": 1.0 / 255.0,
            "do_normalize": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
        });
        fs::write(to.join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    }
}

/// Puts a tiny random model of a family into the hub's cache under an id.
fn publish(lab: &Lab, family: &str, id: &str) {
    let commit = "00112233445566778899aabbccddeeff00112233";
    let repository = format!("hub/models--{}", id.replace('/', "--"));
    model(lab, family, &format!("{repository}/snapshots/{commit}"));
    fs::create_dir_all(lab.path(&repository).join("refs")).unwrap();
    fs::write(lab.path(&repository).join("refs/main"), commit).unwrap();
}

/// A table of images with the columns of DreamLIP.
fn pairs(lab: &Lab, set: &str, classes: &Path) {
    fs::create_dir_all(lab.path("data").join(set)).unwrap();
    let mut table = "image,raw_caption,shortSV_captions,longSV_captions\n".to_owned();
    for class in 0..6 {
        for number in 0..3 {
            let image = format!("{set}/{class}-{number}.png");
            fs::copy(classes.join(format!("n0{class}/{number}.png")), lab.path("data").join(&image)).unwrap();
            table += &format!(
                "{image},dog {class}{number},a {class} and a cat,the house {number} looks {class}\n"
            );
        }
    }
    fs::write(lab.path(&format!("data/{set}.csv")), table).unwrap();
}

/// A set with one scene, whose left is class 1 and whose right class 2.
fn scenes(lab: &Lab, set: &str, folders: [&str; 2], suffix: &str) {
    let [images, masks] = folders.map(|folder| lab.path("data").join(set).join(folder));
    fs::create_dir_all(&images).unwrap();
    fs::create_dir_all(&masks).unwrap();
    let sides: Vec<u8> = (0..24 * 20).map(|pixel| 1 + u8::from(pixel % 24 > 11)).collect();
    let colors: Vec<u8> = sides.iter().flat_map(|side| [100 * side, 90, 30]).collect();
    write_png(&images.join("scene.png"), ColorType::Rgb, &colors);
    write_png(&masks.join(format!("scene{suffix}.png")), ColorType::Grayscale, &sides);
}
