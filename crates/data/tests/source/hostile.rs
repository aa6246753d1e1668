//! Corrupt and malicious files: no panics, no endless iteration, no allocation beyond the file size.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// The data sets to corrupt.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let names = [
        "comma.csv",
        "tab.tsv",
        "lines.jsonl",
        "coco.json",
        "shards/00000.tar",
        "long_gnu.tar",
        "long_pax.tar",
        #[cfg(feature = "parquet")]
        "plain.parquet",
        #[cfg(feature = "parquet")]
        "gzip_v2.parquet",
        #[cfg(feature = "parquet")]
        "zstd_v2_plain.parquet",
        #[cfg(feature = "parquet")]
        "small_pages.parquet",
    ];
    names.into_iter().map(|name| (name, fs::read(fixture(name)).unwrap())).collect()
});

/// Iterates over a file in all ways. The result does not matter.
fn use_source(path: &Path) {
    fn walk<T>(source: Result<Box<dyn RecordSource<T>>, DataError>) {
        let Ok(source) = source else { return };
        let _ = source.count();
        for start in [0, 3] {
            // A run-length encoded column of a few kilobytes can have any number of records.
            if let Ok(records) = source.records(start..100_000) {
                records.for_each(drop);
            }
        }
    }
    let default = SourceOptions { max_text_bytes: 1000, max_image_bytes: 1000, ..SourceOptions::default() };
    walk(open_images(path, &default));
    walk(open_captions(path, &default));
    walk(open_captions(path, &options("", "", &["captions"])));
    walk(open_captions(path, &options("id", "", &["categorical", "large_captions"])));
    walk(open_captions(path, &options("", "", &["long"])));
}

