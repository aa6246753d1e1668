//! The `sail` command.
//!
//! It parses, calls the library and prints: a result for people or, with `--json`, one JSON object on standard
//! output; progress and errors on standard error. Exit code 0, 1 when something failed, 2 for wrong usage.

mod benchmark;
mod benchmark_report;
mod confusion;
mod encode;
mod encode_progress;
mod error;
mod eval;
mod features;
mod galleries;
mod head;
mod inputs;
mod labels;
mod named;
mod probe;
mod probe_report;
mod retrieval_report;
mod segment;
mod store;
mod sweep;
mod towers;
mod train;
mod train_report;

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Align a frozen vision encoder with a frozen text encoder.
#[derive(Parser)]
#[command(name = "sail", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run images or captions through a frozen model once and keep the features.
    #[command(subcommand)]
    Encode(encode::EncodeCommand),
    /// Train a head on frozen features.
    Train(Box<train::TrainArgs>),
    /// Tell which encoders to pair: measures before training, and the linear alignment probe.
    Probe(Box<probe::ProbeArgs>),
    /// Measure how well a head works.
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Look at a head file.
    #[command(subcommand)]
    Head(head::HeadCommand),
    /// Look at, check or join embedding stores.
    #[command(subcommand)]
    Store(store::StoreCommand),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Encode(command) => encode::run(&command),
        Command::Train(args) => train::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Eval(command) => eval::run(&command),
        Command::Head(command) => head::run(&command),
        Command::Store(command) => store::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody can be told, the exit code still says it.
            let _ = writeln!(stderr(), "error: {}", error.chain());
            ExitCode::from(error.exit_code())
        }
    }
}

#[cfg(test)]
mod documented;
