//! Images in terminals that show them.

use std::env;
use std::io::{self, IsTerminal, Write, stdout};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use icy_sixel::SixelImage;
use sail_vl::core::{Named, RgbImage};
use sail_vl::data::{DecodeLimits, decode_image, thumbnail};

/// Lines of a terminal that an image takes.
const LINES: usize = 8;
/// Pixels of the longer side of an image in sixels, which have no other unit: about as many lines of 20 pixels.
const SIXELS: u32 = 160;
/// Characters of a chunk, at most 4,096 and a multiple of 4.
const CHUNK: usize = 4096;

/// How a terminal is sent images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageProtocol {
    /// The [graphics protocol](https://sw.kovidgoyal.net/kitty/graphics-protocol/) of kitty and Ghostty.
    Kitty,
    /// The [inline images](https://iterm2.com/documentation-images.html) of iTerm2, WezTerm and mintty.
    Inline,
    /// Sixels, which foot, mlterm, contour, Konsole, Windows Terminal and xterm show, in 256 colors.
    Sixel,
}

impl Named for ImageProtocol {
    const ALL: &'static [Self] = &[Self::Kitty, Self::Inline, Self::Sixel];

    fn name(self) -> &'static str {
        match self {
            Self::Kitty => "kitty",
            Self::Inline => "inline",
            Self::Sixel => "sixel",
        }
    }
}

impl ImageProtocol {
    /// Returns the protocol of the terminal that standard output is, by what it says of itself. `None` if there is no terminal or
    /// nothing is known about it, and inside of tmux and screen, which do not pass images on.
    pub(crate) fn detect() -> Option<Self> {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        stdout().is_terminal().then(|| Self::of(variable)).flatten()
    }

    fn of(variable: impl Fn(&str) -> String) -> Option<Self> {
        let is_set = |name: &str| !variable(name).is_empty();
        if is_set("TMUX") || variable("TERM").starts_with("screen") {
            return None;
        }
        match (variable("TERM_PROGRAM").as_str(), variable("TERM").as_str()) {
            ("iTerm.app" | "WezTerm" | "mintty", _) => Some(Self::Inline),
            ("ghostty", _) | (_, "xterm-kitty" | "xterm-ghostty") => Some(Self::Kitty),
            (_, "foot" | "foot-extra" | "mlterm" | "contour") => Some(Self::Sixel),
            _ if is_set("KONSOLE_VERSION") || is_set("WT_SESSION") => Some(Self::Sixel),
            _ => None,
        }
    }

    /// Writes an image from the contents of a JPEG file, and a line break.
    pub(crate) fn write(self, jpeg: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Inline => {
                let (size, data) = (jpeg.len(), STANDARD.encode(jpeg));
                writeln!(out, "\x1b]1337;File=inline=1;size={size};height={LINES}:{data}\x07")
            }
            Self::Kitty => {
                let image = decode(jpeg)?;
                let (width, height) = image.dimensions();
                let data = STANDARD.encode(image.as_raw());
                let mut keys = format!("a=T,f=24,s={width},v={height},r={LINES},");
                let mut chunks = data.as_bytes().chunks(CHUNK).peekable();
                while let Some(chunk) = chunks.next() {
                    let more = u8::from(chunks.peek().is_some());
                    write!(out, "\x1b_G{keys}m={more};")?;
                    out.write_all(chunk)?;
                    out.write_all(b"\x1b\\")?;
                    keys.clear();
                }
                writeln!(out)
            }
            Self::Sixel => {
                let image = thumbnail(&decode(jpeg)?, SIXELS);
                let (width, height) = image.dimensions();
                let pixels =
                    image.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], u8::MAX]).collect();
                let image = SixelImage::try_from_rgba(pixels, width as usize, height as usize);
                let sixels = image.and_then(|image| image.encode()).map_err(io::Error::other)?;
                writeln!(out, "{sixels}")
            }
        }
    }
}

fn decode(jpeg: &[u8]) -> io::Result<RgbImage> {
    decode_image(jpeg, &DecodeLimits::default()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use sail_vl::data::encode_thumbnail;

    use super::*;

    fn jpeg() -> Vec<u8> {
        let image = RgbImage::from_fn(60, 40, |x, y| [x as u8 * 4, y as u8 * 6, (x * y) as u8].into());
        encode_thumbnail(&image, 60).unwrap()
    }

    #[test]
    fn terminals_say_what_they_are() {
        let of = |set: &[(&str, &str)]| {
            let value =
                |name: &str| set.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
            ImageProtocol::of(|name| value(name).to_owned())
        };
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Some(ImageProtocol::Kitty));
        assert_eq!(
            of(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "WezTerm")]),
            Some(ImageProtocol::Inline)
        );
        assert_eq!(of(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux")]), None);
        assert_eq!(of(&[("TERM", "xterm-256color")]), None);
        assert_eq!(of(&[("TERM", "foot")]), Some(ImageProtocol::Sixel));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("WT_SESSION", "1")]), Some(ImageProtocol::Sixel));
    }

    #[test]
    fn chunks_hold_all_pixels() {
        let jpeg = jpeg();
        let mut out = Vec::new();
        ImageProtocol::Kitty.write(&jpeg, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let chunks: Vec<(&str, &str)> = text
            .trim_end()
            .split_terminator("\x1b\\")
            .map(|chunk| chunk.strip_prefix("\x1b_G").unwrap().split_once(';').unwrap())
            .collect();
        assert_eq!((chunks[0].0, chunks[1].0), ("a=T,f=24,s=60,v=40,r=8,m=1", "m=1"));
        assert_eq!(chunks.last().unwrap().0, "m=0");
        assert!(chunks.iter().all(|(_, data)| data.len() <= 4096));
        let data: String = chunks.iter().map(|(_, data)| *data).collect();
        let image = decode_image(&jpeg, &DecodeLimits::default()).unwrap();
        assert_eq!(&STANDARD.decode(data).unwrap(), image.as_raw());

        let mut out = Vec::new();
        ImageProtocol::Inline.write(&jpeg, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let data = text.split_once(':').unwrap().1.strip_suffix("\x07\n").unwrap();
        assert_eq!(STANDARD.decode(data).unwrap(), jpeg);
    }

    #[test]
    fn sixels_show_the_image() {
        let mut out = Vec::new();
        ImageProtocol::Sixel.write(&jpeg(), &mut out).unwrap();
        assert!(out.starts_with(b"\x1bP") && out.ends_with(b"\x1b\\\n"));
        let shown = SixelImage::decode(&out).unwrap();
        let image = decode(&jpeg()).unwrap();
        assert_eq!((shown.width, shown.height >= 40), (60, true));
        let of_row = |y: u32| (0..60).map(move |x| (x, y));
        let errors = (0..40).flat_map(of_row).map(|(x, y)| {
            let at = 4 * (y as usize * shown.width + x as usize);
            let pixel = image.get_pixel(x, y).0;
            (0..3).map(|channel| f64::from(pixel[channel].abs_diff(shown.pixels[at + channel]))).sum::<f64>()
        });
        let mean = errors.sum::<f64>() / f64::from(3 * 60 * 40);
        assert!(mean < 12.0, "{mean}");
    }
}
