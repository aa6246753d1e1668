//! Rows that cannot be used say why; files that cannot be used are errors.

use super::*;

fn file(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn small() -> SourceOptions {
    SourceOptions { max_image_bytes: 100, max_text_bytes: 40, ..SourceOptions::default() }
}

#[test]
fn rows_of_csv() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(100);
    let content = [
        b"key,caption\nok,fine\n,no key\nempty,\nspace, \t\nfew\nmany,a,b\nlatin,\xe9\n\xff,key\n".to_vec(),
        format!("long,{long}\n").into_bytes(),
        b"after,good\nopen,\"never closed\n1,2\n".to_vec(),
        long.repeat(10_000).into_bytes(),
    ];
    let records = captions(&file(&folder, "a.csv", content.concat()), &small());
    let reasons: Vec<(&str, &str)> = records
        .iter()
        .map(|r| (r.key.as_str(), r.value.as_ref().map_or_else(String::as_str, String::as_str)))
        .collect();
    assert_eq!(reasons[0], ("ok", "fine"));
    assert_eq!(reasons[1], ("row 2", "the key is empty"));
    assert_eq!(reasons[2], ("empty", "the caption is empty"));
    assert_eq!(reasons[3], ("space", "the caption is empty"));
    assert_eq!(reasons[4], ("row 5", "the row has 1 fields, expected 2 as the header has"));
    assert_eq!(reasons[5], ("row 6", "the row has 3 fields, expected 2 as the header has"));
    assert_eq!(reasons[6], ("latin", "the caption is not valid UTF-8"));
    assert_eq!(reasons[7], ("row 8", "the key is not valid UTF-8"));
    assert_eq!(reasons[8], ("row 9", "the row has 104 bytes, expected at most 40"));
    assert_eq!(reasons[9], ("after", "good"));
    assert_eq!(reasons[10], ("row 11", "the row has 1000021 bytes, expected at most 40"));
    assert_eq!(reasons.len(), 11);
}

#[test]
fn lines_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let deep = format!("{{\"key\": \"deep\", \"text\": {}", "[".repeat(30));
    let long = format!("{{\"key\": \"long\", \"text\": \"{}\"}}", "x".repeat(100));
    let lines = [
        "{\"key\": \"ok\", \"text\": \"fine\"}",
        "{\"key\": \"null\", \"text\": null}",
        "{\"key\": \"absent\"}",
        "{\"text\": \"no key\"}",
        "{\"key\": 1.5, \"text\": \"a\"}",
        "{\"key\": 7, \"text\": 8}",
        "{\"key\": \"b\", \"text\": true}",
        "{\"key\": \"o\", \"text\": {}}",
        "{\"key\": \"l\", \"text\": [[\"a\"], []]}",
        "{\"key\": \"e\", \"text\": []}",
        "{\"key\": \"broken\"",
        "[1]",
        &deep,
        &long,
    ];
    let records = captions(
        &file(&folder, "a.jsonl", lines.join("\n")),
        &SourceOptions { max_text_bytes: 60, ..small() },
    );
    let expected = [
        ("ok", ""),
        ("null", "the caption is missing"),
        ("absent", "the caption is missing"),
        ("line 4", "the key is missing"),
        ("line 5", "the key is a number with a fraction, expected text"),
        ("7", "the caption is the number 8, expected text"),
        ("b", "the caption is true or false, expected text"),
        ("o", "the caption is an object, expected text"),
        ("l", "the caption is a list in a list, expected text"),
        ("l", "the caption is a list in a list, expected text"),
        ("e", "the list of captions is empty"),
        ("line 11", "the line is not a JSON object: EOF while parsing an object at line 1 column 16"),
        (
            "line 12",
            "the line is not a JSON object: invalid type: sequence, expected a map at line 1 column 0",
        ),
        ("line 13", "the line is not a JSON object: EOF while parsing a list at line 1 column 54"),
        ("line 14", "the line has 127 bytes, expected at most 60"),
    ];
    for (record, (key, reason)) in records.iter().zip(expected) {
        assert_eq!(
            (record.key.as_str(), record.value.as_ref().err().map_or("", String::as_str)),
            (key, reason)
        );
    }
    assert_eq!(records.len(), expected.len());

    let nested = format!("{{\"text\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let path =
        file(&folder, "nested.jsonl", format!("{{\"text\": \"a\"}}\n{nested}\n{{\"text\": \"\\ud800\"}}"));
    let records = captions(&path, &SourceOptions::default());
    assert!(reason(&records[1]).contains("recursion limit"), "{:?}", records[1]);
    assert!(
        reason(&records[2]).contains("surrogate") || reason(&records[2]).contains("hex escape"),
        "{:?}",
        records[2]
    );
}

