//! Symbolic links that are followed.

#![cfg(unix)]

use std::os::unix::fs::symlink;

use super::*;

fn following() -> SourceOptions {
    SourceOptions { follow_links: true, ..SourceOptions::default() }
}

fn outcomes(path: &Path, options: &SourceOptions) -> Vec<(String, bool)> {
    images(path, options).into_iter().map(|record| (record.key, record.value.is_ok())).collect()
}

#[test]
fn links_to_files_and_folders_are_followed_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["pool/cat/0.png", "pool/cat/.hidden/1.png", "pool/dog/0.png", "data/own/0.png"] {
        file(&folder, name, "image");
    }
    file(&folder, "pool/cat/0.txt", "a cat");
    symlink(at("pool/cat"), at("data/cat")).unwrap();
    // The same folder may be linked twice.
    symlink("../pool/cat", at("data/again")).unwrap();
    symlink("../pool/dog/0.png", at("data/dog.png")).unwrap();
    symlink("nowhere", at("data/broken.png")).unwrap();
    let expected = [
        ("again/0.png", true),
        ("broken.png", false),
        ("cat/0.png", true),
        ("dog.png", true),
        ("own/0.png", true),
    ];
    let found = outcomes(&at("data"), &following());
    assert_eq!(found, expected.map(|(key, usable)| (key.to_owned(), usable)));
    let captions = captions(&at("data"), &following());
    assert_eq!((captions[2].key.as_str(), usable(&captions)[2]), ("cat/0.png", Some("a cat")));
    let broken = images(&at("data"), &following());
    assert!(reason(&broken[1]).contains("a link to `nowhere`, which does not exist"), "{:?}", broken[1]);

    let found = outcomes(&at("data"), &SourceOptions::default());
    let expected =
        [("again", false), ("broken.png", false), ("cat", false), ("dog.png", false), ("own/0.png", true)];
    assert_eq!(found, expected.map(|(key, usable)| (key.to_owned(), usable)));
    // A folder of links, and a link as the folder.
    symlink(at("data"), at("linked")).unwrap();
    assert_eq!(outcomes(&at("linked"), &following()).len(), 5);
}

#[test]
fn links_that_lead_back_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["data/a/0.png", "pool/0.png"] {
        file(&folder, name, "image");
    }
    symlink(".", at("data/self")).unwrap();
    symlink("../..", at("data/a/up")).unwrap();
    // Each leads to the other.
    symlink("../../pool", at("data/a/pool")).unwrap();
    symlink("../data/a", at("pool/back")).unwrap();
    let found = outcomes(&at("data"), &following());
    let expected =
        [("a/0.png", true), ("a/pool/0.png", true), ("a/pool/back", false), ("a/up", false), ("self", false)];
    assert_eq!(found, expected.map(|(key, usable)| (key.to_owned(), usable)));
    let records = images(&at("data"), &following());
    assert_eq!(reason(&records[4]), "it is a link to a folder that contains it");
}
