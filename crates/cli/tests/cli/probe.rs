//! `sail probe`, `sail train --sweep` and `sail eval features`.

use std::time::{Duration, Instant};

use sail_vl::core::Modality;
use sail_vl::recipe::Recipe;
use serde_json::Value;

use crate::lab::{IMAGE_DIM, Lab, Ran, TEXT_DIM, TRAIN, key, matrix, mix, row};

const PROBE: &str = "probe --images images --images noise --texts texts --texts more --holdout 60 --dim 32 --batch 60 \
                     --epochs 15 --lr 1e-3 --permutations 19 --resamples 50 --seed 3";

/// A lab with informative image features, and with noise.
fn lab() -> Lab {
    let lab = Lab::new(240);
    // In another order: rows pair by key.
    let noise = (0..240).rev().map(|item| (key(item), row(10_000 + item, 0, IMAGE_DIM)));
    lab.store("noise", Modality::Image, "nothing", noise);
    lab
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn probe_tells_informative_features_from_noise() {
    let lab = lab();
    let found = lab.run(&format!("{PROBE} --report report.html --out probe --json")).json();
    assert_eq!((&found["train_pairs"], &found["holdout"]), (&180.into(), &60.into()));
    let pairs = found["pairs"].as_array().unwrap();
    let names: Vec<[&str; 2]> =
        pairs.iter().map(|pair| ["images", "texts"].map(|side| pair[side].as_str().unwrap())).collect();
    assert_eq!(names, [["images", "texts"], ["images", "more"], ["noise", "texts"], ["noise", "more"]]);
    for pair in pairs {
        let informative = pair["images"] == "images";
        let mutual = &pair["measures"]["mutual_knn"];
        // By chance, ten of sixty are in the first ten.
        assert_eq!(float(&pair["score"]) > 40.0, informative, "{pair}");
        assert_eq!(float(&mutual["score"]) > 0.05, informative, "{pair}");
        assert_eq!(float(&mutual["p_value"]) <= 0.05, informative, "{pair}");
        assert!(float(&pair["maps"]["images"]["trustworthiness"]) > 0.5, "{pair}");
        assert_eq!(float(&pair["aligners"]["ridge"]["i2t"]["r@10"]) > 40.0, informative, "{pair}");
        let [low, high] = ["low", "high"].map(|end| float(&pair["interval"][end]));
        assert!(low <= float(&pair["score"]) && float(&pair["score"]) <= high);
    }
    // The training of the best pair is a recipe, which ends as that of the probe did.
    let best = pairs.iter().rev().max_by(|a, b| float(&a["score"]).total_cmp(&float(&b["score"]))).unwrap();
    let trained = lab.run("train --config probe/best.toml --out run --json").json();
    assert_eq!(trained["holdout"], best["trained"]);
    let mutual = &found["predictors"][0];
    assert_eq!(mutual["name"], "mutual k-NN, calibrated");
    assert!(float(&mutual["pearson"]) > 0.9, "{mutual}");
    let page = String::from_utf8(lab.read("report.html")).unwrap();
    assert!(page.contains("Which encoders align?") && page.contains("What predicts the score"));
    let (columns, rows) = matrix(&page);
    assert_eq!(columns, ["texts", "more"]);
    assert_eq!(rows.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["images", "noise"]);
    for (pair, cell) in pairs.iter().zip(rows.iter().flat_map(|(_, cells)| cells)) {
        assert!((float(&pair["score"]) - cell).abs() < 0.051, "{cell} for {pair}");
        for end in ["low", "high"] {
            assert!(page.contains(&format!("{:.1}", float(&pair["interval"][end]))), "{pair}");
        }
    }
    for predictor in found["predictors"].as_array().unwrap() {
        assert_eq!(predictor["values"].as_array().unwrap().len(), pairs.len(), "{predictor}");
        let title = format!(": r = {:.2}<", float(&predictor["pearson"]));
        assert!(page.contains(predictor["name"].as_str().unwrap()) && page.contains(&title), "{title}");
    }

    let text = lab.run(PROBE).succeeded();
    assert!(text.out.starts_with("180 training pairs, 60 held out"), "{}", text.out);
    // Both pairs with noise differ from both without.
    let significance = &found["significance"]["mutual_knn"];
    let counts = ["cells", "above_chance", "differences"].map(|name| &significance[name]);
    assert_eq!(counts, [4, 2, 6].map(Value::from).each_ref());
    assert!(float(&significance["surviving"]) >= 4.0, "{significance}");
    assert_eq!(significance["maximum"]["p_value"], 0.05);
    let surviving = format!("{} of 6 differences more than chance", significance["surviving"]);
    assert!(text.out.contains("mutual k-NN: 2 of 4 pairs above chance") && text.out.contains(&surviving));
    assert!(page.contains("pairs above chance") && page.contains("2 of 4"));
    lab.refuses(
        &PROBE.replace("--permutations 19", "--permutations 18"),
        2,
        &["permutations", "at least 19"],
    );
    lab.refuses(&format!("{PROBE} --alpha 1"), 2, &["alpha"]);
}

/// The stores in a folder are candidates of one encoder.
#[test]
fn probe_selects_the_best_store_of_a_folder() {
    let lab = lab();
    std::fs::create_dir(lab.path("layers")).unwrap();
    for (from, to) in [("noise", "layers/early"), ("images", "layers/late")] {
        std::fs::rename(lab.path(from), lab.path(to)).unwrap();
    }
    let probe = PROBE.replace("--images images --images noise", "--images layers");
    let found = lab.run(&format!("{probe} --report report.html --out probe --json")).json();
    for pair in found["pairs"].as_array().unwrap() {
        assert_eq!((&pair["images"], &pair["search"]["images"]), (&"layers".into(), &"layers/late".into()));
        assert_eq!(pair["search"]["image_candidates"], Value::from(vec!["layers/early", "layers/late"]));
        assert_eq!(pair["measures"]["mutual_knn"]["p_value"], 0.05);
        assert_eq!(pair["measures"]["cka"]["debiased"]["p_value"], Value::Null);
    }
    let page = String::from_utf8(lab.read("report.html")).unwrap();
    assert!(page.contains("Selected: layers/late with texts"));
    let text = lab.run(&format!("{probe} --out probe --resume")).succeeded();
    assert!(text.out.contains("layers with texts: layers/late with texts, the highest mutual k-NN of 2"));
    let recipe = Recipe::load(lab.path("probe/best.toml")).unwrap();
    assert!(recipe.images.ends_with("late"), "{}", recipe.images);
    // Another candidate is another probe, and what is no store is an error.
    std::fs::rename(lab.path("layers/early"), lab.path("layers/first")).unwrap();
    lab.refuses(&format!("{probe} --out probe --resume"), 2, &["sets"]);
    std::fs::create_dir(lab.path("layers/unfinished")).unwrap();
    lab.refuses(&probe, 1, &["unfinished"]);
}

#[test]
fn killed_probe_resumes_to_the_same_result() {
    let lab = lab();
    let calm = lab.run(&format!("{PROBE} --json")).json();
    let torn = format!("{PROBE} --out torn --json");
    let mut process = lab.start(&torn);
    let start = Instant::now();
    while !lab.path("torn/pair-0-0.json").exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_micros(200));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let first = lab.read("torn/pair-0-0.json");
    let modified = || std::fs::metadata(lab.path("torn/pair-0-0.json")).unwrap().modified().unwrap();
    let written = modified();
    lab.refuses(&torn, 2, &["torn exists", "resume"]);
    assert_eq!(lab.run(&format!("{torn} --resume")).json(), calm);
    assert!(first == lab.read("torn/pair-0-0.json") && written == modified(), "finished parts are kept");
    lab.refuses(&torn.replace("--epochs 15", "--epochs 16 --resume"), 2, &["epochs"]);
    std::fs::write(lab.path("torn/pair-0-1.json"), "{").unwrap();
    lab.refuses(&format!("{torn} --resume"), 1, &["pair-0-1.json", "remove it"]);
}