#[test]
fn lines_of_text() {
    let folder = tempfile::tempdir().unwrap();
    let content = [b"ok\n\xe9\n".to_vec(), vec![b'x'; 1 << 20], b"\n\t\nlast".to_vec()].concat();
    let records = captions(&file(&folder, "a.txt", content), &small());
    assert_eq!(keys(&records), ["1", "line 2", "line 3", "line 4", "5"]);
    assert_eq!(reason(&records[1]), "the caption is not valid UTF-8");
    assert_eq!(reason(&records[2]), "the line has 1048576 bytes, expected at most 40");
    assert_eq!(reason(&records[3]), "the caption is empty");
}

#[test]
fn paths_stay_in_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "secret.jpg", "secret");
    let inside = file(&folder, "data/in.jpg", "image");
    file(&folder, "data/big.jpg", [0; 101]);
    fs::create_dir(folder.path().join("data/folder.jpg")).unwrap();
    let absolute = inside.to_str().unwrap();
    let names = [
        "in.jpg",
        "./in.jpg",
        absolute,
        "../secret.jpg",
        "folder.jpg/../in.jpg",
        "/etc/passwd",
        "",
        "absent.jpg",
        "folder.jpg",
        "big.jpg",
        "in.jpg\0",
        ".",
        "/",
    ];
    let lines: Vec<String> =
        names.iter().map(|name| serde_json::json!({ "path": name }).to_string()).collect();
    let table = file(&folder, "data/a.jsonl", lines.join("\n"));
    let coco = serde_json::json!({"images": names.iter().enumerate()
        .map(|(id, name)| serde_json::json!({"id": id, "file_name": name})).collect::<Vec<_>>()});
    let coco = file(&folder, "data/coco.json", coco.to_string());
    for source in [table, coco] {
        let records = images(&source, &small());
        for good in &records[..3] {
            let Ok(ImageData::File(path)) = &good.value else { panic!("{good:?}") };
            assert_eq!(fs::read(path).unwrap(), b"image");
        }
        for (bad, part) in records[3..].iter().zip([
            "could lead out",
            "could lead out",
            "is absolute",
            "",
            "no file",
            "regular file",
            "101 bytes",
            "",
            "",
            "is absolute",
        ]) {
            assert!(reason(bad).contains(part), "{part}: {bad:?}");
        }
        // With the whole file system as the root, absolute paths are inside.
        let root = SourceOptions { image_root: Some("/".into()), ..small() };
        assert!(images(&source, &root)[2].value.is_ok());
        let error = open_images(&source, &SourceOptions { image_root: Some("/absent".into()), ..small() });
        assert!(matches!(error, Err(DataError::Io { .. })));
    }
}

#[cfg(unix)]
#[test]
fn links_pipes_and_strange_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    file(&folder, "secret.jpg", "secret");
    file(&folder, "data/sub/in.jpg", "image");
    let at = |name: &str| folder.path().join("data").join(name);
    symlink("sub/in.jpg", at("inside.jpg")).unwrap();
    symlink("../secret.jpg", at("outside.jpg")).unwrap();
    symlink("nowhere", at("broken.jpg")).unwrap();
    symlink("loop.jpg", at("loop.jpg")).unwrap();
    symlink(".", at("self")).unwrap();
    symlink("..", at("up")).unwrap();
    std::process::Command::new("mkfifo").arg(at("pipe.jpg")).status().unwrap();
    fs::write(at("sub").join(OsStr::from_bytes(b"\xff.jpg")), "").unwrap();
    fs::write(at("sub").join(OsStr::from_bytes(b"\xff.txt")), "").unwrap();
    fs::create_dir(folder.path().join("data").join(OsStr::from_bytes(b"\xfe"))).unwrap();

    let records = images(&at(""), &small());
    let outcomes: Vec<(&str, &str)> = records
        .iter()
        .map(|record| (record.key.as_str(), record.value.as_ref().err().map_or("", String::as_str)))
        .collect();
    let parts = [
        ("broken.jpg", "no file"),
        ("inside.jpg", ""),
        ("loop.jpg", "cannot access"),
        ("outside.jpg", "a link that leads out"),
        ("pipe.jpg", "regular file"),
        ("self", "a link to a folder"),
        ("sub/in.jpg", ""),
        ("sub/\u{fffd}.jpg", "not valid UTF-8"),
        ("up", "a link to a folder"),
        ("\u{fffd}", "not valid UTF-8"),
    ];
    assert_eq!(outcomes.len(), parts.len(), "{outcomes:?}");
    for ((key, reason), (expected, part)) in outcomes.into_iter().zip(parts) {
        assert!(
            key == expected && reason.contains(part) && reason.is_empty() == part.is_empty(),
            "{key}: {reason}"
        );
    }
    let trusting = SourceOptions { follow_links: true, ..small() };
    assert!(images(&at(""), &trusting)[3].value.is_ok());

    let table = file(&folder, "data/a.csv", "path\noutside.jpg\nup/secret.jpg\nself/sub/in.jpg\npipe.jpg\n");
    let records = images(&table, &small());
    assert!(reason(&records[0]).contains("leads out") && reason(&records[1]).contains("leads out"));
    assert!(records[2].value.is_ok());
    assert!(reason(&records[3]).contains("regular file"));
    // Nor is a pipe waited for where a table is expected.
    fs::rename(at("pipe.jpg"), at("pipe.csv")).unwrap();
    assert!(matches!(open_images(&at("pipe.csv"), &small()), Err(DataError::Malformed { .. })));
}

