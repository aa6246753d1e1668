//! The page.

use std::fmt::{self, Formatter};
use std::path::Path;

use crate::error::ReportError;
use crate::escape::Escaped;
use crate::section::Section;

const STYLE: &str = include_str!("style.css");

/// Forbids everything but the inline style and embedded images.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// A report: one self-contained HTML page.
///
/// See the [crate documentation](crate) for an example of every part.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    subtitle: String,
    key_figures: Vec<(String, String)>,
    sections: Vec<Section>,
    footer: String,
}

impl Report {
    /// Creates an empty report.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            subtitle: String::new(),
            key_figures: Vec::new(),
            sections: Vec::new(),
            footer: String::new(),
        }
    }

    /// Sets the line below the title.
    pub fn subtitle(mut self, subtitle: impl Into<String>) -> Self {
        self.subtitle = subtitle.into();
        self
    }

    /// Adds a value that is displayed large below the title, with its meaning.
    pub fn key_figure(mut self, value: impl Into<String>, meaning: impl Into<String>) -> Self {
        self.key_figures.push((value.into(), meaning.into()));
        self
    }

    /// Adds a section.
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// Sets the footer, such as the program with its version, or a date.
    pub fn footer(mut self, footer: impl Into<String>) -> Self {
        self.footer = footer.into();
        self
    }

    /// Renders the page, deterministically.
    ///
    /// # Errors
    /// [`ReportError::RowLength`] and [`ReportError::UnknownColumn`] for invalid tables and matrices.
    pub fn to_html(&self) -> Result<String, ReportError> {
        self.sections.iter().try_for_each(Section::check)?;
        Ok(fmt::from_fn(|out| self.render(out)).to_string())
    }

    /// Writes the page to `path`, atomically.
    ///
    /// # Errors
    /// Those of [`to_html`](Self::to_html), and [`ReportError::Save`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ReportError> {
        let html = self.to_html()?;
        sail_support::write_atomic(path, |out| out.write_all(html.as_bytes()))
            .map_err(|source| ReportError::Save { path: path.to_owned(), source })
    }

    fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let title = Escaped(&self.title);
        write!(
            out,
            "<!DOCTYPE html>\n\
             <html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
             <meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{title}</h1>\n",
            policy = Escaped(POLICY),
        )?;
        if !self.subtitle.is_empty() {
            writeln!(out, "<p class=\"subtitle\">{}</p>", Escaped(&self.subtitle))?;
        }
        if !self.key_figures.is_empty() {
            out.write_str("<dl class=\"key-figures\">\n")?;
            for (value, meaning) in &self.key_figures {
                let (value, meaning) = (Escaped(value), Escaped(meaning));
                writeln!(out, "<div><dt>{meaning}</dt><dd>{value}</dd></div>")?;
            }
            out.write_str("</dl>\n")?;
        }
        out.write_str("</header>\n<main>\n")?;
        self.sections.iter().try_for_each(|section| section.render(out))?;
        out.write_str("</main>\n")?;
        if !self.footer.is_empty() {
            writeln!(out, "<footer>{}</footer>", Escaped(&self.footer))?;
        }
        out.write_str("</body>\n</html>\n")
    }
}
