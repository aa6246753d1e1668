//! Galleries of images with ranked predictions.

use std::fmt::{self, Formatter};

use crate::escape::Escaped;
use crate::image::Image;
use crate::number::significant;

/// A grid of images, each with its ranked candidates.
///
/// Score bars are relative to the highest score in the gallery, so they are comparable between images. Negative and
/// non-finite scores have empty bars.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    items: Vec<GalleryItem>,
}

/// One image of a [`Gallery`].
#[derive(Clone, Debug)]
pub struct GalleryItem {
    image: Image,
    title: String,
    note: String,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    label: String,
    score: f64,
    correct: bool,
}

impl Gallery {
    /// Creates an empty gallery.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image.
    pub fn item(mut self, item: GalleryItem) -> Self {
        self.items.push(item);
        self
    }

    pub(crate) fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            return out.write_str("<p class=\"note\">No images.</p>\n");
        }
        let scores = self.items.iter().flat_map(|item| &item.candidates).map(|candidate| candidate.score);
        let highest = scores.filter(|score| score.is_finite()).fold(0.0, f64::max);
        out.write_str("<ul class=\"gallery\">\n")?;
        for item in &self.items {
            item.render(highest, out)?;
        }
        out.write_str("</ul>\n")
    }
}

impl FromIterator<GalleryItem> for Gallery {
    fn from_iter<I: IntoIterator<Item = GalleryItem>>(items: I) -> Self {
        Self { items: items.into_iter().collect() }
    }
}

impl GalleryItem {
    /// Creates an item without title and candidates.
    pub fn new(image: Image) -> Self {
        Self { image, title: String::new(), note: String::new(), candidates: Vec::new() }
    }

    /// Sets the title, which is also the text alternative of the image.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets a note below the title, such as the rank of the correct answer.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Adds the next candidate: its text, its score, and whether it is correct.
    pub fn candidate(mut self, label: impl Into<String>, score: f64, correct: bool) -> Self {
        self.candidates.push(Candidate { label: label.into(), score, correct });
        self
    }

    fn render(&self, highest: f64, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("<li>\n")?;
        self.image.render(&self.title, out)?;
        out.write_str("<div class=\"answer\">\n")?;
        if !self.title.is_empty() {
            writeln!(out, "<h3>{}</h3>", Escaped(&self.title))?;
        }
        if !self.note.is_empty() {
            writeln!(out, "<p class=\"note\">{}</p>", Escaped(&self.note))?;
        }
        if !self.candidates.is_empty() {
            out.write_str("<ol>\n")?;
            for candidate in &self.candidates {
                candidate.render(highest, out)?;
            }
            out.write_str("</ol>\n")?;
        }
        out.write_str("</div>\n</li>\n")
    }
}

impl Candidate {
    fn render(&self, highest: f64, out: &mut Formatter<'_>) -> fmt::Result {
        let (class, sign) = if self.correct {
            ("right", "M2.5 8.5 6.5 12.5 13.5 4")
        } else {
            ("wrong", "M4.5 4.5 11.5 11.5M11.5 4.5 4.5 11.5")
        };
        let share = if self.score.is_finite() && highest > 0.0 { self.score.max(0.0) / highest } else { 0.0 };
        let (label, score, width) = (Escaped(&self.label), Score(self.score), 100.0 * share);
        writeln!(
            out,
            "<li class=\"{class}\">\
             <svg class=\"sign\" role=\"img\" viewBox=\"0 0 16 16\"><title>{class}</title><path d=\"{sign}\"/></svg>\
             <span class=\"label\">{label}</span> <span class=\"score\">{score}</span>\
             <span class=\"bar\"><span style=\"width:{width:.1}%\"></span></span></li>"
        )
    }
}

/// A score with two decimals, or in scientific notation if it is large.
struct Score(f64);

impl fmt::Display for Score {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(score) = *self;
        if !score.is_finite() || score.abs() >= 1e6 {
            return out.write_str(&significant(score));
        }
        // A small negative score must not become -0.00.
        match format!("{score:.2}").as_str() {
            "-0.00" => out.write_str("0.00"),
            rounded => out.write_str(&rounded.replace('-', "\u{2212}")),
        }
    }
}
