//! Unusable rows of tables and text files are skipped with a reason.

use super::*;

#[test]
fn skips_invalid_csv_rows() {
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
    assert_eq!(reasons[4], ("row 5", "the row has 1 fields, expected 2 as in the first row"));
    assert_eq!(reasons[5], ("row 6", "the row has 3 fields, expected 2 as in the first row"));
    assert_eq!(reasons[6], ("latin", "the caption is not valid UTF-8"));
    assert_eq!(reasons[7], ("row 8", "the key is not valid UTF-8"));
    assert_eq!(reasons[8], ("row 9", "the row has 105 bytes, expected at most 40"));
    assert_eq!(reasons[9], ("after", "good"));
    assert_eq!(reasons[10].0, "row 11");
    assert!(
        reasons[10].1.starts_with("a quote opens in the row (line 12) and does not close"),
        "{:?}",
        reasons[10]
    );
    assert_eq!(reasons[11], ("1", "2"));
    assert_eq!(reasons[12], ("row 13", "the row has 1000000 bytes, expected at most 40"));
    assert_eq!(reasons.len(), 13);
}

#[test]
fn skips_invalid_json_lines() {
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
        ("line 5", "the key is a float, expected text"),
        ("7", "the caption is the integer 8, expected text"),
        ("b", "the caption is a boolean, expected text"),
        ("o", "the caption is an object, expected text"),
        ("l", "the caption is a nested list, expected text"),
        ("l", "the caption is a nested list, expected text"),
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
    let path = file(&folder, "nested.jsonl", format!("{{\"text\": \"a\"}}\n{nested}"));
    let records = captions(&path, &SourceOptions::default());
    assert!(reason(&records[1]).contains("recursion limit"), "{:?}", records[1]);
}

#[test]
fn skips_invalid_text_lines() {
    let folder = tempfile::tempdir().unwrap();
    let content = [b"ok\n\xe9\n".to_vec(), vec![b'x'; 1 << 20], b"\n\t\nlast".to_vec()].concat();
    let records = captions(&file(&folder, "a.txt", content), &small());
    assert_eq!(keys(&records), ["1", "line 2", "line 3", "line 4", "5"]);
    assert_eq!(reason(&records[1]), "the caption is not valid UTF-8");
    assert_eq!(reason(&records[2]), "the line has 1048576 bytes, expected at most 40");
    assert_eq!(reason(&records[3]), "the caption is empty");
}
