//! Drawing of charts as SVG.

use std::fmt::{self, Formatter};

use crate::axis::Axis;
use crate::chart::{LineChart, Series};
use crate::end_label::{EndLabel, FONT, spread, width_of};
use crate::escape::Escaped;
use crate::thin::thin;

/// The size of a drawing, in CSS pixels.
pub(crate) struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
}

/// The full width of a desktop page.
pub(crate) const WIDE: Frame = Frame { class: "wide", width: 800.0, height: 340.0 };
/// Half of that width, or a phone.
pub(crate) const NARROW: Frame = Frame { class: "narrow", width: 390.0, height: 280.0 };

/// Margins: above the plot for the label of the y axis, below for ticks and the label of the x axis.
const TOP: f64 = 30.0;
const BOTTOM: f64 = 42.0;

const COLOURS: usize = 6;
const DASHES: [&str; 5] = ["", "7 4", "2 4", "10 4 2 4", "5 3 1.5 3 1.5 3"];
/// Outlines centred at the origin: circle, square, triangle, diamond, triangle downwards, plus.
const MARKS: [&str; 6] = [
    "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z",
    "m-2.9-2.9h5.8v5.8h-5.8z",
    "m0-3.9 3.6 6.4h-7.2z",
    "m0-4 4 4-4 4-4-4z",
    "m0 3.9 3.6-6.4h-7.2z",
    "m-3.6 0h7.2m-3.6-3.6v7.2",
];
/// Lines with more points than this have about this many marks, others a mark on every point.
const FEW: usize = 12;

/// Writes the legend entry of series `index`: its dash (unless in a scatter plot), its mark and its name.
pub(crate) fn legend_entry(index: usize, name: &str, scatter: bool, out: &mut Formatter<'_>) -> fmt::Result {
    let (colour, dash, mark) = look(index);
    let line = if scatter { String::new() } else { format!("<path class=\"line\"{dash} d=\"M1 6H33\"/>") };
    let name = Escaped(name);
    writeln!(
        out,
        "<li class=\"s{colour}\"><svg aria-hidden=\"true\" viewBox=\"0 0 34 12\">\
         {line}<path class=\"mark\" d=\"M17 6{mark}\"/></svg>{name}</li>"
    )
}

/// Colour, dash attribute and mark of series `index`, which are unique for thirty series.
fn look(index: usize) -> (usize, String, &'static str) {
    let dash = match DASHES[index % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    };
    (index % COLOURS + 1, dash, MARKS[index % MARKS.len()])
}

/// Writes the chart as SVG.
pub(crate) fn render(
    chart: &LineChart,
    description: &str,
    frame: &Frame,
    out: &mut Formatter<'_>,
) -> fmt::Result {
    let Frame { class, width, height } = frame;
    let (title, description) = (Escaped(&chart.title), Escaped(description));
    writeln!(
        out,
        "<svg class=\"plot {class}\" role=\"img\" viewBox=\"0 0 {width} {height}\">\n\
         <title>{title}</title>\n<desc>{description}</desc>"
    )?;
    match Plot::new(chart, frame) {
        Some(plot) => plot.render(chart, out)?,
        None => {
            let (x, y) = (width / 2.0, height / 2.0);
            writeln!(out, "<text class=\"middle\" x=\"{x}\" y=\"{y}\">No values to draw.</text>")?;
        }
    }
    out.write_str("</svg>\n")
}

/// The layout of a chart.
struct Plot {
    x: Axis,
    y: Axis,
    left: f64,
    right: f64,
    bottom: f64,
    labels: Vec<EndLabel>,
}

