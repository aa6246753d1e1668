//! Memory of an extraction. A single test in its own binary, because the allocator counts all threads.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

#[path = "extract/fakes.rs"]
mod fakes;

use fakes::{Made, image, images, options};
use peak_alloc::PeakAlloc;
use sail_extract::ExtractOptions;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    let folder = tempfile::tempdir().unwrap();
    let options = ExtractOptions { block: 32, rows_per_shard: 4096, ..options() };
    let peak = |count: u64| {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let source = Made { count, record: image };
        let extraction = images(&source, &folder.path().join(count.to_string()), &options).unwrap();
        assert_eq!(extraction.rows, count);
        ALLOCATOR.peak_usage() - before
    };
    let (few, many) = (peak(10_000), peak(100_000));
    // 90,000 more rows are 23 MiB and 90,000 more images 6 MiB. 16 bytes per key are kept, which is 1.4 MiB.
    let grown = (many - few.min(many)) >> 10;
    assert!(grown < 4 << 10, "{grown} KiB more than {few} bytes");
}
