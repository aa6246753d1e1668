//! `sail index` with tiny random backbones.

use std::fs;

use png::ColorType;
use sail_vl::burn::tensor::Device;
use sail_vl::hub::HubOptions;
use sail_vl::search::{Embedder, Filter, Index};
use sail_vl::{BackboneOptions, SailModel};
use serde_json::Value;

use crate::benchmark::lab;
use crate::lab::Lab;
use crate::segment::write_png;

const COMMAND: &str = "index images --head head.safetensors --vision vision --text text --out index";

fn images(lab: &Lab) {
    fs::create_dir_all(lab.path("images/a")).unwrap();
    for n in 0..6u8 {
        let pixels: Vec<u8> = (0..24 * 20 * 3).map(|at| (at as u8).wrapping_mul(n + 1)).collect();
        write_png(&lab.path(&format!("images/a/{n}.png")), ColorType::Rgb, &pixels);
    }
    let rows: String = (0..6).map(|n| format!("a/{n}.png,photo {n},{}\n", 2020 + n % 2)).collect();
    fs::write(lab.path("notes.csv"), format!("image,caption,year\n{rows}")).unwrap();
}

fn counts(result: &Value) -> [u64; 5] {
    ["images", "unchanged", "added", "removed", "embedded"].map(|name| result[name].as_u64().unwrap())
}

#[test]
fn an_index_is_made_updated_and_opened_again() {
    let lab = lab();
    images(&lab);
    let before = lab.list();
    let plan = lab.run(&format!("{COMMAND} --dry-run --json")).json();
    assert_eq!((&plan["images"], &plan["dim"]), (&6.into(), &16.into()));
    assert_eq!(lab.list(), before);

    let first = lab.run(&format!("{COMMAND} --captions notes.csv --columns year --batch 4 --json")).json();
    assert_eq!((counts(&first), &first["noted"]), ([6, 0, 6, 0, 6], &6.into()));
    fs::remove_file(lab.path("images/a/5.png")).unwrap();
    fs::write(lab.path("images/broken.png"), "no image").unwrap();
    let again = lab.run(COMMAND).succeeded().out;
    assert!(again.starts_with("5 images: 0 added, 0 changed, 0 moved, 1 removed, 5 unchanged\n"), "{again}");
    assert!(again.contains("1 skipped, see index/skipped.jsonl"), "{again}");
    let shown = lab.run("index show index").succeeded().out;
    for words in
        ["images      5", "6 in 1 segments, 1 removed", "codes       bit", "256 pixels", "columns     year"]
    {
        assert!(shown.contains(words), "{shown}");
    }
    assert_eq!(lab.run("index verify index --json").json()["sound"], true);

    // Nothing but the index is needed to search it.
    let index = Index::open(lab.path("index")).unwrap();
    let hub = HubOptions::new(lab.path("hub"));
    let model = SailModel::for_index(&index, &BackboneOptions::default(), &hub, &Device::flex()).unwrap();
    assert_eq!(model.identity().unwrap(), index.manifest().identity);
    let query = model.embed_texts(&["a photo"]).unwrap().remove(0);
    let among = index.select(&Filter::parse("year=2020").unwrap()).unwrap();
    let hits = index.searcher().unwrap().search(&query, 9, Some(&among)).unwrap().remove(0);
    let mut found: Vec<_> = hits.iter().map(|hit| index.entry(hit.row).unwrap().key).collect();
    found.sort();
    assert_eq!(found, ["a/0.png", "a/2.png", "a/4.png"]);
}

#[test]
fn what_cannot_be_indexed_is_refused() {
    let lab = lab();
    images(&lab);
    lab.refuses("index", 2, &["SOURCE"]);
    lab.refuses(&format!("{COMMAND} --thumbnails many"), 2, &["--thumbnails"]);
    lab.refuses(&format!("{COMMAND} --codes 4bit"), 2, &["'4bit'", "bit, int8, none"]);
    lab.refuses(&COMMAND.replace("index images", "index absent"), 1, &["cannot use absent"]);
    lab.refuses(
        &COMMAND.replace("--out index", "--out vision"),
        2,
        &["vision exists already", "another folder"],
    );
    lab.refuses("index show vision", 1, &["vision is not an index", "index.json is missing"]);
    lab.run(COMMAND).succeeded();
    lab.refuses(&format!("{COMMAND} --codes int8"), 2, &["`codes` is int8", "made with bit"]);
    fs::write(lab.path("index/index.json"), "{\"format\": \"sail-index\", \"version\": 9}").unwrap();
    lab.refuses("index show index", 1, &["`version` is 9", "use a newer release"]);
}
