//! Paths and links cannot refer to files outside the folder.

use super::*;

#[test]
fn rejects_paths_outside_the_folder() {
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
            "may not leave",
            "may not leave",
            "is absolute",
            "",
            "is missing",
            "regular file",
            "101 bytes",
            "",
            "",
            "is absolute",
        ]) {
            assert!(reason(bad).contains(part), "{part}: {bad:?}");
        }
        // With `/` as the root, absolute paths are inside.
        let root = SourceOptions { image_root: Some("/".into()), ..small() };
        assert!(images(&source, &root)[2].value.is_ok());
        let error = open_images(&source, &SourceOptions { image_root: Some("/absent".into()), ..small() });
        assert!(matches!(error, Err(DataError::Io { .. })));
    }
}

#[cfg(unix)]
#[test]
fn skips_links_pipes_and_invalid_names() {
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
        ("broken.jpg", "is missing"),
        ("inside.jpg", ""),
        ("loop.jpg", "cannot access"),
        ("outside.jpg", "outside the folder"),
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
    let table = file(&folder, "data/a.csv", "path\noutside.jpg\nup/secret.jpg\nself/sub/in.jpg\npipe.jpg\n");
    let records = images(&table, &small());
    assert!(
        reason(&records[0]).contains("outside the folder")
            && reason(&records[1]).contains("outside the folder")
    );
    assert!(records[2].value.is_ok());
    assert!(reason(&records[3]).contains("regular file"));
    // Opening a pipe as a table does not block either.
    fs::rename(at("pipe.jpg"), at("pipe.csv")).unwrap();
    assert!(matches!(open_images(&at("pipe.csv"), &small()), Err(DataError::Malformed { .. })));
}
