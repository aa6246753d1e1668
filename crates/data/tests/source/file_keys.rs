//! Keys in sources of several files.

use super::bad_tars::tar;
use super::*;

/// Two files with the same content.
fn twice(folder: &tempfile::TempDir, suffix: &str, content: impl AsRef<[u8]>) -> PathBuf {
    for name in ["a", "b"] {
        file(folder, &format!("{name}.{suffix}"), content.as_ref());
    }
    folder.path().join(format!("*.{suffix}"))
}

fn by_source(options: SourceOptions) -> SourceOptions {
    SourceOptions { key_scope: KeyScope::Source, ..options }
}

#[test]
fn keys_that_repeat_begin_with_their_file() {
    use ::tar::EntryType::Regular;
    let folder = tempfile::tempdir().unwrap();
    let default = SourceOptions::default();
    let members: [(&[u8], _, &[u8]); 4] = [
        (b"0.jpg", Regular, b"1"),
        (b"0.txt", Regular, b"one"),
        (b"1.jpg", Regular, b"2"),
        (b"1.txt", Regular, b"two"),
    ];
    for pattern in [
        twice(&folder, "tar", tar(&members)),
        folder.path().to_owned(),
        twice(&folder, "csv", "key,path,caption\n0,x.jpg,one\n1,y.jpg,two\n"),
        twice(
            &folder,
            "jsonl",
            "{\"key\": 0, \"path\": \"x\", \"text\": \"one\"}\n{\"key\": 1, \"text\": \"two\"}\n",
        ),
    ] {
        let expected = ["a/0", "a/1", "b/0", "b/1"];
        assert_eq!(keys(&images(&pattern, &default)), expected, "{}", pattern.display());
        assert_eq!(keys(&captions(&pattern, &default)), expected, "{}", pattern.display());
    }
    // Row numbers.
    let rows = twice(&folder, "tsv", "caption\none\ntwo\n");
    assert_eq!(keys(&captions(&rows, &default)), ["a/1", "a/2", "b/1", "b/2"]);
    let lines = twice(&folder, "txt", "one\n\nthree\n");
    assert_eq!(keys(&captions(&lines, &default)), ["a/1", "a/line 2", "a/3", "b/1", "b/line 2", "b/3"]);
    // A file by itself has its own keys.
    assert_eq!(keys(&captions(&folder.path().join("{a,a}.tsv"), &default)), ["1", "2"]);
    // Names that differ in their suffix only.
    file(&folder, "c.csv", "key,caption\n0,one\n");
    let records = captions(&folder.path().join("{c.csv,a.tsv,a.csv}"), &options("", "", &["caption"]));
    assert_eq!(keys(&records), ["c.csv/0", "a.tsv/1", "a.tsv/2", "a.csv/0", "a.csv/1"]);
}

#[test]
fn paths_are_the_same_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let default = SourceOptions::default();
    file(&folder, "0.jpg", "image");
    let tables = twice(&folder, "csv", "path,text\n0.jpg,one\n,two\n");
    for records in [keys(&images(&tables, &default)), keys(&captions(&tables, &default))] {
        assert_eq!(records, ["0.jpg", "row 2", "0.jpg", "row 2"]);
    }
    // Skipped rows without a key name their file.
    assert_eq!(reason(&captions(&tables, &default)[3]), "the key is empty (in b)");
    let chosen = options("path", "", &[]);
    assert_eq!(keys(&captions(&tables, &chosen))[0], "0.jpg");
    let other = twice(&folder, "tsv", "photo\ttext\n0.jpg\tone\n");
    for records in [
        keys(&images(&other, &options("", "photo", &[]))),
        keys(&captions(&other, &options("", "photo", &[]))),
        keys(&captions(&other, &options("photo", "photo", &[]))),
    ] {
        assert_eq!(records, ["0.jpg", "0.jpg"]);
    }
    let coco = r#"{"images": [{"id": 1, "file_name": "0.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": "a"}]}"#;
    let coco = twice(&folder, "json", coco);
    assert_eq!(keys(&images(&coco, &default)), ["0.jpg", "0.jpg"]);
    assert_eq!(keys(&captions(&coco, &default)), ["0.jpg", "0.jpg"]);
}

