//! Parquet files of pyarrow.

use super::*;

/// All codecs, page versions and encodings.
const FILES: [&str; 10] = [
    "plain.parquet",
    "snappy.parquet",
    "gzip_v2.parquet",
    "zstd_v2_plain.parquet",
    "small_pages.parquet",
    "brotli.parquet",
    "lz4_old_lists.parquet",
    "delta.parquet",
    "delta_length_v2.parquet",
    "split.parquet",
];

#[test]
fn reads_captions_of_every_text_type() {
    let texts = expected("captions");
    for file in FILES {
        for column in ["caption", "categorical"] {
            let records = captions(&fixture(file), &options("", "", &[column]));
            assert_eq!(usable(&records), texts.iter().map(caption_of).collect::<Vec<_>>(), "{file} {column}");
            assert_eq!(keys(&records), expected_text("keys"), "{file} {column}");
        }
    }
}

#[test]
fn list_elements_are_captions() {
    let lists = expected("lists");
    let (keys_expected, texts) = (expected_text("keys"), expected("captions"));
    for file in FILES {
        for column in ["captions", "large_captions", "objects.text", "sequence.text"] {
            let records = captions(&fixture(file), &options("", "", &[column, "caption"]));
            let flat: Vec<(&str, Option<&str>)> = (lists.iter().zip(&keys_expected).zip(&texts))
                .flat_map(|((list, key), text)| {
                    captions_of(list)
                        .into_iter()
                        .chain([caption_of(text)])
                        .map(|caption| (key.as_str(), caption))
                })
                .collect();
            let found: Vec<_> = records.iter().map(|r| (r.key.as_str(), r.value.as_deref().ok())).collect();
            assert_eq!(found, flat, "{file} {column}");
            // Iteration can start anywhere, also within a list or a row group.
            let source = open_captions(&fixture(file), &options("", "", &[column, "caption"])).unwrap();
            for start in 0..=records.len() {
                let rest = source.records(start as u64..u64::MAX).unwrap().collect::<Result<Vec<_>, _>>();
                assert_eq!(rest.unwrap(), records[start..], "{file} {column} {start}");
            }
        }
    }
}

#[test]
fn reads_text_and_integer_keys() {
    let small: Vec<String> = (0..12).map(|row| (2u64.pow(31) + row).to_string()).collect();
    let large: Vec<String> = (0..12).map(|row| (2u64.pow(63) + row).to_string()).collect();
    let ids: Vec<String> = expected("ids").iter().map(Value::to_string).collect();
    for file in FILES {
        for (column, values) in [
            ("id", &ids),
            ("small", &small),
            ("large", &large),
            ("path", &expected_text("paths")),
            ("image.path", &expected_text("paths")),
            ("required", &expected_text("keys")),
        ] {
            assert_eq!(
                &keys(&captions(&fixture(file), &options(column, "", &[]))),
                values,
                "{file} {column}"
            );
        }
    }
}

#[test]
fn reads_images_as_bytes_and_paths() {
    let lengths = expected("images");
    for file in FILES {
        for column in ["picture", "image.bytes"] {
            let records = images(&fixture(file), &options("", column, &[]));
            assert_eq!(keys(&records), expected_text("keys"), "{file}");
            for (record, length) in records.iter().zip(&lengths) {
                match length.as_u64() {
                    Some(length) => {
                        let bytes = (0..length).map(|byte| byte as u8).collect();
                        assert_eq!(record.value, Ok(ImageData::Bytes(bytes)), "{file} {column}");
                    }
                    None => assert_eq!(reason(record), "the image is missing"),
                }
            }
            let source = open_images(&fixture(file), &options("", column, &[])).unwrap();
            for start in 0..=records.len() {
                let rest = source.records(start as u64..u64::MAX).unwrap().collect::<Result<Vec<_>, _>>();
                assert_eq!(rest.unwrap(), records[start..], "{file} {column} {start}");
            }
        }
        for (record, value) in
            images(&fixture(file), &options("", "fixed", &[])).iter().zip(expected("fixed"))
        {
            let value: Option<Vec<u8>> = serde_json::from_value(value).unwrap();
            assert_eq!(record.value.clone().ok(), value.map(ImageData::Bytes), "{file}");
        }
        let small = SourceOptions { max_image_bytes: 20, max_text_bytes: 100, ..SourceOptions::default() };
        let records = images(&fixture(file), &small);
        assert!(records[2].value.is_ok());
        assert_eq!(reason(&records[3]), "the image has 21 bytes, expected at most 20");
        let records = captions(&fixture(file), &small);
        assert_eq!(reason(&records[9]), "the caption has 300 bytes, expected at most 100");
        let records = images(&fixture(file), &options("path", "path", &[]));
        assert_eq!(keys(&records), expected_text("paths"));
        assert!(reason(&records[1]).contains("is missing"));
    }
}