/// Writes bytes to a file with the extension of their format.
fn with_bytes(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Path::new(name).file_name().unwrap());
    fs::write(&path, bytes).unwrap();
    use_source(&path);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn flips_and_cuts_never_panic(
        file in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        // Changes at the end hit the metadata of Parquet.
        near_end in prop::collection::vec((0usize..1800, any::<u8>()), 0..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        sum_again: bool,
    ) {
        let (name, bytes) = file.get(&FILES);
        let mut bytes = bytes.clone();
        for (index, value) in flips {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        for (back, value) in near_end {
            let index = bytes.len().saturating_sub(9 + back);
            bytes[index] = value;
        }
        // Correct the checksums of tars, to test the values in the headers.
        if sum_again && name.ends_with("tar") {
            for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        if let Some(length) = cut {
            bytes.truncate(length.index(bytes.len()));
        }
        with_bytes(name, &bytes);
    }

    #[test]
    fn random_bytes_never_panic(file in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (name, _) = file.get(&FILES);
        with_bytes(name, &bytes);
        if name.ends_with("parquet") && bytes.len() > 12 {
            let mut bytes = bytes;
            let end = bytes.len() - 8;
            let size = (end as u32 - 4).to_le_bytes();
            bytes[end..end + 4].copy_from_slice(&size);
            bytes[end + 4..].copy_from_slice(b"PAR1");
            with_bytes(name, &bytes);
        }
    }
}

/// Handwritten Parquet files with invalid values.
#[cfg(feature = "parquet")]
mod bombs {
    use std::io::Write;

    use super::*;

    /// Fields of a struct in the compact protocol of Thrift, each with the increment of the id.
    struct Thrift(Vec<u8>);

    impl Thrift {
        fn new() -> Self {
            Self(Vec::new())
        }

        fn varint(mut self, mut number: u64) -> Self {
            while number > 0x7f {
                self.0.push(number as u8 | 0x80);
                number >>= 7;
            }
            self.0.push(number as u8);
            self
        }

        fn head(mut self, step: u8, kind: u8) -> Self {
            self.0.push(step << 4 | kind);
            self
        }

        fn integer(self, step: u8, number: i64) -> Self {
            self.head(step, 6).varint((number << 1 ^ number >> 63) as u64)
        }

        fn text(mut self, step: u8, text: &str) -> Self {
            self = self.head(step, 8).varint(text.len() as u64);
            self.0.extend(text.as_bytes());
            self
        }

        fn structure(mut self, step: u8, fields: Thrift) -> Self {
            self = self.head(step, 12);
            self.0.extend(fields.end());
            self
        }

        fn list(mut self, step: u8, items: Vec<Thrift>) -> Self {
            self = self.head(step, 9).head(15, 12).varint(items.len() as u64);
            self.0.extend(items.into_iter().flat_map(Thrift::end));
            self
        }

        fn end(mut self) -> Vec<u8> {
            self.0.push(0);
            self.0
        }
    }

    /// A file with the single column `caption` of `values` values in `rows` rows. `schema` follows the root.
    fn parquet(pages: &[u8], codec: i64, values: i64, rows: i64, schema: Vec<Thrift>) -> Vec<u8> {
        let metadata = Thrift::new().integer(1, 6).integer(3, codec).integer(1, values);
        let metadata = metadata.integer(2, pages.len() as i64).integer(2, 4);
        let group = Thrift::new().list(1, vec![Thrift::new().structure(3, metadata)]).integer(2, rows);
        let root = Thrift::new().text(4, "root").integer(1, 1);
        let schema = [root].into_iter().chain(schema).collect();
        let footer = Thrift::new().integer(1, 1).list(1, schema).integer(1, rows).list(1, vec![group]).end();
        let size = footer.len() as u32;
        [b"PAR1", pages, &footer, &size.to_le_bytes(), b"PAR1"].concat()
    }

    fn required() -> Vec<Thrift> {
        vec![Thrift::new().integer(1, 6).integer(2, 0).text(1, "caption").integer(2, 0)]
    }

    fn repeated() -> Vec<Thrift> {
        vec![Thrift::new().integer(1, 6).integer(2, 2).text(1, "caption").integer(2, 0)]
    }

    /// A data page of version 1.
    fn page(body: &[u8], uncompressed: i64, values: i64, encoding: i64) -> Vec<u8> {
        let data = Thrift::new().integer(1, values).integer(1, encoding).integer(1, 3).integer(1, 3);
        let header = Thrift::new().integer(1, 0).integer(1, uncompressed).integer(1, body.len() as i64);
        [&header.structure(2, data).end(), body].concat()
    }

    /// A dictionary.
    fn dictionary(body: &[u8], values: i64) -> Vec<u8> {
        let data = Thrift::new().integer(1, values).integer(1, 0);
        let size = body.len() as i64;
        let header = Thrift::new().integer(1, 2).integer(1, size).integer(1, size);
        [&header.structure(4, data).end(), body].concat()
    }

    fn open(bytes: &[u8]) -> Result<Vec<Record<String>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        fs::write(&path, bytes).unwrap();
        let source = open_captions(&path, &SourceOptions::default()).map_err(|error| error.to_string())?;
        source.records(0..5).unwrap().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    }

    fn assert_rejected(bytes: &[u8], part: &str) {
        let error = open(bytes).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }

    #[test]
    fn reads_handwritten_files() {
        let body = b"\x02\0\0\0hi\x03\0\0\0you";
        let file = parquet(&page(body, body.len() as i64, 2, 0), 0, 2, 2, required());
        assert_eq!(usable(&open(&file).unwrap()), [Some("hi"), Some("you")]);
    }

    #[test]
    fn rejects_pages_with_wrong_sizes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..1000 {
            gzip.write_all(&[0; 1 << 20]).unwrap();
        }
        let gzip = gzip.finish().unwrap();
        assert_rejected(
            &parquet(&page(&gzip, 100, 1, 0), 2, 1, 1, required()),
            "101 bytes decompressed, expected 100",
        );
        assert_rejected(
            &parquet(&page(&gzip, 1 << 30, 1, 0), 2, 1, 1, required()),
            "expected at most 536870912",
        );
        // A preamble with a length of four gigabytes.
        assert_rejected(
            &parquet(&page(b"\xff\xff\xff\xff\x0f\0", 100, 1, 0), 1, 1, 1, required()),
            "4294967295 bytes",
        );
        let zstd = zstd::bulk::compress(&vec![0; 1 << 24], 3).unwrap();
        assert_rejected(&parquet(&page(&zstd, 100, 1, 0), 6, 1, 1, required()), "cannot be decompressed");
        assert_rejected(&parquet(&page(b"abc", -1, 1, 0), 6, 1, 1, required()), "header");
        assert_rejected(&parquet(&page(b"abc", 2, 1, 0), 0, 1, 1, required()), "does not match");
    }

    #[test]
    fn rejects_counts_out_of_range() {
        let huge = i64::MAX;
        let body = b"\x02\0\0\0hi";
        let good = page(body, 6, 1, 0);
        assert_rejected(&parquet(&good, 0, huge, huge, required()), "inconsistent");
        assert_rejected(&parquet(&good, 0, 1, 2, required()), "inconsistent");
        assert_rejected(&parquet(&good, 0, -1, -1, required()), "inconsistent");
        assert_rejected(&parquet(&good, 0, 1 << 40, 1 << 40, required()), "fewer rows");
        assert_rejected(
            &parquet(&page(body, 6, huge, 0), 0, 1 << 40, 1 << 40, required()),
            "more values than stated",
        );
        assert_rejected(&parquet(&page(body, 6, 1 << 40, 0), 0, 1 << 40, 1 << 40, required()), "truncated");
        assert_rejected(&parquet(&page(b"\xff\xff\xff\xffhi", 6, 1, 0), 0, 1, 1, required()), "truncated");
        assert_rejected(&parquet(&good, 0, 1, 1, vec![]), "inconsistent");
        let lost = [dictionary(b"\x02\0\0\0hi", huge), page(b"\x01\x02\0", 3, 1, 8)].concat();
        assert_rejected(&parquet(&lost, 0, 1, 1, required()), "dictionary is truncated");
        let beyond = [dictionary(b"\x02\0\0\0hi", 1), page(b"\x01\x02\x01", 3, 1, 8)].concat();
        assert_rejected(&parquet(&beyond, 0, 1, 1, required()), "dictionary index 1 is out of range");
        assert_rejected(
            &parquet(&page(b"\x01\x02\0", 3, 1, 8), 0, 1, 1, required()),
            "dictionary is missing",
        );
        assert_rejected(&parquet(&page(b"\xff\x02\0", 3, 1, 8), 0, 1, 1, required()), "out of range");
        let twice = [dictionary(b"\x02\0\0\0hi", 1), dictionary(b"\x02\0\0\0hi", 1)].concat();
        assert_rejected(&parquet(&twice, 0, 1, 1, required()), "two dictionaries");
    }

    #[test]
    fn rejects_billions_of_values_in_a_row() {
        // Repetition level 1 and definition level 1 in runs of 2^40, all of the first entry of the dictionary.
        let run = |value: u8| [&Thrift::new().varint(1 << 41).0[..], &[value]].concat();
        let levels = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
        let repetition = levels(&[&[2, 0], &run(1)[..]].concat());
        let body = [repetition, levels(&run(1)), vec![0], run(0)].concat();
        let value = [&60_000u32.to_le_bytes()[..], &[b'x'; 60_000]].concat();
        let pages = [dictionary(&value, 1), page(&body, body.len() as i64, 1 << 40, 8)].concat();
        assert_rejected(&parquet(&pages, 0, 1 << 40, 1, repeated()), "more than 65536 values");
    }

    #[test]
    fn rejects_deep_schemas_and_other_files() {
        let group = || Thrift::new().integer(3, 1).text(1, "caption").integer(1, 1);
        let deep: Vec<Thrift> = (0..100_000).map(|_| group()).collect();
        assert_rejected(&parquet(b"", 0, 0, 0, deep), "inconsistent");
        for (bytes, part) in [
            (&b""[..], "0 bytes"),
            (b"PAR1", "4 bytes"),
            (b"PAR1\0\0\0\0\0\0\0\0PARE", "encrypted"),
            (b"PAR1\0\0\0\0\0\0\0\0PAR2", "magic bytes"),
            (b"PAR1\0\0\0\0\xff\xff\xff\xffPAR1", "its footer has 4294967295 bytes"),
        ] {
            assert_rejected(bytes, part);
        }
    }
}
