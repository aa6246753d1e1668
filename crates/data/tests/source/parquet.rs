//! Parquet files of pyarrow.

use super::*;

/// All supported codecs, page versions and encodings.
const FILES: [&str; 5] =
    ["plain.parquet", "snappy.parquet", "gzip_v2.parquet", "zstd_v2_plain.parquet", "small_pages.parquet"];

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
        for column in ["captions", "large_captions"] {
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
        for column in ["picture", "image.bytes", ""] {
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
fn images_and_captions_have_equal_keys() {
    for (key, image) in [("", ""), ("", "path"), ("id", "picture"), ("", "image.bytes"), ("path", "")] {
        let options = options(key, image, &[]);
        let path = fixture("snappy.parquet");
        assert_eq!(keys(&images(&path, &options)), keys(&captions(&path, &options)), "{key} {image}");
    }
}

#[test]
fn rejects_unsupported_columns() {
    for column in ["score", "time", "nested", "absent"] {
        let error = open_captions(&fixture("plain.parquet"), &options("", "", &[column])).err().unwrap();
        let DataError::NoColumn { wanted, columns, .. } = &error else { panic!("{error}") };
        assert_eq!(*wanted, format!("`{column}`"));
        assert_eq!(
            columns,
            "`key`, `id`, `small`, `large`, `path`, `picture`, `image.bytes`, `image.path`, `caption`, \
             `categorical`, `captions`, `large_captions`, `required`"
        );
    }
    // Not a text column: each row has a reason.
    let records = captions(&fixture("plain.parquet"), &options("", "", &["id"]));
    assert_eq!(reason(&records[0]), "the caption is the integer 1, expected text");
    let records = images(&fixture("plain.parquet"), &options("", "captions", &[]));
    assert_eq!(reason(&records[0]), "the path is a list, expected a single value");
}

#[test]
fn rejects_unsupported_encodings_and_codecs() {
    let source = open_captions(&fixture("delta.parquet"), &SourceOptions::default()).unwrap();
    let (records, error) = until_error(&*source);
    assert!(records.is_empty() && matches!(error, DataError::Damaged { .. }), "{error}");
    assert!(
        error.to_string().contains("column `caption`") && error.to_string().contains("DELTA_BYTE_ARRAY"),
        "{error}"
    );
    let source = open_captions(&fixture("brotli.parquet"), &SourceOptions::default()).unwrap();
    assert!(until_error(&*source).1.to_string().contains("Brotli"));
}
