//! Memory of reading malicious Parquet files. A single test in its own binary, because the allocator counts all threads.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;

use peak_alloc::PeakAlloc;
use sail_data::source::{SourceOptions, open_captions};

use crate::parquet_writer::{Thrift, dictionary, page, parquet, required};

#[path = "source/parquet_writer.rs"]
mod parquet_writer;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Reads a file, and returns the error and the peak memory in MiB.
fn read(bytes: &[u8]) -> (String, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    std::fs::write(&path, bytes).unwrap();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let error = match open_captions(&path, &SourceOptions::default()) {
        Ok(source) => source.records(0..5).unwrap().collect::<Result<Vec<_>, _>>().unwrap_err(),
        Err(error) => error,
    };
    (error.to_string(), (ALLOCATOR.peak_usage() - before) >> 20)
}

#[test]
fn memory_is_bounded() {
    let gigabyte = |writer: &mut dyn Write| (0..1024).for_each(|_| writer.write_all(&[0; 1 << 20]).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gigabyte(&mut gzip);
    let mut zstd = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    gigabyte(&mut zstd);
    // 16 MiB, as written by pyarrow.
    let brotli = *b"\xcb\xff\xff\x3f\0\x24\0\xe2\xb1\x40\x72\xef\xff\xf2\xff\xff\x0f\x80\x04\x40\x1c\x16\x80\xee\xfd\x1f";
    let pages = [
        ("gzip", 2, gzip.finish().unwrap()),
        ("zstd", 6, zstd.finish().unwrap()),
        ("brotli", 4, brotli.to_vec()),
        // A window of a gigabyte.
        ("large brotli", 4, [&[0x11, 0x1e], &brotli[1..]].concat()),
        ("lz4", 7, vec![0x1f, 0, 1, 0, 255, 255]),
        // A block of Hadoop, which states its own size.
        ("old lz4", 5, [&[0x3f, 255, 255, 255, 0, 0, 0, 6], &[0x1f, 0, 1, 0, 255, 255][..]].concat()),
    ];
    let lengths = |count: u64| Thrift::new().varint(1 << 40).varint(1).varint(count).varint(0).0;
    let many = |count: i64| parquet(&page(&lengths(count as u64), 11, count, 6), 0, count, count, required());
    let files: Vec<_> = pages
        .iter()
        .flat_map(|(name, codec, bytes)| {
            [100, 64 << 20].map(|size| {
                (
                    format!("{name} of {size} bytes"),
                    parquet(&page(bytes, size, 1, 0), *codec, 1, 1, required()),
                )
            })
        })
        .chain([
            ("lengths".to_owned(), parquet(&page(&lengths(1 << 40), 11, 1, 6), 0, 1, 1, required())),
            ("lengths of a long page".to_owned(), many(1 << 30)),
            ("dictionary".to_owned(), parquet(&dictionary(b"\x02\0\0\0hi", 1 << 31), 0, 1, 1, required())),
        ])
        .collect();
    for (name, bytes) in files {
        let (error, peak) = read(&bytes);
        // A buffer that grows takes up to three times the size of the page.
        assert!(peak < 220, "{name}: {peak} MiB, {error}");
    }
}
