//! Files that are cut short, changed or malicious.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use sail_extract::Event;
use sail_search::{Filter, Index, IndexError};

use crate::support::{Lab, files};

/// An index with every kind of file.
fn index() -> Lab {
    let lab = Lab::new();
    for n in 0..24u8 {
        lab.image(&format!("a/{n:02}.png"), [n, 7, 9]);
    }
    let table = lab.path_of("images/table.csv");
    let rows: String = (0..24).map(|n| format!("a/{n:02}.png,image {n},{n}\n")).collect();
    fs::write(&table, format!("image,caption,number\n{rows}")).unwrap();
    lab.update_with(&lab.index(), Some(&table), &["number"], &mut |_: Event<'_>| ()).unwrap();
    fs::remove_file(lab.path("a/00.png")).unwrap();
    lab.update().unwrap();
    lab
}

/// Reads everything. Errors are expected, panics are not.
fn read(path: &Path) -> Result<(), IndexError> {
    let index = Index::open(path)?;
    for row in 0..index.rows() {
        let entry = index.entry(row)?;
        index.thumbnail(row)?;
        index.embedding(row)?;
        let _ = index.row_of(&entry.id);
    }
    for filter in ["key=*1*", "class=a", "number=3"] {
        index.select(&Filter::parse(filter)?)?;
    }
    let query = vec![1.0; index.manifest().dim];
    index.searcher()?.search(&query, 3, Some(index.live()))?;
    Ok(())
}

fn with(change: impl FnOnce(&Path)) -> Result<(), IndexError> {
    static LAB: LazyLock<Lab> = LazyLock::new(index);
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files(&LAB.index()) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    change(folder.path());
    read(folder.path())
}

fn edit(path: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = path.join("index.json");
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(&path, json.to_string()).unwrap();
}

#[test]
fn verifying_finds_a_changed_byte() {
    let lab = index();
    Index::open(lab.index()).unwrap().verify(|_| ()).unwrap();
    for (name, bytes) in files(&lab.index()) {
        // Nothing says how these should be, or only that they can be read.
        let own = ["index.json", "lock", "skipped.jsonl"].contains(&name.as_str());
        if own || name.ends_with("thumbnails.jpgs") || name.ends_with("codes.safetensors") {
            continue;
        }
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(lab.index().join(&name), changed).unwrap();
        let found = Index::open(lab.index()).and_then(|index| index.verify(|_| ()));
        assert!(found.is_err(), "{name}");
        fs::write(lab.index().join(&name), bytes).unwrap();
    }
    Index::open(lab.index()).unwrap().verify(|_| ()).unwrap();
}

#[test]
fn what_is_wrong_is_named() {
    with(|_| ()).unwrap();
    let message = |change: &dyn Fn(&Path)| with(change).unwrap_err().to_string();
    let newer = message(&|path| edit(path, |json| json["version"] = 2.into()));
    assert!(newer.contains("`version` is 2, expected 1 to 1: use a newer release"), "{newer}");
    let foreign = message(&|path| edit(path, |json| json["format"] = "sail-embeddings".into()));
    assert!(foreign.contains("`format` is `sail-embeddings`, expected `sail-index`"), "{foreign}");
    let rows = message(&|path| edit(path, |json| json["segments"][0]["rows"] = 999.into()));
    assert!(rows.contains("expected 999 image of 4 values"), "{rows}");
    let removed = message(&|path| edit(path, |json| json["removed"]["rows"] = 3.into()));
    assert!(removed.contains("the number of removed rows is 1, expected 3"), "{removed}");
    let unknown = message(&|path| edit(path, |json| json["more"] = 3.into()));
    assert!(unknown.contains("is not a valid index.json"), "{unknown}");
    let number = message(&|path| edit(path, |json| json["segments"][0]["number"] = 77.into()));
    assert!(number.contains("the number of segment 77"), "{number}");
    for name in
        ["../images", "/etc", "segments", "segments/..", "head.safetensors", "removed-1.safetensors/../x"]
    {
        let outside = message(&|path| edit(path, |json| json["superseded"] = vec![name].into()));
        assert!(outside.contains("a name in `superseded`"), "{name}: {outside}");
    }
    message(&|path| fs::remove_dir_all(path.join("segments/000001")).unwrap());
    message(&|path| fs::remove_file(path.join("head.safetensors")).unwrap());
    message(&|path| fs::remove_file(path.join("index.json")).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in the files: values, an error, no panic, and no allocation that the length of a file does not justify.
    #[test]
    fn damaged_files_do_no_harm(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let _ = with(|path| {
            let all = files(path);
            let name = file.get(&all.keys().collect::<Vec<_>>()).to_string();
            let mut bytes = all[&name].clone();
            if bytes.is_empty() {
                return;
            }
            let at = at.index(bytes.len());
            match cut {
                true => bytes.truncate(at),
                false => bytes[at] = byte,
            }
            fs::write(path.join(name), bytes).unwrap();
        });
    }
}
