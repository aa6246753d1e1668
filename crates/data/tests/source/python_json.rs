//! JSON as Python writes it, byte order marks, and ids of any type.

use super::bad_tars::tar;
use super::*;

#[test]
fn fields_that_nobody_reads_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let line = |key: &str| {
        format!(
            "{{\"key\": \"{key}\", \"caption\": \"c\", \"a\": NaN, \"b\": -Infinity, \"d\": 1e999, \"e\": \"\\ud83d\"}}"
        )
    };
    let path = file(&folder, "a.jsonl", format!("\u{feff}{}\n{}\n", line("0"), line("1")));
    let records = captions(&path, &SourceOptions::default());
    assert_eq!((keys(&records), usable(&records)), (vec!["0", "1"], vec![Some("c"); 2]));
    let member = line("0");
    let path = file(&folder, "a.tar", tar(&[(b"0.json", ::tar::EntryType::Regular, member.as_bytes())]));
    assert_eq!(usable(&captions(&path, &options("", "", &["caption"]))), [Some("c")]);
    let path = file(
        &folder,
        "a.json",
        "\u{feff}{\"images\": [{\"id\": 0, \"file_name\": \"0.png\"}], \"annotations\": [{\"id\": 0, \"image_id\": 0, \
         \"caption\": \"c\", \"area\": NaN}]}",
    );
    let records = captions(&path, &SourceOptions::default());
    assert_eq!((keys(&records), usable(&records)), (vec!["0.png"], vec![Some("c")]));
    // Values that are read are missing, or have a replacement character.
    let path = file(&folder, "b.jsonl", "{\"caption\": NaN}\n{\"caption\": \"\\ud83d \\ud83d\\ude00\"}\n");
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(usable(&records), [None, Some("\u{fffd} \u{1f600}")]);
    // A column of integers with a gap.
    let path =
        file(&folder, "c.jsonl", "{\"key\": 12.0, \"caption\": \"a\"}\n{\"key\": NaN, \"caption\": \"b\"}\n");
    assert_eq!(keys(&captions(&path, &SourceOptions::default())), ["12", "line 2"]);
}

#[test]
fn coco_ids_have_any_type() {
    let folder = tempfile::tempdir().unwrap();
    for (ids, annotated) in [
        (["9", "10"], ["9.0", "10.0"]),
        (["9.0", "10.0"], ["9", "10"]),
        (["\"9\"", "\"10\""], ["9", "10"]),
        (["\"a\"", "\"b\""], ["\"a\"", "\"b\""]),
        (
            ["18446744073709551615", "9223372036854775808"],
            ["18446744073709551615", "\"9223372036854775808\""],
        ),
        (["-1", "0"], ["-1", "0"]),
    ] {
        let json = format!(
            r#"{{"images": [{{"id": {}, "file_name": "a.jpg"}}, {{"id": {}, "file_name": "b.jpg"}}, {{"file_name": "c.jpg"}}],
                "annotations": [{{"image_id": {}, "caption": "2"}}, {{"image_id": {}, "caption": "1"}},
                                {{"image_id": {}, "caption": "3"}}, {{"caption": "lost"}}]}}"#,
            ids[0], ids[1], annotated[1], annotated[0], annotated[1],
        );
        let path = file(&folder, "a.json", json);
        let records = captions(&path, &SourceOptions::default());
        assert_eq!(keys(&records), ["a.jpg", "b.jpg", "b.jpg", "annotation without id"], "{ids:?}");
        assert_eq!(usable(&records), [Some("1"), Some("2"), Some("3"), None], "{ids:?}");
        assert_eq!(keys(&images(&path, &SourceOptions::default())), ["a.jpg", "b.jpg", "c.jpg"]);
    }
}

#[test]
fn utf16_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.txt", "one\ntwo\n"),
        ("a.csv", "key,caption\n1,one\n"),
        ("a.jsonl", "{\"text\": \"a\"}"),
        ("a.json", "{}"),
    ] {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        let little: Vec<u8> = units.clone().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
        for content in [little, big] {
            let error =
                open_captions(&file(&folder, name, content), &SourceOptions::default()).err().unwrap();
            assert!(error.to_string().contains("the encoding is UTF-16, expected UTF-8"), "{error}");
        }
    }
}
