//! Quotes and headers of CSV and TSV.

use super::*;

/// The caption of a row as it is in the file.
type Row<'a> = &'a dyn Fn(usize) -> String;

/// The keys and captions of a table.
fn read(
    folder: &tempfile::TempDir,
    name: &str,
    content: &str,
    options: &SourceOptions,
) -> Vec<(String, Result<String, String>)> {
    captions(&file(folder, name, content), options)
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect()
}

#[test]
fn fields_are_those_of_pandas() {
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(fixture("quotes.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let (quotes, name) =
            (case["quotes"].as_bool().unwrap(), if text("delimiter") == "," { "a.csv" } else { "a.tsv" });
        let options = SourceOptions { quotes, header: false, ..options("1", "", &["2"]) };
        // Between other rows, which must remain.
        let whole = ["x", "y"].map(|key| format!("{key}{0}{key}\n", text("delimiter")));
        let records = read(&folder, name, &format!("{}{}\n{}", whole[0], text("line"), whole[1]), &options);
        assert_eq!((records.len(), records[0].0.as_str(), records[2].0.as_str()), (3, "x", "y"), "{case}");
        let (key, caption) = &records[1];
        let [key_expected, caption_expected] = [0, 1].map(|at| case["fields"][at].as_str().unwrap());
        match key_expected {
            "" => assert_eq!(key, "row 2", "{case}"),
            _ => {
                let expected = Some(caption_expected).filter(|text| !text.trim().is_empty());
                assert_eq!((key.as_str(), caption.as_deref().ok()), (key_expected, expected), "{case}");
            }
        }
    }
    assert_eq!(cases.len(), 300);
}

#[test]
fn an_open_quote_costs_its_own_row_only() {
    let folder = tempfile::tempdir().unwrap();
    let default = SourceOptions::default();
    let table = |separator: char, line_end: &str, quoted: Row| {
        let rows = (0..200).map(|row| format!("{row}.png{separator}{}{line_end}", quoted(row)));
        format!("path{separator}caption{line_end}{}", rows.collect::<String>())
    };
    let open = |rows: &'static [usize]| {
        move |row: usize| format!("{}picture {row}", if rows.contains(&row) { "\"" } else { "" })
    };
    // A quote that opens late ends at the end of the file, one that opens early after too many lines; two quotes close each
    // other, and so do an open quote and the quotes of a later field.
    let closed = |row: usize| match row {
        2 => "\"picture 2".to_owned(),
        _ => format!("\"picture {row}\""),
    };
    let cases: [(&[usize], Row); 5] = [
        (&[2], &open(&[2])),
        (&[190], &open(&[190])),
        (&[2, 7], &open(&[2, 7])),
        (&[2, 3, 4, 199], &open(&[2, 3, 4, 199])),
        (&[2], &closed),
    ];
    for (opened, row) in cases {
        for (name, separator, line_end) in
            [("a.csv", ',', "\n"), ("a.tsv", '\t', "\r\n"), ("a.csv", ',', "\r")]
        {
            let records = read(&folder, name, &table(separator, line_end, row), &default);
            assert_eq!(records.len(), 200, "{opened:?}");
            for (at, (key, caption)) in records.iter().enumerate() {
                if opened.contains(&at) {
                    assert_eq!(*key, format!("row {}", at + 1));
                    let line = format!("a quote opens in the row (line {}) and does not close", at + 2);
                    assert!(caption.as_ref().unwrap_err().starts_with(&line), "{caption:?}");
                } else {
                    assert_eq!((key, caption), (&format!("{at}.png"), &Ok(format!("picture {at}"))));
                }
            }
        }
    }
    // Without quotes they are text.
    let literal = SourceOptions { quotes: false, ..default };
    let records = read(&folder, "a.tsv", &table('\t', "\n", &open(&[2])), &literal);
    assert_eq!(records[2], ("2.png".to_owned(), Ok("\"picture 2".to_owned())));
}

#[test]
fn captions_of_several_lines_remain() {
    let folder = tempfile::tempdir().unwrap();
    let content = "key,caption\na,\"one\n\"\"two\"\", three\n\nfour\"\nb,\"\n\"\nc,\"d\" e\n";
    let records = read(&folder, "a.csv", content, &SourceOptions::default());
    let expected =
        [("a", Ok("one\n\"two\", three\n\nfour")), ("b", Err("the caption is empty")), ("c", Ok("d e"))];
    let found: Vec<_> = records
        .iter()
        .map(|(key, caption)| (key.as_str(), caption.as_deref().map_err(String::as_str)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn tables_without_header_have_numbered_columns() {
    let folder = tempfile::tempdir().unwrap();
    let content = "a \"quoted\" cat, sitting\thttp://example.com/1\n\"a dog\thttp://example.com/2\n";
    let options = SourceOptions { header: false, quotes: false, ..options("2", "", &["1"]) };
    let records = read(&folder, "a.tsv", content, &options);
    let expected =
        [("http://example.com/1", "a \"quoted\" cat, sitting"), ("http://example.com/2", "\"a dog")];
    for ((key, caption), (key_expected, caption_expected)) in records.iter().zip(expected) {
        assert_eq!((key.as_str(), caption.as_deref()), (key_expected, Ok(caption_expected)));
    }
    let without = SourceOptions { header: false, ..SourceOptions::default() };
    let error = open_captions(&folder.path().join("a.tsv"), &without).err().unwrap();
    assert!(error.to_string().ends_with("expected one of `1`, `2`"), "{error}");
}

#[test]
fn tables_of_flickr_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let default = SourceOptions::default();
    // Flickr8k and Flickr30k of Kaggle, and the original files.
    for (name, content) in [
        ("captions.txt", "image,caption\n1.jpg,A cat .\n1.jpg,\"A cat , asleep .\"\n2.jpg,A dog .\n"),
        (
            "results.csv",
            "image_name| comment_number| comment\n1.jpg| 0| A cat .\n1.jpg| 1| A cat , asleep .\n2.jpg| 0| A dog .\n",
        ),
        ("Flickr8k.token.txt", "1.jpg#0\tA cat .\n1.jpg#1\tA cat , asleep .\n2.jpg#0\tA dog .\n"),
    ] {
        let records = read(&folder, name, content, &default);
        let expected = [("1.jpg", "A cat ."), ("1.jpg", "A cat , asleep ."), ("2.jpg", "A dog .")];
        let found: Vec<_> =
            records.iter().map(|(key, text)| (key.as_str(), text.as_deref().unwrap())).collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(keys(&images(&folder.path().join(name), &default)), ["1.jpg", "1.jpg", "2.jpg"]);
    }
    // Other text is text.
    let records = read(&folder, "a.txt", "an image,a caption\n", &default);
    assert_eq!(records, [("1".to_owned(), Ok("an image,a caption".to_owned()))]);
}
