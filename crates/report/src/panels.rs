//! Rows of images: input, prediction, target.

use std::fmt::{self, Formatter};

use crate::escape::Escaped;
use crate::image::Image;

/// Rows of images to compare, with a legend of their colours.
///
/// # Examples
/// ```
/// use sail_report::{Panel, Panels, Image};
/// let panel = Panel::new("cat on grass")
///     .note("cat 81 %, grass 93 %")
///     .image("prediction", Image::text("🐈"))
///     .image("truth", Image::text("🐈"));
/// let panels = Panels::new().legend("cat", [64, 0, 0]).panel(panel);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Panels {
    legend: Vec<(String, [u8; 3])>,
    panels: Vec<Panel>,
}

/// A row of [`Panels`].
#[derive(Clone, Debug)]
pub struct Panel {
    title: String,
    note: String,
    images: Vec<(String, Image)>,
}

impl Panels {
    /// Creates panels without images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an RGB colour to the legend.
    pub fn legend(mut self, name: impl Into<String>, colour: [u8; 3]) -> Self {
        self.legend.push((name.into(), colour));
        self
    }

    /// Adds a row.
    pub fn panel(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }

    pub(crate) fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.panels.is_empty() {
            return out.write_str("<p class=\"note\">No images.</p>\n");
        }
        if !self.legend.is_empty() {
            out.write_str("<ul class=\"swatches\">\n")?;
            for (name, [red, green, blue]) in &self.legend {
                let name = Escaped(name);
                writeln!(
                    out,
                    "<li><span class=\"swatch\" style=\"background:#{red:02x}{green:02x}{blue:02x}\"></span>{name}</li>"
                )?;
            }
            out.write_str("</ul>\n")?;
        }
        out.write_str("<ul class=\"panels\">\n")?;
        self.panels.iter().try_for_each(|panel| panel.render(out))?;
        out.write_str("</ul>\n")
    }
}

impl Panel {
    /// Creates a row without images.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), note: String::new(), images: Vec::new() }
    }

    /// Sets a note below the title, such as a score.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Adds an image with a caption.
    pub fn image(mut self, caption: impl Into<String>, image: Image) -> Self {
        self.images.push((caption.into(), image));
        self
    }

    fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "<li>\n<h3>{}</h3>", Escaped(&self.title))?;
        if !self.note.is_empty() {
            writeln!(out, "<p class=\"note\">{}</p>", Escaped(&self.note))?;
        }
        out.write_str("<div class=\"row\">\n")?;
        for (caption, image) in &self.images {
            out.write_str("<figure>\n")?;
            image.render(&format!("{}: {caption}", self.title), out)?;
            writeln!(out, "<figcaption>{}</figcaption>\n</figure>", Escaped(caption))?;
        }
        out.write_str("</div>\n</li>\n")
    }
}
