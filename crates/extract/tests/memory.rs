//! Memory does not grow with the number of images. A test binary of its own: the peak is that of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

#[path = "extract/fakes.rs"]
mod fakes;

use fakes::{Made, image, images, options};
use sail_extract::ExtractOptions;

/// The largest resident size of this process so far, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    let folder = tempfile::tempdir().unwrap();
    let options = ExtractOptions { block: 32, rows_per_shard: 4096, ..options() };
    let extract = |count: u64| {
        let source = Made { count, record: image };
        let extraction = images(&source, &folder.path().join(count.to_string()), &options).unwrap();
        assert_eq!(extraction.rows, count);
        peak()
    };
    let few = extract(10_000);
    let many = extract(100_000);
    // The rows themselves take 25 MiB, the images 8 MiB. Of each key 16 bytes are kept, which makes 1.4 MiB.
    let grown = many - few;
    assert!(grown < 6 * 1024, "{grown} KiB on top of {few}");
}
