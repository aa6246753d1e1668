//! `sail train --sweep`: a run for every combination of values, ranked by their results.

use std::io::Write;
use std::path::Path;

use clap::{Args, Command, FromArgMatches};
use sail_vl::eval::Retrieval;
use sail_vl::layers::Head;
use sail_vl::recipe::Recipe;
use sail_vl::train::{EvaluationRecord, Finish, Outcome};
use serde_json::json;

use crate::error::CliError;
use crate::interrupt::interrupter;
use crate::output;
use crate::recipe_args::RecipeArgs;
use crate::train_args::TrainArgs;
use crate::train_report;
use crate::train_run::execute;

/// Options that name data or files and cannot be swept.
const FIXED: [&str; 6] = ["config", "images", "texts", "extra-texts", "source-weights", "holdout"];

/// One combination of values, and the recipe of its run.
struct Setting {
    values: Vec<(String, String)>,
    recipe: Recipe,
}

impl Setting {
    fn name(&self) -> String {
        let pairs: Vec<String> =
            self.values.iter().map(|(option, value)| format!("{option}={value}")).collect();
        pairs.join(",")
    }
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let settings = settings(args)?;
    if settings.iter().any(|setting| setting.recipe.holdout == 0) {
        return Err(CliError::Usage("`--sweep` needs a `--holdout` to rank the settings by".into()));
    }
    let out = Path::new(&args.out);
    match (args.resume, out.exists()) {
        (false, true) => {
            return Err(CliError::Usage(format!("{} exists: use `--resume` to continue it", args.out)));
        }
        (true, false) => {
            return Err(CliError::Usage(format!("{} does not exist: omit `--resume`", args.out)));
        }
        _ => {}
    }
    let interrupter = interrupter();
    let mut done: Vec<(String, &Setting, Outcome<Head>)> = Vec::new();
    for (index, setting) in settings.iter().enumerate() {
        let mut args = args.clone();
        // The features are verified once.
        args.verify.no_verify |= index > 0;
        let folder = format!("{}/{}", args.out.trim_end_matches('/'), setting.name());
        args.tensorboard = args.tensorboard.map(|folder| folder.join(setting.name()));
        let resume = Path::new(&folder).exists();
        let outcome = execute(&args, &setting.recipe, &folder, resume, &interrupter)?;
        if outcome.finish == Finish::Interrupted {
            return Err(CliError::SweepInterrupted { done: index, settings: settings.len() });
        }
        done.push((setting.name(), setting, outcome));
    }
    done.sort_by(|a, b| recall(&b.2).total_cmp(&recall(&a.2)));
    if let Some(path) = &args.report {
        let runs: Vec<_> = done.iter().map(|(name, _, outcome)| (name.clone(), outcome)).collect();
        train_report::report(&runs).save(path)?;
    }
    print(args, &done)
}

/// The score that runs are ranked by: the final mean recall.
fn recall(outcome: &Outcome<Head>) -> f64 {
    outcome.history.evaluations.last().map_or(f64::NEG_INFINITY, EvaluationRecord::score)
}

/// Returns every combination, parsed and checked before anything runs.
fn settings(args: &TrainArgs) -> Result<Vec<Setting>, CliError> {
    let options: Vec<String> = RecipeArgs::augment_args(Command::new("train"))
        .get_arguments()
        .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
        .filter(|name| !FIXED.contains(name))
        .map(str::to_owned)
        .collect();
    let mut combinations: Vec<Vec<(String, String)>> = vec![Vec::new()];
    let mut named = Vec::new();
    for sweep in &args.sweep {
        let usage = |message: String| CliError::Usage(format!("`--sweep {sweep}`: {message}"));
        let Some((option, values)) = sweep.split_once('=') else {
            return Err(usage("expected OPTION=VALUE,VALUE,...".into()));
        };
        // `head` is the former name of `projector`.
        if !options.iter().any(|known| known == option) && option != "head" {
            return Err(usage(format!("`{option}` cannot be swept, expected one of {}", options.join(", "))));
        }
        if named.contains(&option) {
            return Err(usage(format!("`{option}` is swept twice")));
        }
        named.push(option);
        let mut values: Vec<&str> = values.split(',').collect();
        let count = values.len();
        values.dedup();
        if values.len() != count || values.iter().any(|value| value.is_empty()) {
            return Err(usage("a value is empty or given twice".into()));
        }
        combinations = combinations
            .into_iter()
            .flat_map(|before| {
                values.iter().map(move |value| {
                    let mut setting = before.clone();
                    setting.push((option.to_owned(), (*value).to_owned()));
                    setting
                })
            })
            .collect();
    }
    combinations.into_iter().map(|values| setting(args, values)).collect()
}