impl Plot {
    fn new(chart: &LineChart, frame: &Frame) -> Option<Self> {
        let points = || {
            let all = chart.series.iter().flat_map(|series| &series.points);
            all.copied().filter(|point| chart.draws(*point))
        };
        let bottom = frame.height - BOTTOM;
        let count = ((bottom - TOP) / 40.0) as usize;
        let intervals = || chart.series.iter().flat_map(|series| chart.drawn_intervals(series));
        let ends = intervals().flat_map(|(_, (low, high))| [low, high]);
        let heights = points().map(|(_, y)| y).chain(ends);
        let y = if chart.log_y {
            Axis::logarithmic(heights, count)
        } else {
            Axis::linear(heights, count, false, true)
        }?;
        let widest = |axis: &Axis| axis.ticks.iter().map(|(_, label)| width_of(label)).fold(0.0, f64::max);
        let left = widest(&y) + 12.0;

        let last_x = points().map(|(x, _)| x).fold(f64::NEG_INFINITY, f64::max);
        let first_x = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
        let near_the_end = last_x - 0.02 * (last_x - first_x);
        let room = 0.3 * frame.width;
        let mut labels: Vec<EndLabel> = Vec::new();
        let mut margin: f64 = 12.0;
        for (index, series) in chart.series.iter().enumerate() {
            let end = series.points.iter().rev().find(|point| chart.draws(**point));
            let width = width_of(&series.name) + 18.0;
            if let Some((x, height)) = end
                && !chart.scatter
                && *x >= near_the_end
                && width <= room
                && !series.name.is_empty()
            {
                let end = bottom - y.position(*height) * (bottom - TOP);
                labels.push(EndLabel { series: index, end, y: end });
                margin = margin.max(width);
            }
        }
        if !spread(&mut labels, TOP, bottom) {
            labels.clear();
            margin = 12.0;
        }
        let right = frame.width - margin;

        let whole = points().all(|(x, _)| x.fract() == 0.0);
        // The maximum number of ticks whose labels fit.
        let x = (2..=(frame.width / 60.0) as usize).rev().find_map(|count| {
            let values = points().map(|(x, _)| x);
            let axis = if chart.log_x {
                Axis::logarithmic(values, count)
            } else {
                // Points of scatter plots keep off the edges.
                Axis::linear(values, count, whole, chart.scatter)
            }?;
            let needed = (widest(&axis) + 14.0) * axis.ticks.len() as f64;
            (needed <= right - left || count == 2).then_some(axis)
        })?;
        Some(Self { x, y, left, right, bottom, labels })
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = self.left + self.x.position(x) * (self.right - self.left);
        (across, self.bottom - self.y.position(y) * (self.bottom - TOP))
    }

    fn render(&self, chart: &LineChart, out: &mut Formatter<'_>) -> fmt::Result {
        self.render_axes(chart, out)?;
        for (index, series) in chart.series.iter().enumerate() {
            self.render_series(chart, index, series, out)?;
        }
        for label in &self.labels {
            let (x, text_x) = (self.right, self.right + 13.0);
            let (colour, y) = (label.series % COLOURS + 1, label.y);
            if (y - label.end).abs() > 3.0 {
                let end = label.end;
                writeln!(
                    out,
                    "<path class=\"leader s{colour}\" d=\"M{:.1} {end:.1}L{:.1} {y:.1}\"/>",
                    x + 5.0,
                    x + 11.0
                )?;
            }
            let (y, name) = (y + 0.35 * FONT, Escaped(&chart.series[label.series].name));
            writeln!(out, "<text class=\"end s{colour}\" x=\"{text_x:.1}\" y=\"{y:.1}\">{name}</text>")?;
        }
        Ok(())
    }

