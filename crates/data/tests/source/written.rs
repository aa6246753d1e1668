//! Parquet files of the Rust implementation with random content.

use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding};
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::properties::{check_ranges, found, ranges, records_of, rows};
use super::*;

const SCHEMA: &str = "message table {
    required binary key (STRING);
    optional group captions (LIST) { repeated group list { optional binary element (STRING); } }
    optional binary image;
}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn round_trips(
        rows in rows(0..4),
        images in prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..50)), 40),
        group in 1usize..20,
        version_2: bool,
        dictionary: bool,
        codec in prop::sample::select(vec![
            Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(Default::default()), Compression::ZSTD(Default::default()),
        ]),
        page in 1usize..10,
        ranges in ranges(),
    ) {
        // A key stands for one image. Keys are unique: all numbers have two digits.
        let unique = |(row, (key, captions))| (format!("{row:02}{key}"), captions);
        let rows: Vec<(String, _)> = rows.into_iter().enumerate().map(unique).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let version = if version_2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let mut properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_compression(codec)
            .set_dictionary_enabled(dictionary)
            .set_data_page_row_count_limit(page)
            .set_write_batch_size(1);
        if !dictionary {
            properties = properties.set_encoding(Encoding::PLAIN);
        }
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let file = fs::File::create(&path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
        let bytes = |text: &[u8]| ByteArray::from(text.to_vec());
        for (rows, images) in rows.chunks(group).zip(images.chunks(group)) {
            let mut columns = writer.next_row_group().unwrap();

            let keys: Vec<ByteArray> = rows.iter().map(|(key, _)| bytes(key.as_bytes())).collect();
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&keys, None, None).unwrap();
            column.close().unwrap();

            let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
            for (_, captions) in rows {
                repetition.push(0);
                repetition.extend(captions.iter().skip(1).map(|_| 1));
                definition.extend(captions.iter().map(|caption| if caption.is_some() { 3 } else { 2 }));
                if captions.is_empty() {
                    definition.push(1);
                }
                values.extend(captions.iter().flatten().map(|caption| bytes(caption.as_bytes())));
            }
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&definition), Some(&repetition)).unwrap();
            column.close().unwrap();

            let images = &images[..rows.len()];
            let definition: Vec<i16> = images.iter().map(|image| image.is_some().into()).collect();
            let values: Vec<ByteArray> = images.iter().flatten().map(|image| bytes(image)).collect();
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&definition), None).unwrap();
            column.close().unwrap();
            columns.close().unwrap();
        }
        writer.close().unwrap();

        let source = open_captions(&path, &SourceOptions::default()).unwrap();
        let records = all(&*source);
        prop_assert_eq!(found(&records), records_of(&rows, usize::MAX));
        check_ranges(&*source, &records, &ranges);

        let source = open_images(&path, &SourceOptions::default()).unwrap();
        let records = all(&*source);
        for ((record, image), (key, _)) in records.iter().zip(&images).zip(&rows) {
            prop_assert_eq!(&record.key, key);
            let value = record.value.clone().ok();
            prop_assert_eq!(value, image.clone().map(ImageData::Bytes));
        }
        prop_assert_eq!(records.len(), rows.len());
        check_ranges(&*source, &records, &ranges);
    }
}

#[test]
fn a_key_of_two_images_is_skipped_on_both_sides() {
    const SCHEMA: &str = "message table { required binary key (STRING); required binary image; required binary caption (STRING); }";
    let write = |name: &str, columns: [&[&str]; 3]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer =
            SerializedFileWriter::new(fs::File::create(&path).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for values in columns {
            let values: Vec<ByteArray> = values.iter().map(|value| ByteArray::from(*value)).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        (folder, path)
    };
    // Two tables that number their rows anew, joined into one; the last row is another caption of the first image.
    let (_folder, path) =
        write("a.parquet", [&["0", "1", "0", "0"], &["x", "y", "z", "x"], &["a", "b", "c", "d"]]);
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(keys(&records), ["0", "1", "row 3", "0"]);
    assert_eq!(usable(&records), [Some("a"), Some("b"), None, Some("d")]);
    let of_images = images(&path, &SourceOptions::default());
    assert_eq!(of_images[3].value, Ok(ImageData::Bytes(b"x".to_vec())));
    for reason in [reason(&records[2]), reason(&of_images[2])] {
        assert!(reason.starts_with("the key `0` is that of another image in an earlier row"), "{reason}");
    }
    // Parts agree with the whole.
    let source = open_captions(&path, &SourceOptions::default()).unwrap();
    let part: Vec<_> = source.records(2..4).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(part, records[2..]);
}
