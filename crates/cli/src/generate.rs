//! `sail completions` and `sail man`: files made from the definition of the command line.

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::CliError;

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete in.
    shell: Shell,
}

#[derive(Args)]
pub(crate) struct ManArgs {
    /// Folder to write to; it is created if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), CliError> {
    // Generated in memory, because the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "sail", &mut script);
    stdout().lock().write_all(&script)?;
    Ok(())
}

pub(crate) fn man(args: &ManArgs, command: Command) -> Result<(), CliError> {
    let write = || {
        fs::create_dir_all(&args.folder)?;
        clap_mangen::generate_to(command, &args.folder)
    };
    write().map_err(|source| CliError::Write { path: args.folder.clone(), source })
}
