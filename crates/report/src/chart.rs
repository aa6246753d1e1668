//! Charts of lines or points.

use crate::axis::Axis;

/// A line chart of one or more series, with a collapsed table of its values.
///
/// A point that is not finite, beyond ±10¹⁵⁰, or not positive on a logarithmic axis is a gap in its line. The chart states
/// the number of such points, and the table contains them.
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
    pub(crate) log_x: bool,
    pub(crate) log_y: bool,
    pub(crate) scatter: bool,
}

/// A series of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Ends of the interval around each point; empty for a series without intervals.
    pub(crate) intervals: Vec<(f64, f64)>,
}

impl LineChart {
    /// Creates a chart without series.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            series: Vec::new(),
            log_x: false,
            log_y: false,
            scatter: false,
        }
    }

    /// Adds a line through `points`, pairs of x and y, in their order.
    ///
    /// There are six colours; further lines repeat them with other dashes.
    pub fn series(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().collect();
        self.series.push(Series { name: name.into(), points, intervals: Vec::new() });
        self
    }

    /// Adds a line like [`series`](Self::series) with an interval around each point, such as a confidence interval: pairs of
    /// x and y, and the lower and upper end of the interval. An interval that is not finite is not drawn.
    ///
    /// # Examples
    /// ```
    /// let recall = [((50.0, 7.1), (6.0, 8.2)), ((100.0, 10.4), (9.8, 11.0))];
    /// let chart = sail_report::LineChart::new("Recall", "pairs", "R@1").intervals("linear", recall).log_x();
    /// ```
    pub fn intervals(
        mut self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = ((f64, f64), (f64, f64))>,
    ) -> Self {
        let (points, intervals) = points.into_iter().unzip();
        self.series.push(Series { name: name.into(), points, intervals });
        self
    }

    /// Makes the x axis logarithmic.
    pub fn log_x(mut self) -> Self {
        self.log_x = true;
        self
    }

    /// Makes the y axis logarithmic.
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    /// Makes the chart a scatter plot: points without lines.
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

    /// Returns true if the point can be drawn.
    pub(crate) fn draws(&self, (x, y): (f64, f64)) -> bool {
        Axis::draws(x, self.log_x) && Axis::draws(y, self.log_y)
    }

    /// Returns the points of a series that have an interval that can be drawn: x, and the ends of the interval.
    pub(crate) fn drawn_intervals(&self, series: &Series) -> impl Iterator<Item = (f64, (f64, f64))> {
        let pairs = series.points.iter().zip(&series.intervals);
        pairs
            .filter(|((x, y), (low, high))| [*low, *y, *high].into_iter().all(|y| self.draws((*x, y))))
            .map(|((x, _), ends)| (*x, *ends))
    }
}
