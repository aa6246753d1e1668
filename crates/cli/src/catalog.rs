//! `sail models`.

use std::fmt::Write as _;
use std::io::Write;

use clap::{Args, Subcommand};
use sail_vl::encoders::{FamilyInfo, describe, families};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::CliError;
use crate::examples;
use crate::model_check::{self, CheckArgs};
use crate::models::open_folder;
use crate::output::print;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: Option<ModelsCommand>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Print the table of the documentation, with figures.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Subcommand)]
enum ModelsCommand {
    /// Print what is understood of a model: family, sizes, attention, pooling, prompt and preprocessing.
    #[command(after_long_help = examples::MODELS_SHOW)]
    Show(ShowArgs),
    /// Embed a fixed image or sentence, and compare the row with the reference's.
    ///
    /// A wrong mask, preprocessing or pooling gives plausible features; the row shows it. References are known for few
    /// models: `--emit-python` prints a program for the same row, and `--expect` compares with its output.
    #[command(after_long_help = examples::MODELS_CHECK)]
    Check(CheckArgs),
}

#[derive(Args)]
struct ShowArgs {
    /// The model: a folder, or an id on the Hugging Face hub, optionally with a revision (`id@revision`).
    #[arg(value_name = "FOLDER_OR_ID")]
    model: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ModelsArgs) -> Result<(), CliError> {
    match &args.command {
        Some(ModelsCommand::Show(args)) => show(args),
        Some(ModelsCommand::Check(args)) => model_check::run(args),
        None if args.markdown => {
            let page = page()?;
            print(false, &(), |out| out.write_all(page.as_bytes()))
        }
        None => list(args.json),
    }
}

fn show(args: &ShowArgs) -> Result<(), CliError> {
    let folder = open_folder(&args.model, None)?;
    let model = describe(&folder).map_err(|source| CliError::Model { spec: args.model.clone(), source })?;
    print(args.json, &model, |out| write!(out, "{model}"))
}

fn list(json: bool) -> Result<(), CliError> {
    let all: Vec<FamilyInfo> = families().collect();
    print(json, &json!({ "families": all }), |out| {
        let name = all.iter().map(|family| family.name.len()).fold(6, usize::max);
        writeln!(out, "{:<name$}  {:<13}  MODEL_TYPE", "FAMILY", "ENCODES")?;
        for family in &all {
            let types = family.model_types.join(", ");
            writeln!(out, "{:<name$}  {:<13}  {types}", family.name, encodes(family))?;
        }
        Ok(())
    })
}

fn encodes(family: &FamilyInfo) -> &'static str {
    match (family.images, family.texts) {
        (true, true) => "images, texts",
        (true, false) => "images",
        (false, _) => "texts",
    }
}

/// What was measured of a family.
#[derive(Debug, Deserialize, Serialize)]
struct Figures {
    family: String,
    /// Largest error of the tests against the reference, relative to the largest value.
    #[serde(default)]
    error: Option<f64>,
    #[serde(default)]
    speed: Vec<Speed>,
}

/// The speed of a backbone of real size with random weights.
#[derive(Debug, Deserialize, Serialize)]
struct Speed {
    /// Name and input of the backbone.
    model: String,
    rows_per_second: f64,
    memory_mib: f64,
}

/// What the examples `family_parity` and `family_speed` of `sail-encoders` measured.
const FIGURES: &str = include_str!("family_figures.json");

const INTRODUCTION: &str = "\
# Models

Families of backbones that `sail encode`, `sail probe` and the crate `sail-encoders` load, by the `model_type` in
`config.json`. Checkpoints are those that the family was written for; others with the same layout load as well.
`sail models show` prints what is understood of a model, and `sail models check` compares it with its reference.

The error is the largest one of the tests against the reference library, relative to the largest value. Speed and peak memory
are those of a backbone of real size with random weights in f32 on two threads of an AMD EPYC CPU, without preprocessing;
empty cells were not measured. `cargo run --release -p sail-encoders --example family_speed -- crates/cli/src/family_figures.json
NAME` measures a model of `family_sizes.json`, and `--example family_parity` the errors.

This page is the output of `sail models --markdown`.

| family | encodes | `model_type` | checkpoints | error | measured | rows per second | memory |
|---|---|---|---|---|---|---|---|
";

/// Returns the page of the documentation.
pub(crate) fn page() -> Result<String, CliError> {
    let figures: Vec<Figures> = serde_json::from_str(FIGURES)?;
    let mut page = INTRODUCTION.to_owned();
    for family in families() {
        let code =
            |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let figures = figures.iter().find(|figures| figures.family == family.name);
        let error = figures.and_then(|figures| figures.error).map(|error| format!("{error:.0e}"));
        let speed = figures.map_or(&[][..], |figures| &figures.speed);
        let cell = |value: fn(&Speed) -> String| speed.iter().map(value).collect::<Vec<_>>().join("<br>");
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            family.name,
            encodes(&family),
            code(family.model_types),
            code(family.checkpoints),
            error.unwrap_or_default(),
            cell(|speed| speed.model.clone()),
            cell(|speed| significant(speed.rows_per_second)),
            cell(|speed| format!("{:.0} MiB", speed.memory_mib)),
        );
    }
    Ok(page)
}

/// Formats a rate with three digits.
fn significant(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_generated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/models.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, page().unwrap(), "run `sail models --markdown > docs/models.md`");
    }

    #[test]
    fn figures_are_those_of_families() {
        let figures: Vec<Figures> = serde_json::from_str(FIGURES).unwrap();
        for figures in figures {
            assert!(families().any(|family| family.name == figures.family), "{}", figures.family);
            assert!(figures.error.is_none_or(|error| error <= 1e-4), "{figures:?}");
        }
    }
}
