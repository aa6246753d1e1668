//! Memory of decoding. A single test in its own binary, because the allocator counts all threads.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use peak_alloc::PeakAlloc;
use sail_data::{DecodeLimits, decode_image};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A zlib stream of zeros: one zero, then copies of the 258 previous bytes.
fn packed_zeros(copies: usize) -> Vec<u8> {
    // Last block, fixed codes; the codes of a zero, of a copy from one byte before, and of the end.
    let copy = (0..copies).flat_map(|_| *b"1100010100000");
    let bits: Vec<u8> = b"11000110000".iter().copied().chain(copy).chain(*b"0000000").collect();
    let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
    let checksum = u32::try_from((1 + copies * 258) % 65_521).unwrap() << 16 | 1;
    [0x78, 1].into_iter().chain(bytes).chain(checksum.to_be_bytes()).collect()
}

#[test]
fn memory_is_bounded() {
    let limits = DecodeLimits::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let images: Vec<_> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let decode_all = || {
        for bytes in &images {
            let _ = decode_image(bytes, &limits);
        }
    };
    decode_all();
    let before = ALLOCATOR.current_usage();
    (0..10).for_each(|_| decode_all());
    let after = ALLOCATOR.current_usage();
    assert!(after <= before + 1024, "{before} bytes grew to {after}");

    // Compressed metadata: a gigabyte in 6 MiB.
    let png = std::fs::read(folder.join("rgb.png")).unwrap();
    let with_chunk = |kind: &[u8], copies| {
        let chunk = [kind, b"name\0\0", &packed_zeros(copies)].concat();
        let length = u32::try_from(chunk.len() - 4).unwrap().to_be_bytes();
        [&png[..33], &length, &chunk, &crc32(&chunk).to_be_bytes(), &png[33..]].concat()
    };
    let bombs = [with_chunk(b"iCCP", 4_000_000), with_chunk(b"zTXt", 4_000_000)];

    let before = ALLOCATOR.current_usage();
    for bomb in &bombs {
        ALLOCATOR.reset_peak_usage();
        let _ = decode_image(bomb, &limits);
        let peak = (ALLOCATOR.peak_usage() - before) >> 20;
        assert!(peak < 150, "{peak} MiB");
    }
}
