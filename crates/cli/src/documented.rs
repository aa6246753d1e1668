//! Tests that the command lines in the documentation parse.

#[path = "../tests/cli/console.rs"]
mod console;

use clap::Parser;
use clap::error::ErrorKind;

use crate::Cli;

#[test]
fn documented_commands_parse() {
    let commands = console::documented();
    assert!(commands.len() >= 25, "found {}", commands.len());
    assert!(
        commands.iter().any(|command| command.runnable) && commands.iter().any(|command| !command.runnable)
    );
    let errors: Vec<String> = commands
        .iter()
        .filter_map(|command| {
            let error = Cli::try_parse_from(&command.words).err()?;
            let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            (!help).then(|| format!("{}: {}\n{error}", command.source, command.words.join(" ")))
        })
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
