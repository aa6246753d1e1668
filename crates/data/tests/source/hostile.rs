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
        #[cfg(feature = "parquet")]
        "brotli.parquet",
        #[cfg(feature = "parquet")]
        "lz4_old_lists.parquet",
        #[cfg(feature = "parquet")]
        "delta.parquet",
        #[cfg(feature = "parquet")]
        "delta_length_v2.parquet",
        #[cfg(feature = "parquet")]
        "split.parquet",
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
    walk(open_images(path, &options("small", "fixed", &[])));
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
    use crate::parquet_writer::{Thrift, dictionary, page, parquet, required};

    fn repeated() -> Vec<Thrift> {
        vec![Thrift::new().integer(1, 6).integer(2, 2).text(1, "caption").integer(2, 0)]
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
            "more than 100 bytes decompressed",
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
        assert_rejected(&parquet(&beyond, 0, 1, 1, required()), "dictionary index out of bounds");
        assert_rejected(
            &parquet(&page(b"\x01\x02\0", 3, 1, 8), 0, 1, 1, required()),
            "dictionary is missing",
        );
        assert_rejected(&parquet(&page(b"\xff\x02\0", 3, 1, 8), 0, 1, 1, required()), "missing");
        let wide = [dictionary(b"\x02\0\0\0hi", 1), page(b"\xff\x02\0", 3, 1, 8)].concat();
        assert_rejected(&parquet(&wide, 0, 1, 1, required()), "bit width 255");
        let twice = [dictionary(b"\x02\0\0\0hi", 1), dictionary(b"\x02\0\0\0hi", 1)].concat();
        assert_rejected(&parquet(&twice, 0, 1, 1, required()), "two dictionaries");
    }

    #[test]
    fn rejects_counts_that_a_decoder_would_allocate_for() {
        // The header of delta-encoded lengths: 128 values in one miniblock, the number of values, the first.
        let lengths = |count: u64| Thrift::new().varint(128).varint(1).varint(count).varint(4).0;
        let delta = |body: &[u8], values, encoding| {
            parquet(&page(body, body.len() as i64, values, encoding), 0, values, values, required())
        };
        let good = [lengths(1), b"hi".to_vec()].concat();
        assert_eq!(usable(&open(&delta(&good, 1, 6)).unwrap()), [Some("hi")]);
        assert_rejected(&delta(&lengths(1 << 40), 1, 6), "truncated");
        assert_rejected(&delta(&good, 2, 6), "1 values, expected 2");
        assert_rejected(&delta(&good, 1 << 30, 6), "1073741824 values, expected at most");
        // Blocks of 2^40 values without bits.
        let blocks = Thrift::new().varint(1 << 40).varint(1).varint(1 << 40).varint(4).varint(0).varint(0).0;
        assert_rejected(&delta(&blocks, 1, 6), "1099511627776 values, expected 1");
        assert_rejected(&delta(&good, 1, 7), "truncated");
        let prefixes = Thrift::new().varint(128).varint(1).varint(1).varint(0).0;
        let good = [prefixes.clone(), lengths(1), b"hi".to_vec()].concat();
        assert_eq!(usable(&open(&delta(&good, 1, 7)).unwrap()), [Some("hi")]);
        assert_rejected(&delta(&[prefixes, blocks].concat(), 1, 7), "1099511627776 values, expected 1");

        let entries = (1 << 22) + 1;
        let pages =
            [dictionary(&vec![0; 4 * entries], entries as i64), page(b"\x01\x02\0", 3, 1, 8)].concat();
        assert_rejected(&parquet(&pages, 0, 1, 1, required()), "4194305 values, expected at most");
    }

    #[test]
    fn rejects_bit_packed_levels() {
        let optional = vec![Thrift::new().integer(1, 6).integer(2, 1).text(1, "caption").integer(2, 0)];
        let body = b"\x80\x02\0\0\0hi";
        let data = Thrift::new().integer(1, 1).integer(1, 0).integer(1, 4).integer(1, 4);
        let size = body.len() as i64;
        let header = Thrift::new().integer(1, 0).integer(1, size).integer(1, size).structure(2, data);
        let pages = [&header.end(), &body[..]].concat();
        assert_rejected(&parquet(&pages, 0, 1, 1, optional), "unsupported encoding of levels");
    }

    #[test]
    fn rejects_billions_of_values_in_a_row() {
        // Repetition level 1 and definition level 1 in runs of 2^30, all of the first entry of the dictionary.
        let run = |value: u8| [&Thrift::new().varint(1 << 31).0[..], &[value]].concat();
        let levels = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
        let repetition = levels(&[&[2, 0], &run(1)[..]].concat());
        let body = [repetition, levels(&run(1)), vec![0], run(0)].concat();
        let value = [&60_000u32.to_le_bytes()[..], &[b'x'; 60_000]].concat();
        let pages = [dictionary(&value, 1), page(&body, body.len() as i64, 1 << 30, 8)].concat();
        assert_rejected(&parquet(&pages, 0, 1 << 30, 1, repeated()), "more than 65536 values");
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
