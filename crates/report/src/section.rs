//! Sections of a report.

use std::fmt::{self, Formatter};

use crate::chart::LineChart;
use crate::error::ReportError;
use crate::escape::Escaped;
use crate::facts::Facts;
use crate::gallery::Gallery;
use crate::matrix::Matrix;
use crate::panels::Panels;
use crate::table::Table;

/// A section of a report with a heading: text, tables, charts and images in the order they are added.
#[derive(Clone, Debug)]
pub struct Section {
    heading: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
enum Block {
    Text(String),
    Preformatted(String),
    Facts(Facts),
    Table(Table),
    Charts(Vec<LineChart>),
    Gallery(Gallery),
    Matrix(Matrix),
    Panels(Panels),
}

impl Section {
    /// Creates an empty section.
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), blocks: Vec::new() }
    }

    /// Adds prose; blank lines separate paragraphs.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.block(Block::Text(text.into()))
    }

    /// Adds preformatted text in a monospaced font, such as a command line or a log.
    pub fn preformatted(self, text: impl Into<String>) -> Self {
        self.block(Block::Preformatted(text.into()))
    }

    /// Adds names and values.
    pub fn facts(self, facts: Facts) -> Self {
        self.block(Block::Facts(facts))
    }

    /// Adds a table.
    pub fn table(self, table: Table) -> Self {
        self.block(Block::Table(table))
    }

    /// Adds a chart of full width.
    pub fn chart(self, chart: LineChart) -> Self {
        self.charts([chart])
    }

    /// Adds charts in rows, as many per row as fit.
    pub fn charts(self, charts: impl IntoIterator<Item = LineChart>) -> Self {
        self.block(Block::Charts(charts.into_iter().collect()))
    }

    /// Adds a gallery.
    pub fn gallery(self, gallery: Gallery) -> Self {
        self.block(Block::Gallery(gallery))
    }

    /// Adds a heat map.
    pub fn matrix(self, matrix: Matrix) -> Self {
        self.block(Block::Matrix(matrix))
    }

    /// Adds rows of images.
    pub fn panels(self, panels: Panels) -> Self {
        self.block(Block::Panels(panels))
    }

    fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    pub(crate) fn check(&self) -> Result<(), ReportError> {
        self.blocks.iter().try_for_each(|block| match block {
            Block::Table(table) => table.check(),
            Block::Matrix(matrix) => matrix.check(),
            _ => Ok(()),
        })
    }

    pub(crate) fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "<section>\n<h2>{}</h2>\n<div class=\"blocks\">", Escaped(&self.heading))?;
        self.blocks.iter().try_for_each(|block| block.render(out))?;
        out.write_str("</div>\n</section>\n")
    }
}

impl Block {
    fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => paragraphs(text, out),
            Self::Preformatted(text) => {
                let text = Escaped(text);
                writeln!(out, "<pre tabindex=\"0\" role=\"region\" aria-label=\"verbatim text\">{text}</pre>")
            }
            Self::Facts(facts) => facts.render(out),
            Self::Table(table) => table.render(out),
            Self::Charts(charts) => {
                let alone = charts.len() == 1;
                writeln!(out, "<div class=\"charts{}\">", if alone { " alone" } else { "" })?;
                charts.iter().try_for_each(|chart| chart.render(alone, out))?;
                out.write_str("</div>\n")
            }
            Self::Gallery(gallery) => gallery.render(out),
            Self::Matrix(matrix) => matrix.render(out),
            Self::Panels(panels) => panels.render(out),
        }
    }
}

fn paragraphs(text: &str, out: &mut Formatter<'_>) -> fmt::Result {
    let lines: Vec<&str> = text.lines().collect();
    for paragraph in lines.split(|line| line.trim().is_empty()).filter(|lines| !lines.is_empty()) {
        writeln!(out, "<p class=\"prose\">{}</p>", Escaped(&paragraph.join("\n")))?;
    }
    Ok(())
}
