//! Progress display: a bar on a terminal, plain lines otherwise.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sail_eval::Retrieval;

use crate::{EvaluationRecord, Event, Observer};

/// Interval of the plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// An [`Observer`] that displays the progress of a run on standard error.
///
/// On a terminal, it shows a bar with throughput, remaining time and loss, and otherwise a line every ten seconds. The
/// evaluation after the last step is always shown.
#[derive(Debug)]
pub struct Progress {
    label: String,
    bar: Option<ProgressBar>,
    steps: usize,
    last_line: Instant,
}

impl Progress {
    /// Creates a display with the given label, such as the name of the run.
    pub fn new(label: impl Into<String>) -> Self {
        let bar = stderr().is_terminal().then(ProgressBar::hidden);
        Self { label: label.into(), bar, steps: 0, last_line: Instant::now() }
    }

    /// Creates a display that prints plain lines even on a terminal.
    pub fn plain(label: impl Into<String>) -> Self {
        Self { bar: None, ..Self::new(label) }
    }

    /// Returns `true` once per interval.
    fn line_is_due(&mut self) -> bool {
        let due = self.last_line.elapsed() >= PLAIN_INTERVAL;
        if due {
            self.last_line = Instant::now();
        }
        due
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("{}  {text}", self.label)),
            // A failure to write to the display must not stop a run.
            None => drop(writeln!(stderr(), "{}  {text}", self.label)),
        }
    }
}

fn summary(evaluation: &EvaluationRecord) -> String {
    let epochs = evaluation.epochs;
    match &evaluation.holdout {
        Some(Retrieval { i2t, t2i, .. }) => format!(
            "epoch {epochs:>3}  image to text R@1 {:4.1} R@10 {:4.1}  text to image R@1 {:4.1} R@10 {:4.1}",
            i2t.r1, i2t.r10, t2i.r1, t2i.r10
        ),
        None => format!("epoch {epochs:>3}  score {:.4}", evaluation.score()),
    }
}

impl<H> Observer<H> for Progress {
    fn observe(&mut self, event: Event<'_>, _: &H) {
        match event {
            Event::Started { start, steps, parameters, micro_batch, .. } => {
                self.steps = steps;
                self.last_line = Instant::now();
                if let Some(bar) = &mut self.bar {
                    let template = "{prefix}  {wide_bar} {pos}/{len} steps  {per_sec}  {eta} left  {msg}";
                    let style = ProgressStyle::with_template(template);
                    *bar = ProgressBar::new(steps as u64)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                        .with_prefix(self.label.clone())
                        .with_position(start as u64);
                }
                let millions = parameters as f64 / 1e6;
                let divided =
                    micro_batch.map(|rows| format!(", micro-batches of {rows} rows")).unwrap_or_default();
                let size = format!("{millions:.1} M parameters{divided}");
                if start > 0 {
                    self.line(&format!("continues at step {start} of {steps}, {size}"));
                } else {
                    self.line(&format!("{steps} steps, {size}"));
                }
            }
            Event::Step(step) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(step.step as u64 + 1);
                    bar.set_message(format!("loss {:.5}", step.loss));
                } else if self.line_is_due() {
                    let (done, steps, loss) = (step.step + 1, self.steps, step.loss);
                    self.line(&format!("step {done} of {steps}  loss {loss:.5}"));
                }
            }
            Event::Evaluated(evaluation) => {
                let last = evaluation.steps == self.steps;
                if last || self.bar.is_none() && self.line_is_due() {
                    self.line(&summary(evaluation));
                }
            }
            Event::Saved { .. } => {}
            Event::Finished => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }
}