#[test]
fn captions_of_a_key_in_two_files_are_an_error_if_keys_are_unique_in_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = twice(&folder, "csv", "key,caption\nx,one\nx,two\n");
    let error = open_captions(&pattern, &by_source(SourceOptions::default())).unwrap().count().unwrap_err();
    let found = matches!(&error, DataError::KeyInFiles { key, first, path }
        if key == "x" && first.ends_with("a.csv") && path.ends_with("b.csv"));
    assert!(found, "{error}");
    file(&folder, "b.csv", "key,caption\ny,one\n");
    assert_eq!(keys(&captions(&pattern, &by_source(SourceOptions::default()))), ["x", "x", "y"]);
    // Captions of one image in two files are usual if they have its path.
    let paths = twice(&folder, "tsv", "path\tcaption\nx.jpg\tone\n");
    assert_eq!(keys(&captions(&paths, &by_source(SourceOptions::default()))), ["x.jpg", "x.jpg"]);
}

#[test]
fn a_name_twice_in_a_tar_is_skipped_on_both_sides() {
    use ::tar::EntryType::Regular;
    let folder = tempfile::tempdir().unwrap();
    let adjacent: Vec<(&[u8], _, &[u8])> = vec![
        (b"0.jpg", Regular, b"red"),
        (b"0.txt", Regular, b"red"),
        (b"0.jpg", Regular, b"blue"),
        (b"0.txt", Regular, b"blue"),
    ];
    let mut apart = adjacent.clone();
    apart.splice(2..2, [(&b"1.jpg"[..], Regular, &b"green"[..]), (b"1.txt", Regular, b"green")]);
    for (members, reason_expected) in [(adjacent, "earlier member of this name"), (apart, "same key")] {
        let path = file(&folder, "a.tar", tar(&members));
        let (images, captions) =
            (images(&path, &SourceOptions::default()), captions(&path, &SourceOptions::default()));
        assert_eq!(images[0].value, Ok(ImageData::Bytes(b"red".to_vec())));
        assert_eq!((images[0].key.as_str(), usable(&captions)[0]), ("0", Some("red")));
        let (image, caption) = (images.last().unwrap(), captions.last().unwrap());
        assert_eq!((image.key.as_str(), caption.key.as_str()), ("0.jpg", "0.txt"));
        assert!(reason(image).contains(reason_expected), "{image:?}");
        assert!(reason(caption).contains(reason_expected), "{caption:?}");
        assert_eq!(images.len() + captions.len(), members.len());
    }
}

#[test]
fn pointers_in_the_place_of_a_source_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, part) in [
        ("a.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("a.tar", "<!DOCTYPE html><html></html>", "HTML page"),
        ("a.json", "<html></html>", "HTML page"),
    ] {
        let error = open_captions(&file(&folder, name, content), &SourceOptions::default()).err().unwrap();
        assert!(matches!(error, DataError::StandIn { .. }) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_key_of_two_images_in_one_table_is_skipped_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    // Two tables, one after the other, as `cat` makes them; two captions of an image are not two images.
    let rows =
        [(0, "a/0.jpg", "one"), (0, "a/0.jpg", "one more"), (1, "a/1.jpg", "two"), (0, "b/0.jpg", "three")];
    for name in rows.map(|(_, path, _)| path) {
        file(&folder, name, "image");
    }
    let lines =
        rows.map(|(key, path, text)| serde_json::json!({"key": key, "path": path, "text": text}).to_string());
    let csv = rows.map(|(key, path, text)| format!("{key},{path},{text}"));
    for (name, content) in
        [("a.jsonl", lines.join("\n")), ("a.csv", format!("key,path,text\n{}\n", csv.join("\n")))]
    {
        let path = file(&folder, name, content);
        let (images, captions) =
            (images(&path, &SourceOptions::default()), captions(&path, &SourceOptions::default()));
        assert_eq!(keys(&images)[..3], ["0", "0", "1"]);
        assert_eq!(keys(&captions), keys(&images));
        assert_eq!(usable(&captions), [Some("one"), Some("one more"), Some("two"), None]);
        for reason in [reason(&images[3]), reason(&captions[3])] {
            assert!(reason.starts_with("the key `0` is that of another image in an earlier row"), "{reason}");
        }
    }
}
