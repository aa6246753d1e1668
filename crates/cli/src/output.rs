//! The result of a command on standard output.

use std::io::{self, StdoutLock, Write, stdout};

use sail_vl::tasks::Skips;
use serde::Serialize;

use crate::error::CliError;

/// Prints a result: as one line of JSON, or as the text that `text` writes.
pub(crate) fn print(
    json: bool,
    result: &impl Serialize,
    text: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>,
) -> Result<(), CliError> {
    let mut out = stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(result)?)?,
        false => text(&mut out)?,
    }
    Ok(())
}

/// Writes what is worth saying about the data.
pub(crate) fn write_notes(out: &mut impl Write, notes: &[String]) -> io::Result<()> {
    notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
}

/// Writes the number of skipped items, and the first of them.
pub(crate) fn write_skipped(out: &mut impl Write, skipped: &Skips) -> io::Result<()> {
    if skipped.count > 0 {
        writeln!(out, "{} skipped, including", skipped.count)?;
    }
    skipped.first.iter().try_for_each(|skip| writeln!(out, "  {}: {}", skip.item, skip.reason))
}
