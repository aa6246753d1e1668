//! Files without usable records and options that do not apply are errors.

use super::*;

#[test]
fn skips_invalid_coco_records() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": "x"}, {"id": 3, "file_name": 3}],
        "annotations": [
            {"id": 5, "image_id": 99, "caption": "lost"}, {"id": 4, "image_id": "x", "caption": "nameless"},
            {"id": 3, "image_id": 1, "caption": ""}, {"id": 2, "image_id": 1}, {"id": 1, "image_id": 1, "caption": 7}]}"#;
    let path = file(&folder, "a.json", json);
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(keys(&records), ["a.jpg", "a.jpg", "a.jpg", "annotation 4", "annotation 5"]);
    let reasons: Vec<&str> = records.iter().map(reason).collect();
    let none = "the annotation has no `caption`";
    assert_eq!(
        reasons,
        [none, none, "the caption is empty", "the image has no `file_name`", "the image 99 is missing"]
    );
    let records = images(&path, &SourceOptions::default());
    assert_eq!(keys(&records), ["a.jpg", "image x", "image 3"]);

    for broken in [
        "",
        "[]",
        "{",
        "{\"images\": 1}",
        "[{\"image\": \"a.jpg\", \"caption\": \"a\"}]",
        "{\"images\": [{\"id\": 1}, {\"id\": 1}]}",
        "{\"images\": [{\"id\": 1}, {\"id\": 1.0}]}",
    ] {
        let path = file(&folder, "broken.json", broken);
        let error = open_captions(&path, &SourceOptions::default()).err().unwrap();
        assert!(matches!(error, DataError::Malformed { .. }), "{broken}: {error}");
        assert!(open_images(&path, &SourceOptions::default()).is_err());
    }
}

#[test]
fn missing_columns_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let paths =
        [file(&folder, "a.csv", "one,two\n1,2\n"), file(&folder, "a.jsonl", "{\"one\": 1}\n{\"two\": 2}")];
    for path in &paths {
        let error = open_captions(path, &SourceOptions::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "{} has no usable column `caption`, `captions`, `text`, `comment`, `TEXT`, expected one of `one`, `two`",
                path.display()
            )
        );
        for options in
            [options("", "", &["three"]), options("three", "", &["one"]), options("", "three", &["one"])]
        {
            let error = open_captions(path, &options).err().unwrap();
            assert!(matches!(&error, DataError::NoColumn { wanted, .. } if wanted == "`three`"), "{error}");
        }
        let error = open_images(path, &SourceOptions::default()).err().unwrap();
        assert!(
            matches!(&error, DataError::NoColumn { wanted, .. } if wanted.contains("`file_name`")),
            "{error}"
        );
    }
    for (name, content) in [
        ("empty.csv", &b""[..]),
        ("utf16.csv", b"\xff\xfek\0e\0y\0"),
        ("empty.jsonl", b"\n\n"),
        ("list.jsonl", b"[]\n"),
    ] {
        let error = open_captions(&file(&folder, name, content), &SourceOptions::default()).err().unwrap();
        assert!(matches!(error, DataError::Malformed { .. }), "{name}: {error}");
    }
}

#[test]
fn rejects_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let notes = file(&folder, "notes.md", "hello");
    let lines = file(&folder, "a.txt", "hello");
    let default = SourceOptions::default();
    for (path, wanted) in [
        (notes.as_path(), "images"),
        (&lines, "images"),
        (path, "images"),
        (&path.join("*.tar"), "images"),
        (&path.join("{1..}.tar"), "images"),
    ] {
        let error = open_images(path, &default).err().unwrap();
        assert!(matches!(&error, DataError::NotASource { wanted: found, .. } if *found == wanted), "{error}");
    }
    for path in [notes.as_path(), path] {
        let error = open_captions(path, &default).err().unwrap();
        assert!(matches!(&error, DataError::NotASource { wanted: "captions", .. }), "{error}");
    }
    for absent in ["absent", "absent.csv", "{1..2}.csv"] {
        assert!(matches!(open_captions(&path.join(absent), &default), Err(DataError::Io { .. })), "{absent}");
    }
    #[cfg(not(feature = "parquet"))]
    assert!(matches!(open_captions(&fixture("plain.parquet"), &default), Err(DataError::NoParquet { .. })));
}

#[test]
fn rejects_options_that_do_not_apply() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "a.jpg", "image");
    let lines = file(&folder, "a.txt", "hello");
    let root = SourceOptions { image_root: Some(folder.path().to_owned()), ..SourceOptions::default() };
    #[cfg(feature = "parquet")]
    let bytes = SourceOptions { image_column: Some("picture".to_owned()), ..root.clone() };
    for (path, options, wanted) in [
        (folder.path(), &root, "image_root"),
        (folder.path(), &options("k", "", &[]), "key_column"),
        (folder.path(), &options("", "i", &[]), "image_column"),
        (folder.path(), &SourceOptions { header: false, ..SourceOptions::default() }, "header"),
        (&fixture("lines.jsonl"), &SourceOptions { quotes: false, ..SourceOptions::default() }, "quotes"),
        (&fixture("coco.json"), &options("k", "", &[]), "key_column"),
        #[cfg(feature = "parquet")]
        (&fixture("plain.parquet"), &bytes, "image_root"),
    ] {
        let error = open_images(path, options).err().unwrap();
        assert!(matches!(&error, DataError::SourceOption { option, .. } if *option == wanted), "{error}");
    }
    for (path, options, wanted) in [
        (&lines, &options("", "", &["c"]), "caption_columns"),
        (&fixture("coco.json"), &options("", "", &["c"]), "caption_columns"),
        (&fixture("shards"), &options("k", "", &[]), "key_column"),
    ] {
        let error = open_captions(path, options).err().unwrap();
        assert!(matches!(&error, DataError::SourceOption { option, .. } if *option == wanted), "{error}");
    }
}
