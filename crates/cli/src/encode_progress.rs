//! Progress of an encoding: a bar or lines.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar};
use sail_vl::core::Progress;
use sail_vl::data::source::PassedOver;
use sail_vl::extract::{Event, Observer};

use crate::interrupt::Saving;
use crate::progress::{self, Display};

/// Time between two lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows an extraction on standard error.
pub(crate) struct EncodeProgress {
    /// The command.
    label: &'static str,
    bar: Option<ProgressBar>,
    /// Records that were done at the start.
    start: Option<u64>,
    records: u64,
    skipped: u64,
    begun: Instant,
    last_line: Instant,
    /// Present while records are encoded, which an interrupt does not lose.
    saving: Option<Saving>,
}

impl EncodeProgress {
    pub(crate) fn new() -> Self {
        Self::labelled("encode")
    }

    /// That of another command.
    pub(crate) fn labelled(label: &'static str) -> Self {
        let bar = (progress::display() == Display::Bars).then(ProgressBar::hidden);
        let now = Instant::now();
        Self { label, bar, start: None, records: 0, skipped: 0, begun: now, last_line: now, saving: None }
    }

    /// Prints records, rate and remaining time, if a line is due.
    fn log(&mut self, done: u64) {
        if self.last_line.elapsed() < PLAIN_INTERVAL {
            return;
        }
        self.last_line = Instant::now();
        let (records, skipped) = (self.records, self.skipped);
        let rate = (done - self.start.unwrap_or_default()) as f64 / self.begun.elapsed().as_secs_f64();
        let left = Duration::try_from_secs_f64((records - done) as f64 / rate).unwrap_or_default();
        let left = HumanDuration(left);
        line(
            self.label,
            &format!("{done} of {records} records, {skipped} skipped, {rate:.1} records/s, {left} left"),
        );
    }
}

/// Shows which files the source passes over, if any.
pub(crate) fn show_passed_over(label: &str, passed_over: &PassedOver) {
    if !passed_over.is_empty() {
        line(label, &format!("passes over {passed_over}"));
    }
}

fn line(label: &str, text: &str) {
    progress::line(&format!("{label}  {text}"));
}

impl Observer for EncodeProgress {
    fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Progress(Progress { done, total, .. }) if done == total => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
                (self.start, self.saving) = (None, None);
            }
            Event::Progress(Progress { done, total: records, .. }) if self.start.is_none() => {
                let now = Instant::now();
                (self.start, self.records, self.begun, self.last_line) = (Some(done), records, now, now);
                self.saving = Some(Saving::start());
                if let Some(bar) = &mut self.bar {
                    let template = "{prefix}  {wide_bar} {pos}/{len} records  {per_sec}  {eta} left  {msg}";
                    let prefixed = progress::styled(records, template).with_prefix(self.label);
                    *bar = prefixed.with_position(done);
                    // The rate is that of this process alone.
                    bar.reset_eta();
                }
                match done {
                    0 => line(self.label, &format!("{records} records")),
                    done => line(self.label, &format!("resumes at record {done} of {records}")),
                }
            }
            Event::Skipped(_) => self.skipped += 1,
            Event::Progress(Progress { done, .. }) => match &self.bar {
                Some(bar) => {
                    bar.set_position(done);
                    bar.set_message(format!("{} skipped", self.skipped));
                }
                None => self.log(done),
            },
            _ => {}
        }
    }
}
