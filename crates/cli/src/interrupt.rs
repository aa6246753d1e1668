//! Ctrl-C: the first one stops the work where it can be resumed, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sail_vl::train::Interrupter;

use crate::progress;

/// The exit code of an interrupted command: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// Stops trainings and probes when the process is interrupted.
pub(crate) fn interrupter() -> Interrupter {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    on_interrupt(move || handle.stop());
    interrupter
}

/// Returns a flag that is set when the process is interrupted.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let handle = stop.clone();
    on_interrupt(move || handle.store(true, Ordering::Relaxed));
    stop
}

fn on_interrupt(stop: impl Fn() + Send + 'static) {
    let interrupted = AtomicBool::new(false);
    let handler = move || {
        if interrupted.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        stop();
        progress::line("interrupted: stops after the current step; press Ctrl-C again to stop at once");
    };
    // If no handler can be set, an interrupt kills the process, which a resume survives as well.
    let _ = ctrlc::set_handler(handler);
}
