//! Pictures in terminals that show them.

use std::env;
use std::io::{self, IsTerminal, Write, stdout};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sail_vl::data::{DecodeLimits, decode_image};

/// Lines of a terminal that a picture takes.
const LINES: usize = 8;
/// Characters of a chunk, at most 4,096 and a multiple of 4.
const CHUNK: usize = 4096;

/// How a terminal is sent pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pictures {
    /// The [graphics protocol](https://sw.kovidgoyal.net/kitty/graphics-protocol/) of kitty and Ghostty.
    Kitty,
    /// The [inline images](https://iterm2.com/documentation-images.html) of iTerm2, WezTerm and mintty.
    Inline,
}

impl Pictures {
    /// Returns the protocol of the terminal that standard output is, by what it says of itself. `None` if there is no terminal or
    /// nothing is known about it, and inside of tmux and screen, which do not pass pictures on.
    pub(crate) fn detect() -> Option<Self> {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        stdout().is_terminal().then(|| Self::of(variable)).flatten()
    }

    fn of(variable: impl Fn(&str) -> String) -> Option<Self> {
        if !variable("TMUX").is_empty() || variable("TERM").starts_with("screen") {
            return None;
        }
        match (variable("TERM_PROGRAM").as_str(), variable("TERM").as_str()) {
            ("iTerm.app" | "WezTerm" | "mintty", _) => Some(Self::Inline),
            ("ghostty", _) | (_, "xterm-kitty" | "xterm-ghostty") => Some(Self::Kitty),
            _ => None,
        }
    }

    /// Writes a picture from the contents of a JPEG file, and a line break.
    pub(crate) fn write(self, jpeg: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Inline => {
                let (size, data) = (jpeg.len(), STANDARD.encode(jpeg));
                writeln!(out, "\x1b]1337;File=inline=1;size={size};height={LINES}:{data}\x07")
            }
            Self::Kitty => {
                let image = decode_image(jpeg, &DecodeLimits::default()).map_err(io::Error::other)?;
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
        }
    }
}

#[cfg(test)]
mod tests {
    use sail_vl::core::RgbImage;
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
            Pictures::of(|name| value(name).to_owned())
        };
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Some(Pictures::Kitty));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "WezTerm")]), Some(Pictures::Inline));
        assert_eq!(of(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux")]), None);
        assert_eq!(of(&[("TERM", "xterm-256color")]), None);
    }

    #[test]
    fn chunks_hold_all_pixels() {
        let jpeg = jpeg();
        let mut out = Vec::new();
        Pictures::Kitty.write(&jpeg, &mut out).unwrap();
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
        Pictures::Inline.write(&jpeg, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let data = text.split_once(':').unwrap().1.strip_suffix("\x07\n").unwrap();
        assert_eq!(STANDARD.decode(data).unwrap(), jpeg);
    }
}
