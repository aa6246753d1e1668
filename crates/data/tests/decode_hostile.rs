//! Invalid, truncated and malicious images.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sail_data::{DecodeError, DecodeLimits, decode_image};

const SMALL: DecodeLimits = DecodeLimits { max_pixels: 4_000_000, max_bytes: 1 << 20 };

fn images() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|kind| kind != "safetensors")).collect();
    files.sort();
    assert!(files.len() > 60);
    files
}

fn image(name: &str) -> Vec<u8> {
    let path = images().into_iter().find(|path| path.ends_with(name)).unwrap();
    std::fs::read(path).unwrap()
}

fn decode(bytes: &[u8]) -> Result<image::RgbImage, DecodeError> {
    decode_image(bytes, &SMALL)
}

#[test]
fn truncated_images_are_errors_or_complete() {
    for path in images() {
        let bytes = std::fs::read(&path).unwrap();
        let whole = decode(&bytes).unwrap();
        let is_jpeg = path.extension().unwrap() == "jpg";
        // The last number of a text has no end.
        let is_text = path.ends_with("text.ppm");
        for length in 0..bytes.len() {
            match decode(&bytes[..length]) {
                // Later frames of an animation, or a checksum at the end.
                Ok(image) => {
                    assert!(is_text || image == whole && !is_jpeg, "{}, {length} bytes", path.display())
                }
                Err(DecodeError::Panicked { reason, .. }) => {
                    panic!("{}, {length} bytes: {reason}", path.display())
                }
                Err(_) => {}
            }
        }
    }
}

#[test]
fn rejects_non_image_bytes() {
    assert_eq!(decode(b""), Err(DecodeError::Empty));
    for bytes in [&b"\0"[..], b"P5 is a photo", b"{\"error\": 404}", &[0; 4096], b"II*", b"\xff\xd8"] {
        assert_eq!(decode(bytes), Err(DecodeError::UnknownFormat), "{bytes:?}");
    }
    let truncated = |format| Err(DecodeError::Truncated { format });
    assert_eq!(decode(b"\xff\xd8\xff"), truncated("jpeg"));
    for (name, format) in [
        ("420.jpg", "jpeg"),
        ("rgb.png", "png"),
        ("lossy.webp", "webp"),
        ("rgb.bmp", "bmp"),
        ("rgb-lzw.tif", "tiff"),
        ("rgb.ppm", "pnm"),
        ("rgb.tga", "tga"),
        ("bmp.ico", "ico"),
    ] {
        let bytes = image(name);
        assert_eq!(decode(&bytes[..bytes.len() / 2]), truncated(format), "{name}");
    }
}

#[test]
fn names_what_is_not_supported() {
    for (bytes, found) in [
        (&b"\0\0\0\x1cftypavif\0\0\0\0mif1avif"[..], "an AVIF image"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0miafavif", "an AVIF image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heic", "a HEIC image"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0avc1", "an MP4 or QuickTime video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a\xfa", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"\xff\x4f\xff\x51\0", "a JPEG 2000 image"),
        (b"\xff\xd8\xff\xf7\0", "a JPEG-LS image"),
        (b"8BPS\0\x01", "a Photoshop document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG image"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a cat -->\n<svg/>", "an SVG image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"qoif\0\0\0\x01", "a QOI image"),
        (b"\0\0\x02\0\x01\0\x20\x20\0\0\0\0\0\0\xa8\x0c\0\0\x16\0\0\0", "a Windows cursor"),
        (b"PK\x03\x04", "a ZIP archive"),
    ] {
        assert_eq!(decode(bytes), Err(DecodeError::OtherFormat { found }), "{}", bytes.escape_ascii());
    }
    let error = decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n").unwrap_err();
    assert!(error.to_string().starts_with("the file is a Git LFS pointer"), "{error}");
    let error = decode(b"<!DOCTYPE html><title>404</title>").unwrap_err();
    assert!(error.to_string().starts_with("the file is an HTML page"), "{error}");
    let error = decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file is a HEIC image, which is not supported: convert it to png or jpeg"
    );
}

#[test]
fn messages_have_a_remedy() {
    let error = decode(&image("420.jpg")[..500]).unwrap_err();
    assert_eq!(error.to_string(), "the jpeg image is truncated: download or write the file again");
    let few = DecodeLimits { max_bytes: 10, ..SMALL };
    let error = decode_image(b"GIF89a.....", &few).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image has 11 bytes, expected at most 10: increase `max_bytes` if it is trusted"
    );
}

