//! Properties of all formats: records round-trip, and every range is a part of the whole.

use proptest::prelude::*;

use super::*;

/// A row: a key, and captions that may be unusable.
type Row = (String, Vec<Option<String>>);

/// Text with special characters of the formats.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z \"',\t\n\r\\\\{}]{0,12}",
        2 => any::<String>(),
        1 => Just("\u{feff}mark".to_owned()),
        1 => "[ \t\n]{0,3}",
        1 => "x{200}",
    ]
}

pub(super) fn rows(captions: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Row>> {
    let captions = prop::collection::vec(prop::option::weighted(0.9, text()), captions);
    prop::collection::vec(("[a-zé0-9./_-]{1,12}", captions), 1..40)
}

/// The expected keys and usable captions of rows. `max` is the maximum length.
pub(super) fn records_of(rows: &[Row], max: usize) -> Vec<(&str, Option<&str>)> {
    let usable = |text: &String| text.len() <= max && !text.trim().is_empty();
    rows.iter()
        .flat_map(|(key, captions)| {
            let captions = captions.iter().map(move |caption| caption.as_ref().filter(|text| usable(text)));
            let key = key.as_str();
            let none = captions.len() == 0;
            captions.chain(none.then_some(None)).map(move |caption| (key, caption.map(String::as_str)))
        })
        .collect()
}

pub(super) fn found(records: &[Record<String>]) -> Vec<(&str, Option<&str>)> {
    records.iter().map(|record| (record.key.as_str(), record.value.as_deref().ok())).collect()
}

/// Checks random ranges of a source.
pub(super) fn check_ranges<T: PartialEq + Debug>(
    source: &dyn RecordSource<T>,
    whole: &[Record<T>],
    ranges: &[(u64, u64)],
) {
    for &(start, length) in ranges {
        let part: Vec<_> = source.records(start..start + length).unwrap().map(Result::unwrap).collect();
        let clamp = |at: u64| (at as usize).min(whole.len());
        assert_eq!(part, whole[clamp(start)..clamp(start + length)]);
    }
}

pub(super) fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0u64..100, 0u64..100), 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn csv(rows in rows(2), tabs: bool, crlf: bool, always: bool, mark: bool, ranges in ranges()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if tabs { "a.tsv" } else { "a.csv" });
        let mut bytes = if mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        let mut writer = csv::WriterBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            .quote_style(if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
            .from_writer(&mut bytes);
        writer.write_record(["first", "key", "second"]).unwrap();
        for (key, captions) in &rows {
            let caption = |at: usize| captions[at].as_deref().unwrap_or_default();
            writer.write_record([caption(0), key, caption(1)]).unwrap();
        }
        drop(writer);
        fs::write(&path, bytes).unwrap();
        let source = open_captions(&path, &options("", "", &["first", "second"])).unwrap();
        let records = all(&*source);
        prop_assert_eq!(found(&records), records_of(&rows, usize::MAX));
        check_ranges(&*source, &records, &ranges);
    }

    #[test]
    fn json_lines(rows in rows(0..4), blank: bool, ranges in ranges()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let line = |(key, captions): &Row| serde_json::json!({"key": key, "text": captions}).to_string();
        let lines: Vec<String> = rows.iter().map(line).collect();
        fs::write(&path, lines.join(if blank { "\r\n \n" } else { "\n" })).unwrap();
        let source = open_captions(&path, &SourceOptions::default()).unwrap();
        let records = all(&*source);
        prop_assert_eq!(found(&records), records_of(&rows, usize::MAX));
        check_ranges(&*source, &records, &ranges);
    }

    #[test]
    fn lines(rows in rows(1), max in 1usize..300, ranges in ranges()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let captions: Vec<String> = rows.into_iter().flat_map(|(_, captions)| captions).flatten()
            .map(|text| text.replace(['\n', '\r', '\u{feff}'], " ")).collect();
        fs::write(&path, captions.iter().map(|text| format!("{text}\n")).collect::<String>()).unwrap();
        let source = open_captions(&path, &SourceOptions { max_text_bytes: max, ..SourceOptions::default() }).unwrap();
        let records = all(&*source);
        let expected: Vec<_> = captions.iter()
            .map(|text| Some(text.as_str()).filter(|text| text.len() <= max && !text.trim().is_empty())).collect();
        prop_assert_eq!(usable(&records), expected);
        check_ranges(&*source, &records, &ranges);
    }

    #[test]
    fn tars(members in prop::collection::vec(("[a-zé0-9/_-]{1,150}", prop::collection::vec(any::<u8>(), 0..1100), text()), 1..8), cut in 0usize..9, ranges in ranges()) {
        let folder = tempfile::tempdir().unwrap();
        // Two archives, the first may be empty.
        let cut = cut.min(members.len());
        let members: Vec<_> =
            members.into_iter().zip(0..).map(|((key, image, text), at)| (format!("{at}{key}"), image, text)).collect();
        let name = |key: &str, extension: &str| format!("k{key}/x.{extension}");
        for (archive, part) in [("0.tar", &members[..cut]), ("1.tar", &members[cut..])] {
            let mut builder = tar::Builder::new(fs::File::create(folder.path().join(archive)).unwrap());
            for (key, image, caption) in part {
                for (extension, bytes) in [("json", &b"{}"[..]), ("jpg", image), ("txt", caption.as_bytes())] {
                    let mut header = tar::Header::new_gnu();
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, name(key, extension), bytes).unwrap();
                }
            }
            builder.into_inner().unwrap();
        }
        let source = open_images(folder.path(), &SourceOptions::default()).unwrap();
        let records = all(&*source);
        for (at, (record, (key, image, _))) in records.iter().zip(&members).enumerate() {
            // The writer drops empty path components.
            let archive = usize::from(at >= cut);
            prop_assert_eq!(record.key.replace('/', ""), format!("{archive}k{key}x").replace('/', ""));
            prop_assert_eq!(&record.value, &Ok(ImageData::Bytes(image.clone())));
        }
        prop_assert_eq!(records.len(), members.len());
        check_ranges(&*source, &records, &ranges);

        let texts = open_captions(folder.path(), &SourceOptions::default()).unwrap();
        let captions = all(&*texts);
        prop_assert_eq!(keys(&captions), keys(&records));
        for (record, (_, _, caption)) in captions.iter().zip(&members) {
            let text = caption.strip_prefix('\u{feff}').unwrap_or(caption);
            let text = text.trim_end_matches([' ', '\t', '\n', '\r', '\x0c']);
            let usable = Some(text).filter(|text| !text.trim().is_empty());
            prop_assert_eq!(record.value.as_deref().ok(), usable);
        }
        check_ranges(&*texts, &captions, &ranges);
    }
}