#[test]
fn structs_hold_the_bytes_or_the_path_of_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "folder/5.jpg", "the image without bytes");
    for name in FILES {
        let table = file(&folder, name, fs::read(fixture(name)).unwrap());
        for column in ["image", ""] {
            let records = images(&table, &options("", column, &[]));
            let lengths = records.iter().map(|record| match &record.value {
                Ok(ImageData::Bytes(bytes)) => Some(bytes.len() as u64),
                value => {
                    assert_eq!(value, &Ok(ImageData::File(path.clone())), "{name}");
                    None
                }
            });
            let expected: Vec<_> = expected("images").iter().map(Value::as_u64).collect();
            assert_eq!(lengths.collect::<Vec<_>>(), expected, "{name} {column}");
        }
    }
    let root = SourceOptions { image_root: Some(folder.path().to_owned()), ..SourceOptions::default() };
    let records = images(&fixture("plain.parquet"), &root);
    assert_eq!(records[5].value, Ok(ImageData::File(path)));
    let records = images(&fixture("plain.parquet"), &SourceOptions::default());
    assert_eq!(reason(&records[5]), "the file `folder/5.jpg` is missing");
    // Captions are not looked for in images.
    let records = captions(&fixture("plain.parquet"), &options("", "", &["image"]));
    assert_eq!(reason(&records[5]), "the caption is the path of an image, expected text");
}

#[test]
fn reads_the_layout_of_hub_datasets() {
    let shard = fixture("hub/train-00001-of-00002.parquet");
    let records = images(&shard, &SourceOptions::default());
    assert_eq!(keys(&records), ["1", "2", "3"]);
    assert_eq!(keys(&captions(&shard, &SourceOptions::default())), ["1", "2", "3"]);
    assert_eq!(records[2].value, Ok(ImageData::Bytes(vec![1, 2])));

    // A folder, and the same files as a pattern.
    for path in [fixture("hub"), fixture("hub/train-*.parquet")] {
        let by_text = options("text", "", &[]);
        let values: Vec<_> =
            images(&path, &by_text).into_iter().map(|record| record.value.unwrap()).collect();
        let expected = (0..2).flat_map(|shard| (0..3).map(move |row| ImageData::Bytes(vec![shard, row])));
        assert_eq!(values, expected.collect::<Vec<_>>());
        let records = captions(&path, &by_text);
        assert_eq!(usable(&records)[3], Some("caption 1 0"));
        assert_eq!(keys(&records), keys(&images(&path, &by_text)));

        // Without a key, by file and row.
        let records = images(&path, &SourceOptions::default());
        let expected: Vec<_> = (0..2)
            .flat_map(|shard| (1..=3).map(move |row| format!("train-0000{shard}-of-00002/{row}")))
            .collect();
        assert_eq!(keys(&records), expected);
        assert_eq!(keys(&captions(&path, &SourceOptions::default())), expected);
        assert_eq!(records[5].value, Ok(ImageData::Bytes(vec![1, 2])));
    }
}

#[test]
fn tables_beside_images_are_their_metadata() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "classes/cat.png", "an image");
    file(&folder, "metadata.parquet", fs::read(fixture("plain.parquet")).unwrap());
    assert_eq!(keys(&images(folder.path(), &SourceOptions::default())), ["classes/cat.png"]);
    let records = captions(folder.path(), &SourceOptions::default());
    assert_eq!(usable(&records), expected("captions").iter().map(caption_of).collect::<Vec<_>>());
}

#[test]
fn images_and_captions_have_equal_keys() {
    for (key, image) in [("", ""), ("", "path"), ("id", "picture"), ("", "image.bytes"), ("path", "")] {
        let options = options(key, image, &[]);
        let path = fixture("snappy.parquet");
        assert_eq!(keys(&images(&path, &options)), keys(&captions(&path, &options)), "{key} {image}");
    }
}

#[test]
fn rejects_unsupported_columns() {
    for column in ["time", "nested", "absent"] {
        let error = open_captions(&fixture("plain.parquet"), &options("", "", &[column])).err().unwrap();
        let DataError::NoColumn { wanted, columns, .. } = &error else { panic!("{error}") };
        assert_eq!(*wanted, format!("`{column}`"));
        assert_eq!(
            columns,
            "`key`, `id`, `small`, `large`, `path`, `picture`, `image.bytes`, `image.path`, `fixed`, `caption`, \
             `categorical`, `captions`, `large_captions`, `objects.text`, `objects.score`, `sequence.text`, `required`, `score`, `image`"
        );
    }
    // Not a text column: each row has a reason.
    let records = captions(&fixture("plain.parquet"), &options("", "", &["id"]));
    assert_eq!(reason(&records[0]), "the caption is the integer 1, expected text");
    let records = captions(&fixture("plain.parquet"), &options("", "", &["score"]));
    assert_eq!(reason(&records[0]), "the caption is a float, expected text");
    let records = images(&fixture("plain.parquet"), &options("", "captions", &[]));
    assert_eq!(reason(&records[0]), "the path is a list, expected a single value");
}

#[test]
fn numbers_and_booleans_are_texts_on_request() {
    for name in ["scalars.parquet", "scalars_v2.parquet"] {
        let values = |column: &str| -> Vec<Option<String>> {
            let options = SourceOptions { scalars: true, ..options("", "", &[column]) };
            captions(&fixture(name), &options).into_iter().map(|record| record.value.ok()).collect()
        };
        let texts =
            |values: [&str; 4]| values.map(|value| (!value.is_empty()).then(|| value.to_owned())).to_vec();
        assert_eq!(values("flag"), texts(["true", "", "false", "true"]), "{name}");
        assert_eq!(values("ratio"), texts(["0.1", "-2", "", "1.5"]), "{name}");
        assert_eq!(values("price"), texts(["0.1", "10", "12.25", ""]), "{name}");
    }
    let records = captions(&fixture("scalars.parquet"), &options("", "", &["flag"]));
    assert_eq!(reason(&records[0]), "the caption is a boolean, expected text");
}
