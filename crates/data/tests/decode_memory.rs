//! What decoding takes and keeps, measured as the process's largest resident size; so one test in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use sail_data::{DecodeLimits, decode_image};

/// The largest resident size so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Zeros as zlib packs them: one zero, then copies of the 258 bytes before.
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
    let before = peak();
    (0..100).for_each(|_| decode_all());
    assert!(peak() <= before + 4, "{before} MiB grew to {} over 6,500 images", peak());

    // Metadata of a kind that unpacks: a gigabyte, in 6 MiB of a file.
    let png = std::fs::read(folder.join("rgb.png")).unwrap();
    let with_chunk = |kind: &[u8], copies| {
        let chunk = [kind, b"name\0\0", &packed_zeros(copies)].concat();
        let length = u32::try_from(chunk.len() - 4).unwrap().to_be_bytes();
        [&png[..33], &length, &chunk, &crc32(&chunk).to_be_bytes(), &png[33..]].concat()
    };
    let bombs = [with_chunk(b"iCCP", 4_000_000), with_chunk(b"zTXt", 4_000_000)];

    let before = peak();
    for bomb in &bombs {
        let _ = decode_image(bomb, &limits);
    }
    assert!(peak() < before + 150, "{before} MiB grew to {} by two bombs", peak());
}
