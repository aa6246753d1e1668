//! Charts of lines or points: what they hold, and all of them but the drawing.

use std::fmt::{self, Formatter};

use crate::axis::{Axis, significant};
use crate::escape::Escaped;
use crate::plot;

/// More rows than this are thinned in the table under a chart.
const TABLE_ROWS: usize = 200;

/// A chart of one or more series as lines, with its numbers in a table that can be unfolded.
///
/// A point that is not finite, beyond ±10¹⁵⁰, or not positive on a logarithmic axis leaves a gap in its
/// line; the chart says how many there were, and the table shows them.
///
/// # Examples
/// ```
/// let loss = [(1.0, 0.9), (2.0, f64::NAN), (3.0, 0.1)];
/// let chart = sail_report::LineChart::new("Loss", "epoch", "loss").series("GLU", loss).log_y();
/// ```
#[derive(Clone, Debug)]
pub struct LineChart {
    pub(crate) title: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) series: Vec<Series>,
    pub(crate) log_y: bool,
    pub(crate) scatter: bool,
}

/// A named line of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl LineChart {
    /// A chart without series.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            series: Vec::new(),
            log_y: false,
            scatter: false,
        }
    }

    /// Adds a line through `points`, pairs of x and y, in the order given.
    ///
    /// Six lines can be told apart with ease; more repeat the colours with other dashes.
    pub fn series(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points: points.into_iter().collect() });
        self
    }

    /// Makes the y axis logarithmic.
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    /// Draws points alone, without lines between them: how one quantity goes with another.
    ///
    /// # Examples
    /// ```
    /// let scores = [(0.21, 12.0), (0.35, 31.0), (0.48, 40.5)];
    /// let chart = sail_report::LineChart::new("Alignment", "k-NN", "R@10").series("encoders", scores).scatter();
    /// ```
    pub fn scatter(mut self) -> Self {
        self.scatter = true;
        self
    }

    /// Whether the point has a place on the chart.
    pub(crate) fn draws(&self, (x, y): (f64, f64)) -> bool {
        Axis::draws(x, false) && Axis::draws(y, self.log_y)
    }

    /// Writes the chart. An SVG scales its text with itself, so a chart that stands `alone` is drawn twice,
    /// for a wide and for a narrow page, and the style sheet shows the one that fits.
    pub(crate) fn render(&self, alone: bool, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "<figure>\n<figcaption>{}</figcaption>", Escaped(&self.title))?;
        if self.series.len() > 1 {
            out.write_str("<ul class=\"legend\">\n")?;
            for (index, series) in self.series.iter().enumerate() {
                plot::legend_entry(index, &series.name, self.scatter, out)?;
            }
            out.write_str("</ul>\n")?;
        }
        let description = self.description();
        if alone {
            plot::render(self, &description, &plot::WIDE, out)?;
        }
        plot::render(self, &description, &plot::NARROW, out)?;
        let undrawn = self.points().filter(|point| !self.draws(*point)).count();
        if undrawn > 0 {
            let values = if undrawn == 1 { "value is" } else { "values are" };
            let why = if self.log_y { "not finite, or not positive" } else { "not finite" };
            writeln!(out, "<p class=\"note\">{undrawn} {values} left out of the chart: {why}.</p>")?;
        }
        self.render_table(out)?;
        out.write_str("</figure>\n")
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|series| series.points.iter().copied())
    }

    /// The chart in words, for those who cannot see it.
    fn description(&self) -> String {
        let scale = if self.log_y { ", logarithmic" } else { "" };
        let kind = if self.scatter { "Scatter" } else { "Line" };
        let mut text = format!("{kind} chart of {}{scale} against {}.", self.y_label, self.x_label);
        for series in &self.series {
            let drawn: Vec<(f64, f64)> =
                series.points.iter().copied().filter(|point| self.draws(*point)).collect();
            let (Some(first), Some(last)) = (drawn.first(), drawn.last()) else {
                text += &format!(" {}: no values.", series.name);
                continue;
            };
            let lowest = drawn.iter().fold(first.1, |lowest, point| lowest.min(point.1));
            let highest = drawn.iter().fold(first.1, |highest, point| highest.max(point.1));
            text += &format!(
                " {}: from {} at {} to {} at {}, lowest {}, highest {}.",
                series.name,
                significant(first.1),
                significant(first.0),
                significant(last.1),
                significant(last.0),
                significant(lowest),
                significant(highest),
            );
        }
        text
    }

    fn render_table(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        if rows.is_empty() {
            return Ok(());
        }
        let stride = rows.len().div_ceil(TABLE_ROWS);
        let title = Escaped(&self.title);
        writeln!(
            out,
            "<details>\n<summary>Data<span class=\"said\"> of the chart {title}</span></summary>\n\
             <div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Data of the chart {title}\">\n\
             <table>"
        )?;
        if stride > 1 {
            writeln!(
                out,
                "<caption>One row in {stride} of {}, and the last.</caption>",
                significant(rows.len() as f64)
            )?;
        }
        write!(out, "<thead>\n<tr><th scope=\"col\" class=\"number\">{}</th>", Escaped(&self.x_label))?;
        for series in &self.series {
            write!(out, "<th scope=\"col\" class=\"number\">{}</th>", Escaped(&series.name))?;
        }
        out.write_str("</tr>\n</thead>\n<tbody>\n")?;
        for (index, (x, values)) in rows.iter().enumerate() {
            if index % stride != 0 && index + 1 != rows.len() {
                continue;
            }
            write!(out, "<tr><th scope=\"row\" class=\"number\">{}</th>", significant(*x))?;
            for value in values {
                let value = value.map(significant).unwrap_or_default();
                write!(out, "<td class=\"number\">{value}</td>")?;
            }
            out.write_str("</tr>\n")?;
        }
        out.write_str("</tbody>\n</table>\n</div>\n</details>\n")
    }

    /// The points by x: one value a series. A series with several values at one x takes several rows.
    fn rows(&self) -> Vec<(f64, Vec<Option<f64>>)> {
        let mut points: Vec<(f64, usize, f64)> = Vec::new();
        for (index, series) in self.series.iter().enumerate() {
            points.extend(series.points.iter().map(|(x, y)| (*x, index, *y)));
        }
        // A stable sort, so that values at one x stay in the order they were given.
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut rows: Vec<(f64, Vec<Option<f64>>)> = Vec::new();
        for same_x in points.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let start = rows.len();
            let mut used = vec![start; self.series.len()];
            for (x, index, y) in same_x {
                if used[*index] == rows.len() {
                    rows.push((*x, vec![None; self.series.len()]));
                }
                rows[used[*index]].1[*index] = Some(*y);
                used[*index] += 1;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_joins_series_by_x_and_keeps_repeated_values() {
        let chart = LineChart::new("", "step", "loss")
            .series("a", [(2.0, 0.2), (1.0, 0.1), (2.0, 0.3)])
            .series("b", [(2.0, 9.0)]);
        let expected = vec![
            (1.0, vec![Some(0.1), None]),
            (2.0, vec![Some(0.2), Some(9.0)]),
            (2.0, vec![Some(0.3), None]),
        ];
        assert_eq!(chart.rows(), expected);
    }

    #[test]
    fn a_long_table_says_that_it_is_thinned_and_ends_with_the_last_row() {
        let points = (0..1001).map(|step| (f64::from(step), 0.5));
        let chart = LineChart::new("", "step", "loss").series("a", points);
        let html = fmt::from_fn(|out| chart.render(false, out)).to_string();
        assert!(html.contains("One row in 6 of 1001, and the last"));
        assert_eq!(html.matches("<th scope=\"row\"").count(), 1001_usize.div_ceil(6) + 1);
        assert!(html.contains("<th scope=\"row\" class=\"number\">1000</th>"));
    }
}
