//! `sail dedup`, `sail score` and `sail coverage`.

use std::fs;

use sail_vl::core::Modality;
use serde_json::Value;

use crate::lab::Lab;
use crate::search::indexed;

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

#[test]
fn pairs_are_near_in_both_or_either() {
    let lab = Lab::empty();
    images(&lab);
    let captions = [
        ("a/1.png", [1.0, 0.0]),
        ("a/2.png", [0.0, 1.0]),
        ("b/1.png", [1.0, 0.01]),
        ("b/2.png", [0.02, 2.0]),
        ("b/3.png", [-1.0, 0.0]),
        ("b/4.png", [0.0, -1.0]),
    ];
    lab.store("texts", Modality::Text, "language", captions.map(|(key, row)| (key.to_owned(), row.to_vec())));
    let dedup = "dedup images --texts texts --threshold 0.99 --text-threshold 0.999";
    let text = lab.run(&format!("{dedup} --out both.txt --report r.html")).succeeded().out;
    assert!(
        text.starts_with("6 pairs, 1 near-duplicates of 5 others (cosines of at least 0.99 and 0.999, both)")
    );
    assert!(text.contains("a/1.png: b/1.png 1.000/1.000"), "{text}");
    assert_eq!(lines(&lab, "both.txt"), ["a/1.png", "a/2.png", "b/2.png", "b/3.png", "b/4.png"]);
    let found = lab.run(&format!("{dedup} --match either --out either.txt --json")).json();
    assert_eq!(
        [&found["kept"], &found["largest"][0]["duplicates"][0]["key"]],
        [&Value::from(2), &Value::from("b/1.png")]
    );
    assert_eq!(lines(&lab, "either.txt"), ["a/1.png", "a/2.png"]);
    lab.refuses("dedup images --match both", 2, &["`--texts`"]);
    lab.refuses("dedup images --texts images", 2, &["expected text features"]);
}

/// The index of the tests of `sail search`, with captions: images 0 and 5 are the same.
fn captioned() -> Lab {
    let lab = indexed();
    fs::copy(lab.path("images/a/0.png"), lab.path("images/b/5.png")).unwrap();
    let key = |n: usize| format!("{}/{n}.png", if n < 4 { "a" } else { "b" });
    let captions = ["a cat", "a dog", "a red car", "a tree", "the sea", "a cat"];
    let rows: String = captions.iter().enumerate().map(|(n, text)| format!("{},{text}\n", key(n))).collect();
    fs::write(lab.path("captions.csv"), format!("image,caption\n{rows}")).unwrap();
    lab.run("index images --head head.safetensors --vision vision --text text --captions captions.csv --out index")
        .succeeded();
    lab
}

