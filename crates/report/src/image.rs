//! Embedded images.

use std::fmt::{self, Formatter};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::error::ReportError;
use crate::escape::Escaped;

/// An image: text such as an emoji, or an embedded PNG or JPEG file.
#[derive(Clone, Debug)]
pub struct Image(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Text(String),
    Encoded { media_type: &'static str, bytes: Vec<u8> },
}

impl Image {
    /// Creates an image of text: an emoji or another symbol is displayed large, words in text size.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Kind::Text(text.into()))
    }

    /// Creates an image from the contents of a PNG or JPEG file, which are embedded unchanged.
    ///
    /// The format is detected from the first bytes. SVG is not supported, because it can contain scripts and references to
    /// other files.
    ///
    /// # Errors
    /// [`ReportError::ImageFormat`] for other formats.
    ///
    /// # Examples
    /// ```
    /// use sail_report::{Image, ReportError};
    /// let gif = Image::encoded(b"GIF89a".to_vec());
    /// assert!(matches!(gif, Err(ReportError::ImageFormat { .. })));
    /// ```
    pub fn encoded(bytes: impl Into<Vec<u8>>) -> Result<Self, ReportError> {
        let bytes = bytes.into();
        let media_type = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            "image/png"
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            "image/jpeg"
        } else {
            let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Err(ReportError::ImageFormat { found: first.join(" ") });
        };
        Ok(Self(Kind::Encoded { media_type, bytes }))
    }

    /// Writes the image; `name` is its text alternative.
    pub(crate) fn render(&self, name: &str, out: &mut Formatter<'_>) -> fmt::Result {
        let name = Escaped(if name.is_empty() { "image" } else { name });
        match &self.0 {
            Kind::Text(text) => {
                // Symbols are displayed large; words would not fit.
                let words = text.chars().filter(|character| character.is_alphanumeric()).count() > 2;
                let (class, text) = (if words { "image words" } else { "image" }, Escaped(text));
                writeln!(out, "<span class=\"{class}\" role=\"img\" aria-label=\"{name}\">{text}</span>")
            }
            Kind::Encoded { media_type, bytes } => {
                let data = Base64Display::new(bytes, &STANDARD);
                let source = format_args!("data:{media_type};base64,{data}");
                writeln!(out, "<img class=\"image\" alt=\"{name}\" src=\"{source}\"/>")
            }
        }
    }
}
