//! One HTML file that tells what a training run did: its figures, its curves, its images.
//!
//! A report outlives the program that wrote it. It is opened years later from a mail, on a telephone, or
//! on a cluster's file browser, so the file must need nothing: the style is inline, the charts are inline
//! SVG, images are data URIs, and there is no script. A content security policy in the page forbids
//! the browser to load or run anything, whatever the text says.
//!
//! A [`Report`] is plain data put together by builders; nothing is checked or written until
//! [`Report::to_html`] or [`Report::save`], which are the only calls on it that can fail. The same report
//! always gives the same bytes: no clock, no random identifiers. Put a date in
//! [`Report::footer`] if one is wanted.
//!
//! What holds for every part:
//!
//! * All text is data. It is escaped for where it stands, and control characters become U+FFFD.
//! * Nothing rests on colour alone (but [`Panels`], whose images are colours): series differ by dash and marker too, answers carry a sign, the best
//!   value of a column is bold and underlined. Colours are told apart with any of the three colour-vision
//!   deficiencies and hold the WCAG AA contrast on the light and on the dark page (both are tested).
//! * Every chart has a text alternative and its numbers in a table below it.
//! * The page is well-formed XML, so that other programs can read it.
//!
//! # Examples
//! ```
//! use sail_report::{Facts, Gallery, GalleryItem, LineChart, Image, Report, Section, Table};
//!
//! let results = Table::new(["head", "R@1", "median rank"])
//!     .row(["linear", "14.2", "9"])
//!     .row(["GLU", "18.6", "6"])
//!     .higher_is_better(["R@1"])
//!     .lower_is_better(["median rank"]);
//! let loss = LineChart::new("Loss", "epoch", "loss")
//!     .series("GLU", [(1.0, 0.42), (2.0, 0.11), (3.0, 0.04)])
//!     .log_y();
//! let fox = GalleryItem::new(Image::text("🦊"))
//!     .title("fox face")
//!     .candidate("fox face", 0.83, true)
//!     .candidate("wolf", 0.41, false);
//! let report = Report::new("Aligning EfficientNet-Lite0 and MiniLM")
//!     .subtitle("1,376 emoji images, 370 held out")
//!     .key_figure("18.6 %", "recall@1, image to text")
//!     .section(Section::new("Results").text("Higher is better.").table(results))
//!     .section(Section::new("Training").chart(loss))
//!     .section(Section::new("Held-out images").gallery(Gallery::new().item(fox)))
//!     .section(Section::new("Configuration").facts(Facts::new().fact("seed", "0")));
//!
//! let folder = tempfile::tempdir()?;
//! report.save(&folder.path().join("report.html"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod axis;
mod chart;
mod error;
mod escape;
mod facts;
mod gallery;
mod image;
mod matrix;
mod panels;
mod plot;
mod report;
mod section;
mod table;
mod thin;

pub use chart::LineChart;
pub use error::ReportError;
pub use facts::Facts;
pub use gallery::{Gallery, GalleryItem};
pub use image::Image;
pub use matrix::Matrix;
pub use panels::{Panel, Panels};
pub use report::Report;
pub use section::Section;
pub use table::Table;
