//! Captions in files beside the images of a folder.

use super::*;

#[test]
fn captions_beside_images_have_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    for number in ["00000/000000000", "00000/000000001", "00001/000010000"] {
        file(&folder, &format!("{number}.jpg"), "image");
        file(&folder, &format!("{number}.txt"), format!("\u{feff}caption {number}\n"));
        file(
            &folder,
            &format!("{number}.json"),
            format!("{{\"alt\": [\"alt {number}\", \"second\"], \"nan\": NaN}}"),
        );
    }
    // Metadata of img2dataset.
    file(&folder, "00000.parquet", "PAR1");
    file(&folder, "00000_stats.json", "{}");
    let default = SourceOptions::default();
    let found = images(folder.path(), &default);
    let records = captions(folder.path(), &default);
    assert_eq!(keys(&found), ["00000/000000000.jpg", "00000/000000001.jpg", "00001/000010000.jpg"]);
    assert_eq!(keys(&records), keys(&found));
    assert_eq!(usable(&records)[2], Some("caption 00001/000010000"));

    let records = captions(folder.path(), &options("", "", &["alt"]));
    assert_eq!(keys(&records)[..3], ["00000/000000000.jpg", "00000/000000000.jpg", "00000/000000001.jpg"]);
    assert_eq!(usable(&records)[..2], [Some("alt 00000/000000000"), Some("second")]);
    assert_eq!(keys(&records).last(), Some(&"00000_stats.json"));
    assert_eq!(records.len(), 7);
    let source = open_captions(folder.path(), &default).unwrap();
    assert_eq!(source.passed_over().unwrap().to_string(), "5 files: 4 .json, 1 .parquet");
}

#[test]
fn files_without_counterpart_are_skipped_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.v1.jpg", ""),
        ("a.v1.txt", "one"),
        ("b.jpg", ""),
        ("c.png", ""),
        ("c.png.txt", "three"),
        ("d.jpg", ""),
        ("d.png", ""),
        ("d.txt", "four"),
        ("e.jpg", ""),
        ("e.caption", "five"),
        ("e.txt", "six"),
        ("f.jpg", ""),
        ("f.txt", "x".repeat(50).as_str()),
        ("g.txt", "alone"),
    ] {
        file(&folder, name, content);
    }
    let records = captions(folder.path(), &small());
    let found: Vec<_> = records.iter().map(|r| (r.key.as_str(), r.value.as_deref().ok())).collect();
    let expected = [
        ("a.v1.jpg", Some("one")),
        ("b.jpg", None),
        ("c.png", Some("three")),
        ("d.jpg", Some("four")),
        ("d.png", Some("four")),
        ("e.jpg", Some("five")),
        ("f.jpg", None),
        ("e.txt", None),
        ("g.txt", None),
    ];
    assert_eq!(found, expected);
    assert_eq!(reason(&records[1]), "the image has no file with a caption beside it");
    assert!(reason(&records[6]).contains("50 bytes"), "{:?}", records[6]);
    assert!(reason(&records[8]).contains("no image"), "{:?}", records[8]);
    // A broken JSON file is a reason.
    file(&folder, "a.v1.json", "{");
    let records = captions(folder.path(), &options("", "", &["alt"]));
    assert!(reason(&records[0]).contains("not a JSON object"), "{:?}", records[0]);
}

#[test]
fn tables_beside_images_hold_their_captions() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "classes/cat.png", "image");
    file(&folder, "LICENSE.txt", "text");
    file(&folder, "metadata.jsonl", "{\"file_name\": \"classes/cat.png\", \"text\": \"a cat\"}\n");
    let default = SourceOptions::default();
    assert_eq!(keys(&images(folder.path(), &default)), ["classes/cat.png"]);
    let records = captions(folder.path(), &default);
    assert_eq!((keys(&records), usable(&records)), (vec!["classes/cat.png"], vec![Some("a cat")]));
    // Files of their own take precedence.
    file(&folder, "classes/cat.txt", "one cat");
    let records = captions(folder.path(), &default);
    assert_eq!(
        (keys(&records), usable(&records)),
        (vec!["classes/cat.png", "LICENSE.txt"], vec![Some("one cat"), None])
    );
    for name in ["metadata.jsonl", "classes/cat.txt"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let error = open_captions(folder.path(), &default).err().unwrap();
    assert!(
        error.to_string().contains("contains no captions (passed over 2 files: 1 .png, 1 .txt)"),
        "{error}"
    );
}
