//! Options of every command: logs, progress, threads.

use std::io::{self, IsTerminal, Write, stderr};
use std::num::NonZeroUsize;

use clap::{ArgAction, Args};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

use crate::error::CliError;
use crate::named::named;
use crate::progress::{self, ProgressMode};

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Show errors only, no warnings and no progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Log more: -v when long operations start and end, -vv debug messages, -vvv everything.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log filter, such as `info` or `warn,sail_extract=debug`; -q and -v override it [default: warn].
    #[arg(long, global = true, value_name = "FILTER", env = "SAIL_LOG", hide_env_values = true)]
    log: Option<Targets>,
    /// Progress on standard error: `auto` shows a bar on a terminal and lines elsewhere, `plain` always shows lines.
    #[arg(
        long,
        global = true,
        value_name = "MODE",
        env = "SAIL_PROGRESS",
        hide_env_values = true,
        default_value = "auto",
        value_parser = named::<ProgressMode>()
    )]
    progress: ProgressMode,
    /// Number of CPU threads [default: one for each core].
    #[arg(long, global = true, value_name = "N", env = "SAIL_THREADS", hide_env_values = true)]
    threads: Option<NonZeroUsize>,
    #[cfg(feature = "objects")]
    #[command(flatten)]
    objects: crate::objects::ObjectArgs,
}

impl GlobalArgs {
    /// Sets up logs, progress and threads for the whole process.
    pub(crate) fn apply(&self) -> Result<(), CliError> {
        #[cfg(feature = "objects")]
        self.objects.apply();
        let mode = if self.quiet { ProgressMode::Never } else { self.progress };
        progress::set(mode, stderr().is_terminal());
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(|| AboveBars)
            .with_ansi(stderr().is_terminal())
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_filter(self.filter());
        tracing_subscriber::registry().with(layer).init();
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get());
            pool.build_global()
                .map_err(|error| CliError::Usage(format!("cannot use `--threads`: {error}")))?;
        }
        Ok(())
    }

    fn filter(&self) -> Targets {
        // Messages of dependencies are shown from the same level on as warnings are.
        let sail = |level| Targets::new().with_default(LevelFilter::WARN).with_target("sail", level);
        match (self.quiet, self.verbose) {
            (true, _) => Targets::new().with_default(LevelFilter::ERROR),
            (_, 0) => self.log.clone().unwrap_or_else(|| sail(LevelFilter::WARN)),
            (_, 1) => sail(LevelFilter::INFO),
            (_, 2) => sail(LevelFilter::DEBUG),
            _ => Targets::new().with_default(LevelFilter::TRACE),
        }
    }
}

/// Standard error, with progress bars out of the way.
struct AboveBars;

impl Write for AboveBars {
    // Without standard error, logs are lost: an error here would be printed to it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::suspend(|| drop(stderr().write_all(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = stderr().flush();
        Ok(())
    }
}
