//! Heat maps.

use std::fmt::{self, Formatter};

use crate::error::ReportError;
use crate::escape::Escaped;
use crate::number::significant;

/// A heat map with named rows and columns: similarities, scores of pairs, a confusion matrix.
///
/// Cells are shaded between the lowest and the highest finite value, and show their values.
///
/// # Examples
/// ```
/// let scores = sail_report::Matrix::new(["MiniLM", "MPNet"])
///     .row("DINOv2", [40.5, 47.0])
///     .row("MAE", [12.25, 14.0])
///     .corner("R@10");
/// ```
#[derive(Clone, Debug)]
pub struct Matrix {
    corner: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
    caption: String,
}

impl Matrix {
    /// Creates a matrix with these columns and no rows.
    pub fn new<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { corner: String::new(), columns, rows: Vec::new(), caption: String::new() }
    }

    /// Adds a row with one value per column. Non-finite values are displayed as a dash.
    pub fn row(mut self, name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        self.rows.push((name.into(), values.into_iter().collect()));
        self
    }

    /// Sets the label of the top left corner: the quantity of the cells or of the rows.
    pub fn corner(mut self, corner: impl Into<String>) -> Self {
        self.corner = corner.into();
        self
    }

    /// Sets the caption.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    pub(crate) fn check(&self) -> Result<(), ReportError> {
        let expected = self.columns.len();
        match self.rows.iter().enumerate().find(|(_, (_, values))| values.len() != expected) {
            Some((row, (_, values))) => {
                let (columns, row, found) = (self.columns.join(", "), row + 1, values.len());
                Err(ReportError::RowLength { columns, row, expected, found })
            }
            None => Ok(()),
        }
    }

    pub(crate) fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let finite = || {
            let all = self.rows.iter().flat_map(|(_, values)| values);
            all.copied().filter(|value| value.is_finite())
        };
        let (low, high) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let label = Escaped(if self.caption.is_empty() { &self.corner } else { &self.caption });
        writeln!(
            out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">\n<table class=\"matrix\">"
        )?;
        if !self.caption.is_empty() {
            writeln!(out, "<caption>{}</caption>", Escaped(&self.caption))?;
        }
        write!(out, "<thead>\n<tr><th scope=\"col\">{}</th>", Escaped(&self.corner))?;
        for column in &self.columns {
            write!(out, "<th scope=\"col\">{}</th>", Escaped(column))?;
        }
        out.write_str("</tr>\n</thead>\n<tbody>\n")?;
        for (name, values) in &self.rows {
            write!(out, "<tr><th scope=\"row\">{}</th>", Escaped(name))?;
            for &value in values {
                if !value.is_finite() {
                    out.write_str("<td style=\"--depth:0\">–</td>")?;
                    continue;
                }
                // Halved first, because the difference of two large values may overflow.
                let span = high / 2.0 - low / 2.0;
                let depth = if span > 0.0 { (value / 2.0 - low / 2.0) / span } else { 0.5 };
                write!(out, "<td style=\"--depth:{depth:.3}\">{}</td>", significant(value))?;
            }
            out.write_str("</tr>\n")?;
        }
        out.write_str("</tbody>\n</table>\n</div>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(matrix: &Matrix) -> String {
        fmt::from_fn(|out| matrix.render(out)).to_string()
    }

    #[test]
    fn shades_span_the_range_of_values() {
        let html = html(&Matrix::new(["a", "b"]).row("x", [1.0, 3.0]).row("y", [2.0, f64::NAN]));
        for cell in ["--depth:0.000\">1<", "--depth:1.000\">3<", "--depth:0.500\">2<", "--depth:0\">–<"] {
            assert!(html.contains(cell), "{cell} in {html}");
        }
    }

    #[test]
    fn extreme_and_equal_values_have_a_shade() {
        for values in [[f64::MAX, f64::MIN], [5.0, 5.0], [f64::NAN, f64::INFINITY]] {
            let html = html(&Matrix::new(["a", "b"]).row("x", values));
            assert!(!html.contains("NaN") && !html.contains("depth:inf"), "{html}");
        }
    }

    #[test]
    fn rejects_rows_of_another_length() {
        let error = Matrix::new(["a", "b"]).row("x", [1.0]).check().unwrap_err();
        assert!(matches!(error, ReportError::RowLength { row: 1, expected: 2, found: 1, .. }));
    }
}
