//! How progress is shown: the one place that decides it, for the whole process.

use std::collections::HashMap;
use std::io::{Write, stderr};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sail_vl::core::Named;
use sail_vl::hub::{FileProgress, ProgressFn};

/// The values of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// Nothing.
    Never,
    /// Lines.
    Plain,
}

impl Named for ProgressMode {
    const ALL: &'static [Self] = &[Self::Auto, Self::Never, Self::Plain];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Plain => "plain",
        }
    }
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Display {
    Bars,
    Lines,
    Hidden,
}

static DISPLAY: OnceLock<Display> = OnceLock::new();
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Decides what is shown; called once, before any work.
pub(crate) fn set(mode: ProgressMode, is_terminal: bool) {
    let display = match mode {
        ProgressMode::Auto if is_terminal => Display::Bars,
        ProgressMode::Auto | ProgressMode::Plain => Display::Lines,
        ProgressMode::Never => Display::Hidden,
    };
    let _ = DISPLAY.set(display);
}

pub(crate) fn display() -> Display {
    DISPLAY.get().copied().unwrap_or(Display::Hidden)
}

/// Counts rows in a [`bar`].
pub(crate) const ROWS: &str = "{pos}/{len} rows";

/// Counts bytes in a [`bar`].
pub(crate) const BYTES: &str = "{bytes} of {total_bytes}";

/// Returns a progress bar, hidden unless bars are shown; `count` is the part of its template that counts.
pub(crate) fn bar(length: u64, label: &str, count: &str) -> ProgressBar {
    let bar = styled(length, &format!("{{prefix}}  {{wide_bar}} {count}  {{eta}} left"));
    bar.set_prefix(label.to_owned());
    bar
}

/// Returns a progress bar with a template of its own, hidden unless bars are shown.
pub(crate) fn styled(length: u64, template: &str) -> ProgressBar {
    if display() != Display::Bars {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    BARS.add(ProgressBar::new(length).with_style(style))
}

/// Prints a line about progress, above the bars.
pub(crate) fn line(text: &str) {
    if display() != Display::Hidden {
        // A display that cannot be written to is no reason to stop.
        suspend(|| drop(writeln!(stderr(), "{text}")));
    }
}

/// Runs `write` with the bars cleared from the terminal.
pub(crate) fn suspend<R>(write: impl FnOnce() -> R) -> R {
    BARS.suspend(write)
}

/// Shows a bar for each file that is downloaded.
pub(crate) fn downloads() -> ProgressFn {
    let bars = Mutex::new(HashMap::<String, ProgressBar>::new());
    Arc::new(move |FileProgress { file, progress }| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || bar(progress.total, file, BYTES);
        let bar = bars.entry(file.to_owned()).or_insert_with(new);
        bar.set_position(progress.done);
        if progress.done == progress.total {
            bar.finish_and_clear();
        }
    })
}
