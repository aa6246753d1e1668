//! Formats by content.

use image::ImageFormat;
use sail_support::stand_in;

use super::error::DecodeError;

/// A supported format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) kind: ImageFormat,
    pub(super) name: &'static str,
    /// Whether it is a BMP without the header of a file, as in `.dib`.
    pub(super) is_dib: bool,
}

impl Format {
    /// Detects the format of an image.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        if let Some(found) = stand_in(bytes) {
            return Err(DecodeError::StandIn { found: found.to_string() });
        }
        let is_dib = is_dib(bytes);
        let (kind, name) = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) if !bytes.starts_with(JPEG_LS) => (ImageFormat::Jpeg, "jpeg"),
            Ok(ImageFormat::Png) => (ImageFormat::Png, "png"),
            Ok(ImageFormat::WebP) => (ImageFormat::WebP, "webp"),
            Ok(ImageFormat::Gif) => (ImageFormat::Gif, "gif"),
            Ok(ImageFormat::Bmp) => (ImageFormat::Bmp, "bmp"),
            Ok(ImageFormat::Tiff) => (ImageFormat::Tiff, "tiff"),
            Ok(ImageFormat::Ico) => (ImageFormat::Ico, "ico"),
            Ok(ImageFormat::Pnm) if is_pnm(bytes) => (ImageFormat::Pnm, "pnm"),
            _ if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") => (ImageFormat::Tiff, "tiff"),
            // Formats without a signature.
            _ if is_dib => (ImageFormat::Bmp, "bmp"),
            _ if is_tga(bytes) => (ImageFormat::Tga, "tga"),
            _ => match other(bytes) {
                Some(found) => return Err(DecodeError::OtherFormat { found }),
                None => return Err(DecodeError::UnknownFormat),
            },
        };
        Ok(Self { kind, name, is_dib })
    }
}

/// A JPEG whose first segment is a frame of JPEG-LS.
const JPEG_LS: &[u8] = b"\xff\xd8\xff\xf7";

/// The first bytes of formats that are not supported.
const OTHERS: [(&[u8], &str); 31] = [
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (JPEG_LS, "a JPEG-LS image"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"AT&TFORM", "a DjVu document"),
    (b"qoif", "a QOI image"),
    (b"farbfeld", "a farbfeld image"),
    (b"DDS ", "a DDS texture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"SIMPLE  =", "a FITS image"),
    (b"icns", "an Apple icon"),
    (b"\0\0\x02\0", "a Windows cursor"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x0a\x05\x01", "a PCX image"),
    (b"\x01\xda\x00", "an SGI image"),
    (b"\x01\xda\x01", "an SGI image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"Pf\n", "a floating-point PNM image"),
    (b"PF\n", "a floating-point PNM image"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
];

/// Names a format that is not supported.
fn other(bytes: &[u8]) -> Option<&'static str> {
    let signed = OTHERS.iter().find(|(signature, _)| bytes.starts_with(signature)).map(|(_, name)| *name);
    signed.or_else(|| media_file(bytes)).or_else(|| is_svg(bytes).then_some("an SVG image"))
}

/// Names an ISO base media file by its brands: the major one, a version, and those that it is compatible with.
fn media_file(bytes: &[u8]) -> Option<&'static str> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let rest = rest.strip_prefix(b"ftyp")?;
    let length = (u32::from_be_bytes(*size) as usize).saturating_sub(8);
    let brands = rest[..length.min(rest.len())].as_chunks::<4>().0;
    let has = |wanted: &[&[u8; 4]]| brands.iter().any(|brand| wanted.contains(&brand));
    Some(if has(&[b"avif", b"avis"]) {
        "an AVIF image"
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        "a HEIC image"
    } else if has(&[b"crx "]) {
        "a Canon raw image"
    } else {
        "an MP4 or QuickTime video"
    })
}

fn is_svg(bytes: &[u8]) -> bool {
    let start = sail_support::strip_bom(bytes).trim_ascii_start();
    let start = &start[..start.len().min(4096)];
    let is_xml = [&b"<?xml"[..], b"<!DOCTYPE svg", b"<!--"].iter().any(|tag| start.starts_with(tag));
    start.starts_with(b"<svg") || is_xml && start.windows(4).any(|tag| tag == b"<svg")
}

/// Two letters and the start of a number or a comment: a text can begin with two letters.
fn is_pnm(bytes: &[u8]) -> bool {
    match bytes {
        [b'P', b'7', b'\n', ..] => true,
        [b'P', _, space, next, ..] => {
            space.is_ascii_whitespace()
                && (next.is_ascii_digit() || next.is_ascii_whitespace() || *next == b'#')
        }
        _ => false,
    }
}

/// The size of the header, and from the usual sizes on, one plane and a known depth.
fn is_dib(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<16>() else { return false };
    let [size, rest @ ..] = header;
    let depth = u16::from_le_bytes([header[14], header[15]]);
    matches!(size, 40 | 52 | 56 | 64 | 108 | 124)
        && rest[..3] == [0; 3]
        && header[12..14] == [1, 0]
        && matches!(depth, 1 | 4 | 8 | 16 | 24 | 32)
}

/// The fields of the header that can have few values.
fn is_tga(bytes: &[u8]) -> bool {
    let Some(&header) = bytes.first_chunk::<18>() else { return false };
    let [_, map, kind, .., depth, descriptor] = header;
    let has_size = header[12..14] != [0, 0] && header[14..16] != [0, 0];
    let is_known = match kind {
        1 | 9 => map == 1 && matches!(header[7], 15 | 16 | 24 | 32) && depth == 8,
        2 | 10 => map <= 1 && matches!(depth, 15 | 16 | 24 | 32),
        3 | 11 => map <= 1 && matches!(depth, 8 | 16),
        _ => false,
    };
    has_size && is_known && descriptor & 0xc0 == 0
}