#[test]
fn limits_are_inclusive() {
    for path in images() {
        let bytes = std::fs::read(&path).unwrap();
        let limits = DecodeLimits { max_pixels: 37 * 29, max_bytes: bytes.len() as u64 };
        assert!(decode_image(&bytes, &limits).is_ok());
        let less = DecodeLimits { max_pixels: 37 * 29 - 1, ..limits };
        let error = decode_image(&bytes, &less).unwrap_err();
        assert!(matches!(error, DecodeError::TooManyPixels { limit, .. } if limit == 37 * 29 - 1), "{error}");
    }
}

/// Overwrites bytes of an image.
fn with(name: &str, at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = image(name);
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn rejects_decompression_bombs_by_their_header() {
    let limits = DecodeLimits::default();
    let huge = 60_000_u16;
    // Width and height of each format in a file of a tiny image.
    let gif = with("palette.gif", 6, &[huge.to_le_bytes(), huge.to_le_bytes()].concat());
    let bmp = with("rgb.bmp", 18, &[u32::from(huge).to_le_bytes(), u32::from(huge).to_le_bytes()].concat());
    let mut png =
        with("rgb.png", 16, &[u32::from(huge).to_be_bytes(), u32::from(huge).to_be_bytes()].concat());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    for (name, bytes) in [("gif", gif), ("bmp", bmp), ("png", png)] {
        let error = decode_image(&bytes, &limits).unwrap_err();
        let expected = DecodeError::TooManyPixels { width: 60_000, height: 60_000, limit: 178_956_970 };
        assert_eq!(error, expected, "{name}");
    }
    // A short JPEG cannot have many pixels, independent of the limit.
    let bytes = image("420.jpg");
    let header = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let jpeg = with("420.jpg", header + 5, &[huge.to_be_bytes(), huge.to_be_bytes()].concat());
    let unlimited = DecodeLimits { max_pixels: u64::MAX, max_bytes: u64::MAX };
    assert_eq!(decode_image(&jpeg, &unlimited), Err(DecodeError::Truncated { format: "jpeg" }));
}

#[test]
fn rejects_too_many_scans() {
    let bytes = image("420-progressive.jpg");
    let first = bytes.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    let scan = &bytes[first..bytes.len() - 2];
    let mut bomb = bytes[..bytes.len() - 2].to_vec();
    for _ in 0..300 {
        bomb.extend_from_slice(scan);
    }
    bomb.extend_from_slice(&[0xff, 0xd9]);
    let error = decode(&bomb).unwrap_err();
    assert!(error.to_string().contains("more than 200 scans"), "{error}");
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn corrupt_images_never_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..6), 1..8),
        near_start in any::<bool>(),
    ) {
        let files = images();
        let mut bytes = std::fs::read(which.get(&files)).unwrap();
        for (at, value, kind) in edits {
            let reach = if near_start { bytes.len().min(200) } else { bytes.len() };
            let at = at.index(reach.max(1)).min(bytes.len() - 1);
            let end = (at + usize::from(value) % 32).min(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes[at] = [0, 1, 127, 128, 254, 255][usize::from(value) % 6],
                3 => bytes[at..end].fill(0xff),
                4 if end - at < bytes.len() => drop(bytes.drain(at..end)),
                _ => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        match decode(&bytes) {
            Ok(image) => prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= SMALL.max_pixels),
            Err(error) => {
                let panicked = matches!(error, DecodeError::Panicked { .. });
                prop_assert!(!panicked, "{}", error);
            }
        }
    }

    #[test]
    fn noise_after_a_signature_never_panics(
        signature in prop::sample::select(vec![
            &b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"RIFF\x10\0\0\0WEBPVP8 ", b"RIFF\x10\0\0\0WEBPVP8L",
            b"RIFF\x10\0\0\0WEBPVP8X", b"GIF89a", b"BM", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0",
            b"P1 ", b"P2 ", b"P3 ", b"P4 9 9 ", b"P5 9 9 255 ", b"P6 ", b"P7\n", b"\0\0\x01\0\x01\0",
            b"\0\0\x02\0\0\0\0\0\0\0\0\0\x09\0\x09\0\x20\0", b"\0\x01\x09\0\0\0\x01\x18\0\0\0\0\x09\0\x09\0\x08\0",
            b"(\0\0\0\x09\0\0\0\x09\0\0\0\x01\0\x18\0",
        ]),
        noise in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = [signature, &noise].concat();
        let panicked = matches!(decode(&bytes), Err(DecodeError::Panicked { .. }));
        prop_assert!(!panicked);
    }
}