#[test]
fn an_index_is_curated_with_its_own_model() {
    let lab = captioned();
    let found = lab.run("dedup index --threshold 0.9999 --out unique.txt --report r.html --json").json();
    assert_eq!([&found["rows"], &found["duplicates"]], [6, 1], "{found}");
    assert_eq!(lines(&lab, "unique.txt").len(), 5);
    // Images of the index in the report.
    let page = String::from_utf8(lab.read("r.html")).unwrap();
    assert_eq!(page.matches("data:image/jpeg").count(), 2);
    let both = lab.run("dedup index --match both --threshold 0.9999 --text-threshold 0.9999 --json").json();
    assert_eq!([&both["rows"], &both["duplicates"]], [6, 1], "{both}");

    let scored = "score index --count 3 --out best.txt --scores scores.jsonl --report s.html --json";
    let scored = lab.run(scored).json();
    assert_eq!([&scored["pairs"], &scored["kept"]["pairs"]], [6, 3], "{scored}");
    // A score is that of a search for the caption.
    let hit = lab.run("search index a red car --filter key=a/2.png --json").json();
    let scores: Vec<Value> =
        lines(&lab, "scores.jsonl").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let score = scores.iter().find(|line| line["key"] == "a/2.png").unwrap()["score"].as_f64().unwrap();
    assert!((score - hit["hits"][0]["score"].as_f64().unwrap()).abs() < 1e-4, "{score} {hit}");

    fs::write(lab.path("concepts.txt"), "a cat\na dog\nsnow\n").unwrap();
    let found =
        lab.run("coverage index --concepts concepts.txt --out of.jsonl --report c.html --json").json();
    let concepts = found["concepts"].as_array().unwrap();
    let images: u64 = concepts.iter().map(|concept| concept["images"].as_u64().unwrap()).sum();
    assert_eq!((concepts.len(), images), (3, 6), "{found}");
    assert!(concepts.iter().any(|concept| concept["name"] == "snow"));
    fs::write(lab.path("concepts.csv"), "key,caption\npet,a cat\npet,a dog\nsnow,snow\n").unwrap();
    let found = lab.run("coverage index --concepts concepts.csv --json").json();
    assert_eq!(found["concepts"].as_array().unwrap().len(), 2);

    lab.refuses("score index --head head.safetensors", 2, &["--head"]);
    lab.refuses("dedup index --texts texts", 2, &["`--texts` has no meaning for an index"]);
    lab.refuses("dedup index --report r.html --image-dir images", 2, &["`--image-dir` has no meaning"]);
    lab.refuses("score vision", 1, &["vision is not an index"]);
    lab.refuses("score --head head.safetensors --images images", 2, &["--texts"]);
    fs::write(lab.path("none.txt"), "").unwrap();
    lab.refuses("coverage index --concepts none.txt", 2, &["none.txt has no concepts"]);
}

#[test]
fn an_index_without_captions_has_no_pairs() {
    let lab = indexed();
    lab.refuses("score index", 1, &["has no captions", "--captions"]);
}

#[test]
fn training_takes_the_keys_of_a_list() {
    let lab = Lab::new(40);
    let train = "train --images images --texts texts --projector linear --dim 8 --batch 8 --epochs 2 --holdout 10 --seed 3";
    lab.run(&format!("{train} --out all")).succeeded();
    let holdout = |run: &str| {
        let head = lab.run(&format!("head show {run}/head.safetensors --json")).json();
        head["holdout"]["keys_sha256"].clone()
    };
    let keys: Vec<String> = (0..24).map(crate::lab::key).chain(["absent".to_owned()]).collect();
    fs::write(lab.path("keys.txt"), keys.join("\n")).unwrap();
    let ran = lab.run(&format!("{train} --keys keys.txt --out some")).succeeded();
    assert!(ran.err.contains("1 of the 25 keys in keys.txt are not among the pairs"), "{}", ran.err);
    // The same pairs are held out, whichever the list has.
    assert_eq!(holdout("some"), holdout("all"));
    assert_ne!(holdout("some"), Value::Null);
    let config: Value = serde_json::from_slice(&lab.read("some/config.json")).unwrap();
    assert_eq!((&config["keys"], &config["rows"]), (&"keys.txt".into(), &40.into()));
    assert!(lab.steps("some") < lab.steps("all"));
    lab.run("train --config some/config.json --out again").succeeded();
    assert_eq!(lab.metrics("again").len(), lab.metrics("some").len());

    // Another list is another run.
    lab.run(&format!("{train} --keys keys.txt --resume --out some")).succeeded();
    lab.refuses(&format!("{train} --resume --out some"), 2, &["`keys`"]);
    fs::write(lab.path("none.txt"), "nothing\n").unwrap();
    lab.refuses(&format!("{train} --keys none.txt --out none"), 2, &["none of the 1 keys in none.txt"]);
    lab.refuses(&format!("{train} --keys absent.txt --out none"), 2, &["cannot read the keys in absent.txt"]);
    lab.refuses(&format!("{train} --keys= --out none"), 2, &["`keys` is empty"]);
    assert!(!lab.path("none").exists());
}