/// The recipe of the command line with some options replaced.
fn setting(args: &TrainArgs, values: Vec<(String, String)>) -> Result<Setting, CliError> {
    let command = RecipeArgs::augment_args_for_update(Command::new("train").no_binary_name(true));
    let options = values.iter().map(|(option, value)| format!("--{option}={value}"));
    let mut changed = args.recipe.clone();
    let updated = command.try_get_matches_from(options);
    updated.and_then(|matches| changed.update_from_arg_matches(&matches)).map_err(|error| {
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default();
        CliError::Usage(format!("a setting of the sweep: {}", line.trim_start_matches("error: ")))
    })?;
    Ok(Setting { recipe: changed.recipe()?, values })
}

fn print(args: &TrainArgs, done: &[(String, &Setting, Outcome<Head>)]) -> Result<(), CliError> {
    let head = |name: &str| format!("{}/{name}/head.safetensors", args.out.trim_end_matches('/'));
    let last = |outcome: &Outcome<Head>| outcome.history.evaluations.last().cloned();
    let settings: Vec<_> = done
        .iter()
        .map(|(name, setting, outcome)| {
            let evaluation = last(outcome);
            let values: serde_json::Map<_, _> = setting
                .values
                .iter()
                .map(|(option, value)| (option.clone(), value.as_str().into()))
                .collect();
            json!({
                "setting": values,
                "mean_recall": evaluation.as_ref().and_then(EvaluationRecord::mean_recall),
                "holdout": evaluation.and_then(|evaluation| evaluation.holdout),
                "loss": outcome.history.steps.last().map(|step| step.loss),
                "steps": outcome.history.steps.len(),
                "seconds": outcome.seconds,
                "head": head(name),
            })
        })
        .collect();
    let mut result = json!({"settings": settings, "best": done.first().map(|(name, ..)| head(name))});
    if args.report.is_some() {
        let runs: Vec<_> = done.iter().map(|(name, _, outcome)| (name.clone(), outcome)).collect();
        result["curves"] = train_report::curves(&runs);
    }
    output::print(args.json, &result, |out| {
        let width = done.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max(7) + 2;
        writeln!(
            out,
            "{:<width$}{:>11}{:>10}{:>10}{:>11}{:>11}{:>9}",
            "setting", "mean recall", "i2t R@1", "t2i R@1", "i2t R@10", "t2i R@10", "seconds"
        )?;
        for (name, _, outcome) in done {
            if let Some(evaluation) = last(outcome)
                && let Some(Retrieval { i2t, t2i, .. }) = &evaluation.holdout
            {
                writeln!(
                    out,
                    "{name:<width$}{:>11.2}{:>10.2}{:>10.2}{:>11.2}{:>11.2}{:>9.1}",
                    evaluation.score(),
                    i2t.r1,
                    t2i.r1,
                    i2t.r10,
                    t2i.r10,
                    outcome.seconds
                )?;
            }
        }
        match done.first() {
            Some((name, ..)) => writeln!(out, "best head: {}", head(name)),
            None => Ok(()),
        }
    })
}
