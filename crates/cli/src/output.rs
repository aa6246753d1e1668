//! The result of a command on standard output.

use std::io::{StdoutLock, Write, stdout};

use serde::Serialize;

use crate::error::CliError;

/// Prints a result: as one line of JSON, or as the text that `text` writes.
pub(crate) fn print(
    json: bool,
    result: &impl Serialize,
    text: impl FnOnce(&mut StdoutLock<'static>) -> std::io::Result<()>,
) -> Result<(), CliError> {
    let mut out = stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(result)?)?,
        false => text(&mut out)?,
    }
    Ok(())
}
