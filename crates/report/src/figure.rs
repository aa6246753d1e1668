//! Charts as HTML figures: legend, drawing, text alternative and table.

use std::fmt::{self, Formatter};

use crate::chart::{LineChart, Series};
use crate::escape::Escaped;
use crate::number::significant;
use crate::plot;

/// Maximum number of rows of the table under a chart; longer tables are sampled.
const TABLE_ROWS: usize = 200;

impl LineChart {
    /// Writes the chart. Text scales with an SVG, so a chart `alone` in its row is drawn twice, for wide and for narrow
    /// pages, and the style sheet selects one.
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
            let why = if self.log_x || self.log_y { "not finite, or not positive" } else { "not finite" };
            writeln!(out, "<p class=\"note\">{undrawn} {values} not drawn: {why}.</p>")?;
        }
        self.render_table(out)?;
        out.write_str("</figure>\n")
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|series| series.points.iter().copied())
    }

    /// The text alternative of the chart.
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
                "<caption>Every {stride}th row of {}, and the last.</caption>",
                significant(rows.len() as f64)
            )?;
        }
        write!(out, "<thead>\n<tr><th scope=\"col\" class=\"number\">{}</th>", Escaped(&self.x_label))?;
        for series in &self.series {
            write!(out, "<th scope=\"col\" class=\"number\">{}</th>", Escaped(&series.name))?;
        }
        out.write_str("</tr>\n</thead>\n<tbody>\n")?;
        for (index, (x, points)) in rows.iter().enumerate() {
            if index % stride != 0 && index + 1 != rows.len() {
                continue;
            }
            write!(out, "<tr><th scope=\"row\" class=\"number\">{}</th>", significant(*x))?;
            for (series, point) in self.series.iter().zip(points) {
                out.write_str("<td class=\"number\">")?;
                if let Some(point) = *point {
                    out.write_str(&significant(series.points[point].1))?;
                    if let Some((low, high)) = series.intervals.get(point) {
                        write!(out, " ({} to {})", significant(*low), significant(*high))?;
                    }
                }
                out.write_str("</td>")?;
            }
            out.write_str("</tr>\n")?;
        }
        out.write_str("</tbody>\n</table>\n</div>\n</details>\n")
    }

    /// The points by x, as an index per series. A series with several points at the same x has several rows.
    fn rows(&self) -> Vec<(f64, Vec<Option<usize>>)> {
        let mut points: Vec<(f64, usize, usize)> = Vec::new();
        for (series, Series { points: of_series, .. }) in self.series.iter().enumerate() {
            points.extend(of_series.iter().enumerate().map(|(point, (x, _))| (*x, series, point)));
        }
        // A stable sort, so points at the same x keep their order.
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut rows: Vec<(f64, Vec<Option<usize>>)> = Vec::new();
        for same_x in points.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let start = rows.len();
            let mut used = vec![start; self.series.len()];
            for (x, series, point) in same_x {
                if used[*series] == rows.len() {
                    rows.push((*x, vec![None; self.series.len()]));
                }
                rows[used[*series]].1[*series] = Some(*point);
                used[*series] += 1;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_joins_series_by_x_and_keeps_duplicates() {
        let chart = LineChart::new("", "step", "loss")
            .series("a", [(2.0, 0.2), (1.0, 0.1), (2.0, 0.3)])
            .series("b", [(2.0, 9.0)]);
        let expected =
            vec![(1.0, vec![Some(1), None]), (2.0, vec![Some(0), Some(0)]), (2.0, vec![Some(2), None])];
        assert_eq!(chart.rows(), expected);
        let html = fmt::from_fn(|out| chart.render(false, out)).to_string();
        let row = |x: &str, cells: [&str; 2]| {
            let [a, b] = cells.map(|cell| format!("<td class=\"number\">{cell}</td>"));
            format!("<tr><th scope=\"row\" class=\"number\">{x}</th>{a}{b}</tr>")
        };
        let table = [row("1", ["0.1", ""]), row("2", ["0.2", "9"]), row("2", ["0.3", ""])].join("\n");
        assert!(html.contains(&table), "{html}");
    }

    #[test]
    fn the_table_has_the_ends_of_intervals() {
        let chart = LineChart::new("", "pairs", "recall").intervals("a", [((50.0, 7.0), (6.5, 8.0))]);
        let html = fmt::from_fn(|out| chart.render(false, out)).to_string();
        assert!(html.contains("<td class=\"number\">7 (6.5 to 8)</td>"), "{html}");
    }

    #[test]
    fn a_long_table_is_sampled_and_ends_with_the_last_row() {
        let points = (0..1001).map(|step| (f64::from(step), 0.5));
        let chart = LineChart::new("", "step", "loss").series("a", points);
        let html = fmt::from_fn(|out| chart.render(false, out)).to_string();
        assert!(html.contains("Every 6th row of 1001, and the last"));
        assert_eq!(html.matches("<th scope=\"row\"").count(), 1001_usize.div_ceil(6) + 1);
        assert!(html.contains("<th scope=\"row\" class=\"number\">1000</th>"));
    }
}