#[test]
fn rejects_features_that_do_not_match() {
    let lab = lab();
    let fewer = (0..239).map(|item| (key(item), row(item, 0, IMAGE_DIM)));
    lab.store("fewer", Modality::Image, "vision", fewer);
    let twice =
        (0..240).map(|item| (key(item), row(item, 0, IMAGE_DIM))).chain([(key(7), row(7, 0, IMAGE_DIM))]);
    lab.store("twice", Modality::Image, "vision", twice);
    lab.labels("few.safetensors", &[0; 239]);
    lab.labels("negative.safetensors", &(0..240).map(|item| item % 3 - 1).collect::<Vec<_>>());
    let probe = |grid: &str| format!("probe --holdout 60 {grid}");
    lab.refuses(
        &probe("--images images --images fewer --texts texts --unmatched error"),
        1,
        &["`fewer`", "`images`", &key(239)],
    );
    lab.refuses(&probe("--images images --images twice --texts texts"), 1, &["`twice`", &key(7)]);
    lab.refuses(&probe("--images images --images images --texts texts"), 2, &["`images`", "NAME="]);
    lab.refuses(&probe("--images texts --texts texts"), 2, &["text features", "image features"]);
    let labels = |labels: &str| probe(&format!("--images images --texts texts --labels {labels}"));
    lab.refuses(&labels("few.safetensors:labels"), 2, &["239", "240"]);
    lab.refuses(&labels("negative.safetensors:labels"), 2, &["image 0", "-1"]);
    lab.refuses(&labels("folders"), 2, &[&key(0), "CLASS/NAME"]);
    lab.refuses(&probe("--images images --texts texts --mutual-k 0"), 2, &["`mutual_k` is 0"]);
    lab.refuses("probe --images images --texts texts --holdout 240", 2, &["240"]);
}