    fn render_axes(&self, chart: &LineChart, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { left, right, bottom, .. } = self;
        for (value, label) in &self.y.ticks {
            let y = bottom - self.y.position(*value) * (bottom - TOP);
            let (x, baseline) = (left - 8.0, y + 0.35 * FONT);
            writeln!(out, "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>")?;
            writeln!(out, "<text class=\"tick right\" x=\"{x:.1}\" y=\"{baseline:.1}\">{label}</text>")?;
        }
        writeln!(out, "<path class=\"axis\" d=\"M{left:.1} {bottom:.1}H{right:.1}\"/>")?;
        for (value, label) in &self.x.ticks {
            let x = left + self.x.position(*value) * (right - left);
            writeln!(out, "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}v4\"/>")?;
            let y = bottom + 6.0 + FONT;
            writeln!(out, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>")?;
        }
        let scale = |logarithmic| if logarithmic { ", logarithmic" } else { "" };
        let (x_scale, y_scale) = (scale(chart.log_x), scale(chart.log_y));
        let (x_label, y_label) = (Escaped(&chart.x_label), Escaped(&chart.y_label));
        writeln!(out, "<text class=\"name\" x=\"0\" y=\"{FONT:.1}\">{y_label}{y_scale}</text>")?;
        let y = bottom + BOTTOM - 4.0;
        writeln!(out, "<text class=\"name right\" x=\"{right:.1}\" y=\"{y:.1}\">{x_label}{x_scale}</text>")
    }

    fn render_series(
        &self,
        chart: &LineChart,
        index: usize,
        series: &Series,
        out: &mut Formatter<'_>,
    ) -> fmt::Result {
        let (colour, dash, mark) = look(index);
        let runs: Vec<Vec<(f64, f64)>> = series
            .points
            .split(|point| !chart.draws(*point))
            .map(|run| thin(&run.iter().map(|point| self.place(*point)).collect::<Vec<_>>()))
            .filter(|run| !run.is_empty())
            .collect();
        let lines: Vec<&Vec<(f64, f64)>> =
            runs.iter().filter(|run| run.len() > 1 && !chart.scatter).collect();
        if !lines.is_empty() {
            write!(out, "<path class=\"line s{colour}\"{dash} d=\"")?;
            for run in lines {
                for (position, (x, y)) in run.iter().enumerate() {
                    write!(out, "{}{x:.1} {y:.1}", if position == 0 { 'M' } else { 'L' })?;
                }
            }
            out.write_str("\"/>\n")?;
        }
        self.render_intervals(chart, index, series, out)?;
        // Marks at every point of a short line, and at spaced points of a long one, with an offset per series so the marks
        // of overlapping lines do not cover each other. Isolated points are always marked.
        let drawn: usize = runs.iter().map(Vec::len).sum();
        let stride = if drawn <= FEW || chart.scatter { 1 } else { drawn.div_ceil(FEW / 2) };
        let offset = stride * (2 * index + 1) / (2 * chart.series.len()).max(1) % stride;
        let points = runs.iter().flat_map(|run| run.iter().map(|point| (point, run.len() == 1)));
        let marked: Vec<&(f64, f64)> = points
            .enumerate()
            .filter(|(position, (_, single))| *single || position % stride == offset)
            .map(|(_, (point, _))| point)
            .collect();
        if marked.is_empty() {
            return Ok(());
        }
        write!(out, "<path class=\"mark s{colour}\" d=\"")?;
        for (x, y) in marked {
            write!(out, "M{x:.1} {y:.1}{mark}")?;
        }
        out.write_str("\"/>\n")
    }

    /// Writes the intervals of a series as bars, those of several series at the same x next to each other.
    fn render_intervals(
        &self,
        chart: &LineChart,
        index: usize,
        series: &Series,
        out: &mut Formatter<'_>,
    ) -> fmt::Result {
        let mut intervals = chart.drawn_intervals(series).peekable();
        if intervals.peek().is_none() {
            return Ok(());
        }
        let shift = 2.0 * (index as f64 - (chart.series.len() - 1) as f64 / 2.0);
        write!(out, "<path class=\"interval s{}\" d=\"", look(index).0)?;
        for (x, (low, high)) in intervals {
            let [(across, low), (_, high)] = [low, high].map(|end| self.place((x, end)));
            write!(out, "M{:.1} {low:.1}V{high:.1}", across + shift)?;
        }
        out.write_str("\"/>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(chart: &LineChart) -> String {
        fmt::from_fn(|out| render(chart, "", &WIDE, out)).to_string()
    }

    fn paths(svg: &str, class: &str) -> Vec<String> {
        let start = format!("<path class=\"{class} s1\"");
        let paths = svg.split(&start).skip(1).filter_map(|rest| rest.split("d=\"").nth(1));
        paths.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    }

    fn chart(points: &[(f64, f64)]) -> LineChart {
        LineChart::new("t", "x", "y").series("a", points.iter().copied())
    }

    #[test]
    fn invalid_values_are_gaps_and_isolated_points_are_marked() {
        let points = [
            (0.0, 1.0),
            (1.0, 2.0),
            (2.0, f64::NAN),
            (3.0, 3.0),
            (4.0, f64::INFINITY),
            (5.0, 1.0),
            (6.0, 2.0),
        ];
        let svg = svg(&chart(&points));
        assert_eq!(paths(&svg, "line")[0].matches('M').count(), 2);
        assert_eq!(paths(&svg, "line")[0].matches('L').count(), 2);
        assert_eq!(paths(&svg, "mark")[0].matches('M').count(), 5);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn intervals_are_drawn_to_their_ends_within_the_axis() {
        let points =
            [((50.0, 7.0), (2.0, 12.0)), ((500.0, 8.0), (f64::NAN, 9.0)), ((5000.0, 9.0), (8.5, 9.5))];
        let chart = LineChart::new("t", "x", "y").intervals("a", points).log_x();
        let svg = svg(&chart);
        let bars = &paths(&svg, "interval")[0];
        assert_eq!(bars.matches('V').count(), 2);
        let plot = Plot::new(&chart, &WIDE).unwrap();
        let (x, low) = plot.place((50.0, 2.0));
        let (_, high) = plot.place((50.0, 12.0));
        assert!(bars.starts_with(&format!("M{x:.1} {low:.1}V{high:.1}")), "{bars}");
        assert!(low <= plot.bottom && high >= TOP);
        // Equal factors have equal distances.
        let middle = plot.place((500.0, 8.0)).0;
        assert!((middle - (x + plot.place((5000.0, 8.0)).0) / 2.0).abs() < 1e-9);
        assert!(!svg.contains("NaN") && svg.contains("x, logarithmic"));
    }

    #[test]
    fn a_logarithmic_axis_skips_values_that_are_not_positive() {
        let points = [(0.0, 0.0), (1.0, 0.1), (2.0, 0.01), (3.0, -1.0)];
        let svg = svg(&chart(&points).log_y());
        assert_eq!(paths(&svg, "line")[0].matches('L').count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn empty_single_and_extreme_points_have_finite_coordinates() {
        assert!(svg(&LineChart::new("t", "x", "y")).contains("No values to draw."));
        assert!(svg(&chart(&[])).contains("No values to draw."));
        assert!(svg(&chart(&[(f64::NAN, 1.0), (1.0, f64::MAX)])).contains("No values to draw."));
        let one = svg(&chart(&[(1.0, 0.5)]));
        assert!(paths(&one, "line").is_empty());
        assert_eq!(paths(&one, "mark")[0].matches('M').count(), 1);
        for points in
            [[(1e150, -1e150), (-1e150, 1e150)], [(0.0, 5e-324), (5e-324, 0.0)], [(7.0, 2.0), (7.0, 9.0)]]
        {
            let svg = svg(&chart(&points));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn scatter_plots_have_marks_and_no_lines() {
        let points: Vec<(f64, f64)> =
            (0..50).map(|step| (f64::from(step * 7 % 50), f64::from(step))).collect();
        let svg = svg(&chart(&points).scatter());
        assert!(paths(&svg, "line").is_empty());
        assert_eq!(paths(&svg, "mark")[0].matches('M').count(), 50);
    }

    #[test]
    fn the_size_of_a_long_line_is_bounded_by_its_pixels() {
        let points: Vec<(f64, f64)> =
            (0..200_000).map(|step| (f64::from(step), f64::from(step % 977))).collect();
        let svg = svg(&chart(&points));
        assert!(paths(&svg, "line")[0].matches('L').count() < 4 * 800);
        assert!((2..=FEW).contains(&paths(&svg, "mark")[0].matches('M').count()));
    }

    #[test]
    fn thirty_series_have_unique_looks() {
        let looks: std::collections::BTreeSet<_> = (0..30).map(look).collect();
        assert_eq!(looks.len(), 30);
    }
}
