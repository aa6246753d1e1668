//! Ctrl-C: ends the process at once, except while work is under way that is saved first. The second one always does.

use std::io::{Write, stderr};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use sail_vl::train::Interrupter;

use crate::progress;

/// The exit code of an interrupted command: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whether the work under way stops by itself and is saved.
static SAVES: AtomicBool = AtomicBool::new(false);
static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static INTERRUPTER: LazyLock<Interrupter> = LazyLock::new(Interrupter::new);
/// What the user is told if the process ends at once.
static MESSAGE: Mutex<Option<String>> = Mutex::new(None);

/// Handles Ctrl-C from now on; called once, before any work.
pub(crate) fn install() {
    // If no handler can be set, an interrupt kills the process, which a resume survives as well.
    let _ = ctrlc::set_handler(|| {
        let again = INTERRUPTED.swap(true, Ordering::Relaxed);
        if again || !SAVES.load(Ordering::Relaxed) {
            let message = MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).take();
            let message = message.unwrap_or_else(|| "interrupted".to_owned());
            progress::suspend(|| drop(writeln!(stderr(), "error: {message}")));
            std::process::exit(EXIT_CODE.into());
        }
        STOP.store(true, Ordering::Relaxed);
        INTERRUPTER.stop();
        progress::line("interrupted: finishing what is under way; press Ctrl-C again to stop at once");
    });
}

/// While this value lives, work is under way that observes [`stop_flag`] or [`interrupter`]: the first Ctrl-C stops it where
/// it is saved.
pub(crate) struct Saving(());

impl Saving {
    pub(crate) fn start() -> Self {
        SAVES.store(true, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        SAVES.store(false, Ordering::Relaxed);
    }
}

/// Returns whether work that can be stopped goes on.
pub(crate) fn flow() -> ControlFlow<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Stops trainings when the process is interrupted.
pub(crate) fn interrupter() -> Interrupter {
    INTERRUPTER.clone()
}

/// Returns a flag that is set when the process is interrupted.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    STOP.clone()
}

/// Sets what the user is told if an interrupt ends the process at once.
pub(crate) fn set_message(message: String) {
    *MESSAGE.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
}