/// A store with keys CLASS/NAME; the features are those of the class, with noise.
fn in_folders(lab: &Lab, name: &str, items: std::ops::Range<usize>, classes: usize) {
    let rows = items.map(|item| {
        let class = mix(item as u64) as usize % classes;
        let features = row(class, 0, IMAGE_DIM).into_iter().zip(row(5000 + item, 0, IMAGE_DIM));
        (
            format!("class-{class}/{}.png", key(item)),
            features.map(|(class, noise)| class + 0.5 * noise).collect(),
        )
    });
    lab.store(name, Modality::Image, "vision", rows);
}

#[test]
fn classifies_features_by_the_folders_of_their_keys() {
    let lab = Lab::empty();
    in_folders(&lab, "train", 0..200, 4);
    in_folders(&lab, "test", 200..260, 4);
    let found = lab.run("eval features --train train --test test --json").json();
    assert_eq!(
        (&found["n_train"], &found["n_test"], &found["n_classes"]),
        (&200.into(), &60.into(), &4.into())
    );
    assert!(float(&found["knn"]) > 90.0 && float(&found["linear"]) > 90.0, "{found}");
    assert!(float(&found["majority"]) < 50.0 && float(&found["ari"]) > 0.5, "{found}");
    let text = lab.run("eval features --train train --test test").succeeded();
    assert!(text.out.starts_with("200 training images, 60 test images, 4 classes"), "{}", text.out);

    in_folders(&lab, "other", 0..60, 9);
    lab.refuses("eval features --train train --test other", 2, &["class", "has no image in train"]);
    lab.refuses("eval features --train train --test test --knn-k 0", 2, &["`k` is 0"]);
    assert_eq!(float(&found["calibrated"]["knn"]["p_value"]), 1.0 / 201.0);
    assert!(text.out.contains("(p = 0.005)"), "{}", text.out);

    // How well a head keeps neighbours.
    let pairs = Lab::new(120);
    pairs.run(&format!("{TRAIN} --epochs 2 --out run")).succeeded();
    pairs.labels("labels.safetensors", &(0..120).map(|item| item % 3).collect::<Vec<_>>());
    let labels = "--train-labels labels.safetensors:labels --test-labels labels.safetensors:labels";
    let eval = format!("eval features --train images --test images {labels} --head run/head.safetensors");
    let map = &pairs.run(&format!("{eval} --json")).json()["map"];
    assert!(float(&map["trustworthiness"]) > 0.6 && float(&map["continuity"]) > 0.6, "{map}");
    pairs.refuses(&format!("{eval} --map-k 60"), 2, &["`k` is 60", "half"]);
}

