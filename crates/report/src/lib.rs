//! Self-contained HTML reports of training and evaluation: tables, charts, matrices and images.
//!
//! A report is one file without dependencies: inline style, inline SVG, images as data URIs, and no script. A content
//! security policy keeps browsers from loading or running anything.
//!
//! A [`Report`] is plain data assembled by builders; [`Report::to_html`] and [`Report::save`] validate it and are the only
//! calls on it that can fail. The same report always has the same bytes: no clock, no random identifiers. Add a date with
//! [`Report::footer`] if needed.
//!
//! * All text is escaped, and control characters become U+FFFD.
//! * Information is not conveyed by colour alone (except in the images of [`Panels`]): series also differ by dash and
//!   marker, answers have a symbol, and the best value of a column is bold and underlined. Colours are distinguishable with
//!   the three types of colour vision deficiency and have WCAG AA contrast in light and dark mode.
//! * Every chart has a text alternative and a table of its values.
//! * The page is well-formed XML.
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
mod end_label;
mod error;
mod escape;
mod facts;
mod figure;
mod gallery;
mod image;
mod matrix;
mod number;
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