/// A tar of members with these names, types and contents.
fn tar(members: &[(&[u8], tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(name, kind, content) in members {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn members_of_tars() {
    use tar::EntryType as E;
    let folder = tempfile::tempdir().unwrap();
    let long = [b'x'; 101];
    let bytes = tar(&[
        (b"./ok.jpg", E::Regular, b"1"),
        (b"/etc/passwd.jpg", E::Regular, b"1"),
        (b"../up.jpg", E::Regular, b"1"),
        (b"a/../../up.jpg", E::Regular, b"1"),
        (b"..\\a/up.jpg", E::Regular, b"1"),
        (b"C:\\up.jpg", E::Regular, b"1"),
        (b"soft.jpg", E::Symlink, b""),
        (b"hard.jpg", E::Link, b""),
        (b"device.jpg", E::Block, b""),
        (b"pipe.jpg", E::Fifo, b""),
        (b"folder.jpg", E::Directory, b""),
        (b"\xff.jpg", E::Regular, b"1"),
        (b"big.jpg", E::Regular, &long),
        (b"mask.seg.png", E::Regular, b"1"),
        (b"README", E::Regular, b"1"),
        (b".jpg", E::Regular, b"1"),
        (b"../up.txt", E::Regular, b"1"),
        (b"a.b/c.d/e.JPG", E::Continuous, b"2"),
        (b"empty.jpg", E::Regular, b""),
    ]);
    let records = images(&file(&folder, "a.tar", bytes), &small());
    let outcomes: Vec<(&str, &str)> = records
        .iter()
        .map(|record| (record.key.as_str(), record.value.as_ref().err().map_or("", String::as_str)))
        .collect();
    let outside = "the member's name leads out of the archive";
    let special = "the member is a folder or a device, expected a file";
    assert_eq!(
        outcomes,
        [
            ("ok", ""),
            ("/etc/passwd.jpg", outside),
            ("../up.jpg", outside),
            ("a/../../up.jpg", outside),
            ("..\\a/up.jpg", outside),
            ("C:\\up.jpg", outside),
            ("soft.jpg", "the member is a link, expected a file"),
            ("hard.jpg", "the member is a link, expected a file"),
            ("device.jpg", special),
            ("pipe.jpg", special),
            ("folder.jpg", special),
            ("\u{fffd}.jpg", "the member's name is not valid UTF-8"),
            ("big.jpg", "the image has 101 bytes, expected at most 100"),
            ("a.b/c.d/e", ""),
            ("empty", ""),
        ]
    );

    // The size in an extended header is the member's, not that of the next header.
    let described: [(&[u8], _, &[u8]); 3] = [
        (b"x", E::XHeader, b"9 size=3\n"),
        (b"././@LongLink", E::GNULongName, b"longer.jpg\0"),
        (b"l", E::Regular, b"abc"),
    ];
    assert_eq!(keys(&images(&file(&folder, "d.tar", tar(&described)), &small())), ["longer"]);

    let bytes = tar(&[
        (b"a.txt", E::Regular, b" one\n"),
        (b"b.txt", E::Regular, b"\n"),
        (b"c.txt", E::Regular, b"\xff"),
        (b"d.txt", E::Regular, &long),
        (b"e.txt", E::Symlink, b""),
        (b"a.json", E::Regular, b"{\"t\": [\"x\", null]}"),
        (b"b.json", E::Regular, b"{\"u\": 1}"),
        (b"c.json", E::Regular, b"{"),
    ]);
    let path = file(&folder, "b.tar", bytes);
    let records = captions(&path, &small());
    assert_eq!(keys(&records), ["a", "b", "c", "d.txt", "e.txt"]);
    assert_eq!(usable(&records), [Some(" one"), None, None, None, None]);
    assert_eq!(reason(&records[3]), "the member has 101 bytes, expected at most 40");
    let records = captions(&path, &options("", "", &["t"]));
    assert_eq!(keys(&records), ["a", "a", "b", "c.json"]);
    assert_eq!(usable(&records), [Some("x"), None, None, None]);
}

#[test]
fn tars_that_are_cut_off_or_lie() {
    use tar::EntryType as E;
    let folder = tempfile::tempdir().unwrap();
    let whole = tar(&[(b"a.jpg", E::Regular, &[1; 600]), (b"b.jpg", E::Regular, &[2; 600])]);
    for length in (0..whole.len() - 1024 + 512).step_by(37) {
        let path = file(&folder, "cut.tar", &whole[..length]);
        let source = open_images(&path, &SourceOptions::default()).unwrap();
        let (records, error) = until_error(&*source);
        let complete = [1112, 2648].iter().filter(|&&end| length >= end).count();
        assert_eq!(records.len(), complete, "{length}");
        assert!(matches!(error, DataError::Damaged { .. }), "{length}: {error}");
        assert!(source.count().is_err(), "{length}");
        // What comes before a range does not pass for a part of it.
        assert!(source.records(5..9).unwrap().next().unwrap().is_err(), "{length}");
    }
    // The end-of-archive mark is two blocks, but one is enough.
    assert_eq!(
        images(&file(&folder, "one.tar", &whole[..whole.len() - 512]), &SourceOptions::default()).len(),
        2
    );

    let damaged = |bytes: Vec<u8>, part: &str| {
        let source = open_images(&file(&folder, "lie.tar", bytes), &SourceOptions::default()).unwrap();
        let error = until_error(&*source).1;
        assert!(error.to_string().contains(part), "{part}: {error}");
    };
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    damaged(flipped, "checksum");
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::MAX / 2);
    header.set_cksum();
    damaged([header.as_bytes().as_slice(), &[0; 1024]].concat(), "beyond the end");
    damaged(tar(&[(b"././@LongLink", E::GNULongName, &vec![b'a'; 1 << 17])]), "extended header");
    damaged(tar(&[(b"x", E::XHeader, b"11 size=ab\n")]), "no number");
    damaged(tar(&[(b"x", E::XHeader, b"nonsense\n")]), "");
    damaged(b"not a tar at all".repeat(64), "");

    // Terabytes of holes that a sparse member stands for are never read.
    let path = file(&folder, "sparse.tar", tar(&[(b"a.jpg", E::GNUSparse, b"1")]));
    assert!(reason(&images(&path, &SourceOptions::default())[0]).contains("sparse"));
    let bytes = tar(&[(b"x", E::XHeader, b"22 GNU.sparse.major=1\n"), (b"a.jpg", E::Regular, b"1")]);
    let path = file(&folder, "sparse.tar", bytes);
    assert!(reason(&images(&path, &SourceOptions::default())[0]).contains("sparse"));
}

#[test]
fn a_huge_member_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.tar");
    let mut header = tar::Header::new_gnu();
    header.set_path("huge.jpg").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    fs::write(&path, header.as_bytes()).unwrap();
    // A file with a hole of a terabyte.
    if fs::File::options().write(true).open(&path).unwrap().set_len((1 << 40) + 512 + 1024).is_ok() {
        let records = images(&path, &SourceOptions::default());
        assert_eq!(reason(&records[0]), "the image has 1099511627776 bytes, expected at most 268435456");
    }
}

#[test]
fn coco_files() {
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
        [none, none, "the caption is empty", "the image has no `file_name`", "there is no image 99"]
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
        "{\"images\": [{\"id\": null}]}",
    ] {
        let path = file(&folder, "broken.json", broken);
        let error = open_captions(&path, &SourceOptions::default()).err().unwrap();
        assert!(matches!(error, DataError::Malformed { .. }), "{broken}: {error}");
        assert!(open_images(&path, &SourceOptions::default()).is_err());
    }
}

#[test]
fn columns_that_are_not_there_are_errors_that_list_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let paths =
        [file(&folder, "a.csv", "one,two\n1,2\n"), file(&folder, "a.jsonl", "{\"one\": 1}\n{\"two\": 2}")];
    for path in &paths {
        let error = open_captions(path, &SourceOptions::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "{} has no column `caption`, `captions`, `text` that can be read; those that can are: `one`, `two`",
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
fn what_is_no_source() {
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
fn options_that_do_not_apply_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "a.jpg", "image");
    let lines = file(&folder, "a.txt", "hello");
    let root = SourceOptions { image_root: Some(folder.path().to_owned()), ..SourceOptions::default() };
    for (path, options, wanted) in [
        (folder.path(), &root, "image_root"),
        (folder.path(), &options("k", "", &[]), "key_column"),
        (&fixture("shards"), &options("", "i", &[]), "image_column"),
        (&fixture("coco.json"), &options("k", "", &[]), "key_column"),
        #[cfg(feature = "parquet")]
        (&fixture("plain.parquet"), &root, "image_root"),
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
