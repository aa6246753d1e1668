//! `sail dedup`, `sail score` and `sail coverage`.

use sail_vl::core::Modality;
use serde_json::Value;

use crate::lab::Lab;

fn lines(lab: &Lab, name: &str) -> Vec<String> {
    String::from_utf8(lab.read(name)).unwrap().lines().map(str::to_owned).collect()
}

/// Three directions, with near-duplicates of the first two.
fn images(lab: &Lab) {
    let rows = [
        ("a/1.png", [1.0, 0.0, 0.0]),
        ("a/2.png", [0.0, 1.0, 0.0]),
        ("b/1.png", [2.0, 0.02, 0.0]),
        ("b/2.png", [0.0, 0.0, 1.0]),
        ("b/3.png", [0.0, 1.0, 0.1]),
        ("b/4.png", [5.0, 0.0, 0.01]),
    ];
    lab.store("images", Modality::Image, "vision", rows.map(|(key, row)| (key.to_owned(), row.to_vec())));
}

#[test]
fn dedup_keeps_one_row_of_each_cluster() {
    let lab = Lab::empty();
    images(&lab);
    let found = lab.run(
        "dedup images --threshold 0.99 --out kept.txt --removed removed.jsonl --clusters clusters.jsonl \
         --report report.html --json",
    );
    let found = found.json();
    assert_eq!([&found["rows"], &found["kept"], &found["duplicates"], &found["clusters"]], [6, 3, 3, 2]);
    assert_eq!(lines(&lab, "kept.txt"), ["a/1.png", "a/2.png", "b/2.png"]);
    let removed = ["b/1.png", "b/3.png", "b/4.png"].map(|key| format!("{{\"key\":\"{key}\"}}"));
    assert_eq!(lines(&lab, "removed.jsonl"), removed);
    let largest: Value = serde_json::from_str(&lines(&lab, "clusters.jsonl")[0]).unwrap();
    assert_eq!(largest["kept"], "a/1.png");
    assert_eq!(largest["duplicates"][1]["key"], "b/4.png");
    let report = String::from_utf8(lab.read("report.html")).unwrap();
    assert!(report.contains("Near-duplicates") && report.contains("a/1.png"), "{report}");

    let without = lab.run("store filter images --keys removed.jsonl --invert --out unique --json").json();
    assert_eq!(without["rows"], 3);
    let text = lab.run("dedup unique --threshold 0.99").succeeded().out;
    assert!(text.starts_with("3 rows, 0 near-duplicates of 3 others"), "{text}");
}

#[test]
fn a_key_with_several_captions_is_kept_if_one_of_them_is() {
    let lab = Lab::empty();
    let rows = [("x", [1.0, 0.0]), ("y", [1.0, 0.0]), ("y", [0.0, 1.0]), ("z", [0.0, 2.0])];
    lab.store("texts", Modality::Text, "language", rows.map(|(key, row)| (key.to_owned(), row.to_vec())));
    let found = lab.run("dedup texts --out kept.txt --removed removed.txt --json").json();
    assert_eq!([&found["kept"], &found["keys"]["kept"], &found["keys"]["removed"]], [2, 2, 1]);
    assert_eq!(
        (lines(&lab, "kept.txt"), lines(&lab, "removed.txt")),
        (vec!["x".into(), "y".into()], vec!["z".into()])
    );
}

#[test]
fn dedup_refuses_what_has_no_meaning() {
    let lab = Lab::empty();
    images(&lab);
    lab.refuses("dedup images --threshold 1.5 --out kept.txt", 2, &["`threshold` is 1.5", "at most 1"]);
    lab.refuses("dedup nowhere --out kept.txt", 1, &["nowhere"]);
    lab.store("odd", Modality::Image, "vision", [("two\nlines".to_owned(), vec![1.0])]);
    lab.refuses("dedup odd --out kept.txt", 2, &["two\\nlines", "kept.jsonl"]);
    lab.run("dedup odd --out kept.jsonl").succeeded();
    let filtered = lab.run("store filter odd --keys kept.jsonl --out same --json").json();
    assert_eq!(filtered["rows"], 1);
    std::fs::create_dir(lab.path("photos")).unwrap();
    lab.refuses("dedup images --report r.html --image-dir photos", 2, &["nor any other image"]);
}

#[test]
fn score_keeps_pairs_that_match() {
    let lab = Lab::new(200);
    lab.run("fit ridge --images images --texts texts --out head.safetensors").succeeded();
    let score = "score --head head.safetensors --images images --texts texts";
    let found = lab
        .run(&format!("{score} --quantile 0.75 --out best.txt --scores scores.jsonl --report r.html --json"))
        .json();
    assert_eq!([&found["pairs"], &found["kept"]["pairs"]], [200, 50]);
    let mean = |name: &str| found[name]["mean"].as_f64().unwrap();
    assert!(mean("matched") > mean("mismatched") + 0.2, "{found}");
    let scores: Vec<Value> =
        lines(&lab, "scores.jsonl").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut ordered: Vec<&Value> = scores.iter().collect();
    ordered.sort_by(|a, b| b["score"].as_f64().unwrap().total_cmp(&a["score"].as_f64().unwrap()));
    let best = lines(&lab, "best.txt");
    assert!(ordered[..50].iter().all(|line| best.iter().any(|key| line["key"] == **key)));
    for store in ["images", "texts"] {
        lab.run(&format!("store filter {store} --keys best.txt --out best-{store}")).succeeded();
    }
    let again =
        lab.run("score --head head.safetensors --images best-images --texts best-texts --json").json();
    let lowest = again["matched"]["quantiles"][0][1].as_f64().unwrap();
    assert!((lowest - found["kept"]["lowest"].as_f64().unwrap()).abs() < 1e-6);

    let text = lab.run(&format!("{score} --count 7")).succeeded().out;
    assert!(text.contains("7 pairs to keep, with a cosine of at least"), "{text}");
    lab.refuses(&format!("{score} --threshold 2 --out none.txt"), 2, &["none of the 200 pairs"]);
    lab.refuses(&format!("{score} --quantile 1.5"), 2, &["`quantile` is 1.5"]);
    lab.refuses(&format!("{score} --out some.txt"), 2, &["--threshold"]);
}

#[test]
fn coverage_counts_the_images_of_concepts() {
    let lab = Lab::new(60);
    lab.run("fit ridge --images images --texts texts --out head.safetensors").succeeded();
    let coverage = "coverage --head head.safetensors --images images --concepts texts";
    let found = lab.run(&format!("{coverage} --out concepts.jsonl --report r.html --json")).json();
    assert_eq!([&found["images"], &found["unassigned"]], [60, 0]);
    let concepts = found["concepts"].as_array().unwrap();
    let images: u64 = concepts.iter().map(|concept| concept["images"].as_u64().unwrap()).sum();
    let missing = concepts.iter().filter(|concept| concept["images"] == 0).count();
    assert_eq!((concepts.len(), images, missing), (60, 60, found["missing"].as_array().unwrap().len()));
    // The concepts are the captions of the images, so most images fall to their own.
    let own = lines(&lab, "concepts.jsonl")
        .iter()
        .filter(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["key"] == line["concept"]
        })
        .count();
    assert!(own > 30, "{own}");
    let none = lab.run(&format!("{coverage} --threshold 1.5 --json")).json();
    assert_eq!([&none["unassigned"], &none["concepts"][0]["images"]], [60, 0]);
}
