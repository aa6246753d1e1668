//! The `sail` command.
//!
//! It parses arguments, calls the library and prints the result: text, or one JSON object with `--json`, on standard
//! output; progress, logs and errors on standard error. Exit code 0 for success, 1 for a failure, 2 for invalid usage,
//! 130 if interrupted.

mod benchmark;
mod benchmark_report;
mod catalog;
mod choices;
mod confusion;
mod coverage;
mod curated;
mod dedup;
mod device_args;
mod devices;
mod distribution;
mod divergence;
mod encode;
mod encode_plan;
mod encode_progress;
mod error;
mod eval;
mod examples;
mod features;
mod fit;
mod fit_translate;
mod galleries;
mod generate;
mod global;
mod head;
mod head_spec;
mod holdout;
mod index;
mod index_commands;
mod index_model;
mod inputs;
mod interrupt;
mod key_list;
mod labels;
mod languages;
mod links;
mod lora_args;
mod model_check;
mod models;
mod named;
mod objects;
mod output;
mod probe;
mod probe_features;
mod probe_report;
mod progress;
mod recipe_args;
mod retrieval;
mod retrieval_report;
mod score;
mod score_tables;
mod search;
mod search_output;
mod seeds;
mod segment;
mod segment_report;
#[cfg(feature = "serve")]
mod serve;
mod shown_images;
mod sources;
mod store;
mod store_export;
mod store_select;
mod store_stats;
mod sweep;
mod terminal_images;
mod train;
mod train_args;
mod train_report;
mod train_run;
#[cfg(feature = "url")]
mod unpaired_args;
mod url_args;
mod zero_shot;

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::CliError;

/// Align a frozen vision encoder with a frozen text encoder.
#[derive(Parser)]
#[command(name = "sail", version, arg_required_else_help = true, after_long_help = examples::SAIL)]
struct Cli {
    #[command(flatten)]
    global: global::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Encode images or captions with a frozen model, into an embedding store.
    #[command(subcommand, after_long_help = examples::ENCODE)]
    Encode(encode::EncodeCommand),
    /// Train a head on the features of image-caption pairs.
    #[command(after_long_help = examples::TRAIN)]
    Train(Box<train_args::TrainArgs>),
    /// Fit a head in closed form, in seconds instead of a training.
    #[command(subcommand, after_long_help = examples::FIT)]
    Fit(fit::FitCommand),
    /// Measure which image and text encoders align best.
    ///
    /// Trains a linear layer on either side of every pair of encoders and scores it by retrieval (alignment probing),
    /// beside measures that need no training.
    #[command(after_long_help = examples::PROBE)]
    Probe(Box<probe::ProbeArgs>),
    /// Evaluate a head, or frozen features.
    #[command(subcommand, after_long_help = examples::EVAL)]
    Eval(eval::EvalCommand),
    /// Inspect head files, and exchange them with the authors' code.
    #[command(subcommand, after_long_help = examples::HEAD)]
    Head(head::HeadCommand),
    /// Inspect, verify, filter, merge or export embedding stores.
    #[command(subcommand, after_long_help = examples::STORE)]
    Store(store::StoreCommand),
    /// Index images, to find them by words and by images.
    #[command(after_long_help = examples::INDEX)]
    Index(index::IndexArgs),
    /// Find images of an index by words, by images, and by sums of both.
    #[command(after_long_help = examples::SEARCH)]
    Search(Box<search::SearchArgs>),
    /// Serve search in an index of images: a page and an API.
    #[cfg(feature = "serve")]
    #[command(after_long_help = examples::SERVE)]
    Serve(serve::ServeArgs),
    /// Find near-duplicates of images or captions.
    #[command(after_long_help = examples::DEDUP)]
    Dedup(dedup::DedupArgs),
    /// Score image-caption pairs by their similarity under a head, and keep the best.
    #[command(after_long_help = examples::SCORE)]
    Score(score::ScoreArgs),
    /// Count how many images show each of a list of concepts, and name those that none shows.
    #[command(after_long_help = examples::COVERAGE)]
    Coverage(coverage::CoverageArgs),
    /// List the families of models, describe a model, or check it against its reference.
    #[command(after_long_help = examples::MODELS)]
    Models(catalog::ModelsArgs),
    /// List the devices to compute on.
    #[command(after_long_help = examples::DEVICES)]
    Devices(devices::DevicesArgs),
    /// Print a completion script for a shell.
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions(generate::CompletionsArgs),
    /// Write the manual pages to a folder.
    #[command(after_long_help = examples::MAN)]
    Man(generate::ManArgs),
}

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    if matches!(command, Command::Train(_) | Command::Probe(_)) {
        sail_vl::allocator::keep_freed_memory();
    }
    interrupt::install();
    match global.apply().and_then(|()| run(&command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error there is still the exit code.
            let _ = writeln!(stderr(), "error: {}", error.chain());
            ExitCode::from(error.exit_code())
        }
    }
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod documented_jobs;

fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Encode(command) => encode::run(command),
        Command::Train(args) => train::run(args),
        Command::Fit(command) => fit::run(command),
        Command::Probe(args) => probe::run(args),
        Command::Eval(command) => eval::run(command),
        Command::Head(command) => head::run(command),
        Command::Store(command) => store::run(command),
        Command::Index(args) => index::run(args),
        Command::Search(args) => search::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        Command::Dedup(args) => dedup::run(args),
        Command::Score(args) => score::run(args),
        Command::Coverage(args) => coverage::run(args),
        Command::Models(args) => catalog::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Completions(args) => generate::completions(args, Cli::command()),
        Command::Man(args) => generate::man(args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command without subcommands, with its full name.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        let subcommands: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
        if subcommands.is_empty() {
            found.push((path.clone(), command.clone()));
        }
        subcommands.into_iter().for_each(|sub| leaves(sub, &path, found));
    }

    /// Splits a command line at spaces outside double quotes.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('"').enumerate().flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        parts.collect()
    }

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn long_help_of_every_command_has_examples_that_parse() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        assert!(found.len() > 15, "{}", found.len());
        for (path, command) in found {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.replace("\\\n", " ");
            let lines: Vec<&str> =
                examples.lines().map(str::trim).filter(|line| line.starts_with("sail ")).collect();
            assert!(lines.iter().any(|line| line.starts_with(&path)), "`{path}` has no example:\n{help}");
            for line in lines {
                let line = line.split(" > ").next().unwrap_or(line);
                if let Err(error) = Cli::try_parse_from(words(line)) {
                    panic!("`{line}` in the help of `{path}`: {error}");
                }
            }
        }
    }

    #[test]
    fn help_describes_every_argument() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        for (path, command) in found {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "`{}` of `{path}`", argument.get_id());
            }
        }
    }
}