const SWEEP: &str = "--holdout 50 --epochs 4 --sweep lr=1e-3,1e-5 --sweep width=1,2 --out swept";

fn sweep() -> String {
    format!("{} {SWEEP}", TRAIN.replace("--lr 1e-3", ""))
}

#[test]
fn sweep_ranks_runs_that_equal_single_runs() {
    let lab = Lab::new(200);
    let found = lab.run(&format!("{} --report sweep.html --json", sweep())).json();
    let settings = found["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 4);
    let recalls: Vec<f64> = settings.iter().map(|setting| float(&setting["mean_recall"])).collect();
    assert!(recalls.windows(2).all(|pair| pair[0] >= pair[1]), "{recalls:?}");
    assert_eq!(
        settings[0]["setting"]["lr"], "1e-3",
        "a hundredth of the learning rate learns nothing: {found}"
    );
    assert_eq!(found["best"], settings[0]["head"]);
    let alone = format!("{} --width 1 --holdout 50 --epochs 4 --out alone", TRAIN.replace("--width 2", ""));
    lab.run(&alone).succeeded();
    assert!(lab.read("alone/head.safetensors") == lab.read("swept/lr=1e-3,width=1/head.safetensors"));
    assert!(String::from_utf8(lab.read("sweep.html")).unwrap().contains("<h1>Sweep</h1>"));
    // The points of a curve are those of the single run with its setting.
    let curves = found["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 4);
    let curve = curves.iter().find(|curve| curve["run"] == "lr=1e-3,width=1").unwrap();
    let steps = curve["steps"].as_array().unwrap();
    assert_eq!(steps.len(), lab.steps("alone"));
    assert!(steps.iter().all(|step| float(&step["loss"]) > 0.0 && float(&step["learning_rate"]) > 0.0));
    let alone = settings.iter().find(|setting| setting["head"] == "swept/lr=1e-3,width=1/head.safetensors");
    assert_eq!(
        curve["evaluations"].as_array().unwrap().last().unwrap()["mean_recall"],
        alone.unwrap()["mean_recall"]
    );
}

#[test]
fn killed_sweep_resumes_to_the_same_result() {
    let lab = Lab::new(200);
    let without_time = |ran: Ran| {
        let mut found = ran.json();
        for setting in found["settings"].as_array_mut().unwrap() {
            setting["seconds"] = Value::Null;
        }
        found
    };
    let mut process = lab.start(&format!("{} --json", sweep()));
    let start = Instant::now();
    while !lab.path("swept/lr=1e-3,width=1/head.safetensors").exists()
        && start.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_micros(200));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    lab.refuses(&sweep(), 2, &["swept", "--resume"]);
    let resumed = without_time(lab.run(&format!("{} --json --resume", sweep())));
    std::fs::rename(lab.path("swept"), lab.path("torn")).unwrap();
    assert_eq!(resumed, without_time(lab.run(&format!("{} --json", sweep()))));
}

#[test]
fn sweep_is_checked_before_its_first_run() {
    let lab = Lab::new(100);
    let with =
        |sweep: &str| format!("{} --holdout 20 --out swept --sweep {sweep}", TRAIN.replace("--lr 1e-3", ""));
    lab.refuses(&with("lr"), 2, &["OPTION=VALUE"]);
    lab.refuses(&with("out=a,b"), 2, &["`out` cannot be swept", "weight-decay"]);
    lab.refuses(&with("lr=1e-3,fast"), 2, &["setting of the sweep", "fast"]);
    lab.refuses(&with("lr=1e-3,-1"), 2, &["learning_rate", "-1"]);
    lab.refuses(&with("lr=1e-3,1e-3"), 2, &["twice"]);
    lab.refuses(&with("lr=1e-3 --sweep lr=1e-4"), 2, &["`lr` is swept twice"]);
    lab.refuses(&with("lr=1e-3").replace("--holdout 20", ""), 2, &["--holdout"]);
}

#[test]
fn all_captions_of_an_image_are_evaluated() {
    let lab = Lab::new(120);
    let texts = (0..240).map(|i| (key(i / 2), row(i / 2, 1 + i % 2, TEXT_DIM)));
    lab.store("two", Modality::Text, "language", texts);
    lab.labels("labels.safetensors", &(0..120).map(|item| item % 3).collect::<Vec<_>>());
    let probe = "probe --images images --texts two --holdout 40 --dim 16 --epochs 2 --permutations 0 --knn-k 5 --json \
                 --labels labels.safetensors:labels --report report.html";
    let found = lab.run(probe).json();
    assert!(String::from_utf8(lab.read("report.html")).unwrap().contains("By class"));
    for side in ["images", "texts"] {
        let labelled = &found[side][0]["labelled"];
        // Classes that are independent of the images.
        assert!(float(&labelled["knn"]) < 70.0 && float(&labelled["ari"]) < 0.3, "{labelled}");
        assert_eq!(labelled["nmi"]["chance"], Value::Null);
    }
    let trained = &found["pairs"][0]["trained"];
    assert_eq!((&trained["n_images"], &trained["n_texts"]), (&40.into(), &80.into()));
    assert_eq!(found["pairs"][0]["measures"]["mutual_knn"]["chance"], Value::Null);
}

#[test]
fn retrieval_reports_correct_and_incorrect_images() {
    let lab = Lab::new(120);
    lab.run(&format!("{TRAIN} --epochs 4 --out run")).succeeded();
    let eval =
        "eval retrieval --head run/head.safetensors --images images --texts texts --report report.html";
    let json = lab.run(&format!("{eval} --json")).json();
    let page = String::from_utf8(lab.read("report.html")).unwrap();
    assert!(
        page.contains(&format!("{:.2} %", float(&json["i2t"]["r@1"]))),
        "the page has the scores of the JSON"
    );
    for word in ["Images: incorrect", "Images: correct", "class=\"matrix\"", &key(0)] {
        assert!(page.contains(word), "no {word:?}");
    }
    crate::benchmark::shown(&json["galleries"], &page);
    let cosines = &json["similarities"]["cosines"];
    assert_eq!((cosines.as_array().unwrap().len(), cosines[9].as_array().unwrap().len()), (10, 10));
    let (columns, rows) = matrix(&page);
    assert_eq!(json["similarities"]["texts"], Value::from(columns));
    for (image, (name, cells)) in rows.into_iter().enumerate() {
        assert_eq!(json["similarities"]["images"][image], name.as_str());
        for (text, cell) in cells.into_iter().enumerate() {
            assert!((float(&cosines[image][text]) - cell).abs() < 0.0051, "{cell} in row {image}");
        }
    }
    std::fs::create_dir(lab.path("photos")).unwrap();
    lab.run(&format!("{eval} --image-dir photos")).failed(2, &["cannot show", "photos/image-"]);
}
