//! `sail train --sweep` and `--seeds`: a run for every combination of values, ranked by their results.

use std::io::Write;
use std::path::Path;

use clap::{Args, Command, FromArgMatches};
use sail_vl::data::Pairing;
use sail_vl::eval::Retrieval;
use sail_vl::layers::Head;
use sail_vl::recipe::Recipe;
use sail_vl::report::{Facts, Section};
use sail_vl::train::{EvaluationRecord, Finish, Outcome, TrainError};
use serde_json::json;

use crate::error::{CliError, chain};
use crate::recipe_args::RecipeArgs;
use crate::seeds::{Choice, SeedRun, Seeds, Summary, name};
use crate::train_args::TrainArgs;
use crate::train_report;
use crate::train_run::{Executed, execute};
use crate::{divergence, output, seeds};

/// Options that name data or files and cannot be swept.
const FIXED: [&str; 9] = [
    "config",
    "images",
    "texts",
    "extra-texts",
    "unmatched",
    "source-weights",
    "holdout",
    "unpaired-images",
    "unpaired-texts",
];

/// One combination of values, and the recipe of its run.
struct Setting {
    values: Vec<(String, String)>,
    recipe: Recipe,
}

impl Setting {
    fn name(&self) -> String {
        name(&self.values)
    }

    /// The values without the seed, which comes last.
    fn without_seed(&self) -> &[Choice] {
        match self.values.split_last() {
            Some(((option, _), others)) if option == SEED => others,
            _ => &self.values,
        }
    }
}

/// The option that `--seeds` sweeps over.
const SEED: &str = "seed";

pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let settings = settings(args)?;
    if settings.iter().any(|setting| setting.recipe.holdout == 0) {
        return Err(CliError::Usage("`--sweep` and `--seeds` need a `--holdout` to evaluate on".into()));
    }
    let out = Path::new(&args.out);
    if out.exists() && !args.resume {
        return Err(CliError::Usage(format!("{} exists: use `--resume` to continue it", args.out)));
    }
    let mut found = Swept::default();
    for (index, setting) in settings.iter().enumerate() {
        let mut args = args.clone();
        // The features are verified once.
        args.verify.no_verify |= index > 0;
        let name = setting.name();
        let folder = out.join(&name);
        if let Some(reason) = divergence::read(&folder, &setting.recipe)? {
            found.diverged.push((name, setting, reason));
            continue;
        }
        args.tensorboard = args.tensorboard.map(|folder| folder.join(&name));
        let run = format!("{}/{name}", args.out.trim_end_matches('/'));
        match execute(&args, &setting.recipe, &run, true) {
            Ok(Executed { outcome, .. }) if outcome.finish == Finish::Interrupted => {
                return Err(CliError::SweepInterrupted { done: index, settings: settings.len() });
            }
            Ok(Executed { outcome, pairing, .. }) => {
                found.pairing = Some(pairing);
                found.done.push((name, setting, outcome));
            }
            Err(CliError::Train(error)) if divergence::is_divergence(&error) => {
                let reason = chain(&error);
                divergence::write(&folder, &setting.recipe, &reason)?;
                tracing::warn!("{name} diverged: {reason}");
                found.diverged.push((name, setting, reason));
            }
            // Another setting may need less memory.
            Err(CliError::Train(error @ (TrainError::Device(_) | TrainError::Memory { .. }))) => {
                let reason = chain(&error);
                tracing::warn!("{name} failed: {reason}");
                found.failed.push((name, setting, reason));
            }
            Err(error) => return Err(error),
        }
    }
    found.done.sort_by(|a, b| recall(&b.2).total_cmp(&recall(&a.2)));
    if found.done.is_empty() {
        return Err(found.nothing());
    }
    if let (Some(path), Some(pairing)) = (&args.report, &found.pairing) {
        let runs: Vec<_> = found.done.iter().map(|(name, _, outcome)| (name.clone(), outcome)).collect();
        let mut report = train_report::report(&runs, pairing);
        for (heading, settings) in
            [("Diverged settings", &found.diverged), ("Failed settings", &found.failed)]
        {
            if !settings.is_empty() {
                let facts =
                    settings.iter().fold(Facts::new(), |facts, (name, _, reason)| facts.fact(name, reason));
                report = report.section(Section::new(heading).facts(facts));
            }
        }
        if args.seeds.is_some() {
            report = report.section(seeds::section(&found.seeds()));
        }
        report.save(path)?;
    }
    print(args, &found)?;
    match found.failed.len() {
        0 => Ok(()),
        failed => Err(CliError::SweepFailed { failed, settings: settings.len() }),
    }
}

/// The settings of a sweep by how their runs ended.
#[derive(Default)]
struct Swept<'a> {
    /// Best first.
    done: Vec<(String, &'a Setting, Outcome<Head>)>,
    /// With a loss, a gradient or a weight that was not finite; the reason comes last.
    diverged: Vec<(String, &'a Setting, String)>,
    /// Without the memory for a step.
    failed: Vec<(String, &'a Setting, String)>,
    pairing: Option<Pairing>,
}

impl Swept<'_> {
    /// The settings over their seeds, the highest mean first.
    fn seeds(&self) -> Vec<Summary> {
        let run = |(_, setting, outcome): &(String, &Setting, Outcome<Head>)| {
            let evaluation = outcome.history.evaluations.last()?.clone();
            Some((setting.without_seed().to_vec(), setting.recipe.train.seed, evaluation))
        };
        let runs: Vec<_> = self.done.iter().filter_map(run).collect();
        let runs: Vec<SeedRun<'_>> = runs
            .iter()
            .map(|(setting, seed, evaluation)| SeedRun { setting, seed: *seed, evaluation })
            .collect();
        seeds::summarize(&runs)
    }

    /// The error if no setting was trained.
    fn nothing(&self) -> CliError {
        let all = || self.diverged.iter().chain(&self.failed);
        let (first, reason) = all().next().map_or(("", ""), |(name, _, reason)| (name, reason));
        CliError::SweepDiverged {
            settings: all().count(),
            first: first.to_owned(),
            reason: reason.to_owned(),
        }
    }
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
        if option == SEED && args.seeds.is_some() {
            return Err(usage("`--seeds` sweeps over the seeds as well".into()));
        }
        let mut values: Vec<&str> = values.split(',').collect();
        let count = values.len();
        values.dedup();
        if values.len() != count || values.iter().any(|value| value.is_empty()) {
            return Err(usage("a value is empty or given twice".into()));
        }
        combinations = combine(combinations, option, &values);
    }
    if let Some(Seeds(seeds)) = &args.seeds {
        let values: Vec<String> = seeds.iter().map(u64::to_string).collect();
        combinations = combine(combinations, SEED, &values);
    }
    combinations.into_iter().map(|values| setting(args, values)).collect()
}

/// Every combination with every value of one more option.
fn combine(
    combinations: Vec<Vec<(String, String)>>,
    option: &str,
    values: &[impl AsRef<str>],
) -> Vec<Vec<(String, String)>> {
    let extend = |before: Vec<(String, String)>| {
        values.iter().map(move |value| {
            let mut setting = before.clone();
            setting.push((option.to_owned(), value.as_ref().to_owned()));
            setting
        })
    };
    combinations.into_iter().flat_map(extend).collect()
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

fn print(args: &TrainArgs, found: &Swept<'_>) -> Result<(), CliError> {
    let Swept { done, diverged, failed, pairing } = found;
    let head = |name: &str| format!("{}/{name}/head.safetensors", args.out.trim_end_matches('/'));
    let last = |outcome: &Outcome<Head>| outcome.history.evaluations.last().cloned();
    let values = |setting: &Setting| -> serde_json::Map<_, _> {
        setting.values.iter().map(|(option, value)| (option.clone(), value.as_str().into())).collect()
    };
    let trained = done.iter().map(|(name, setting, outcome)| {
        let evaluation = last(outcome);
        json!({
            "setting": values(setting),
            "mean_recall": evaluation.as_ref().and_then(EvaluationRecord::mean_recall),
            "holdout": evaluation.and_then(|evaluation| evaluation.holdout),
            "loss": outcome.history.steps.last().map(|step| step.loss),
            "steps": outcome.history.steps.len(),
            "seconds": outcome.seconds,
            "head": head(name),
        })
    });
    let ended = |how: &'static str, settings: &Vec<(String, &Setting, String)>| {
        let entry = |(_, setting, reason): &(String, &Setting, String)| json!({"setting": values(setting), "mean_recall": null, how: reason});
        settings.iter().map(entry).collect::<Vec<_>>()
    };
    let settings: Vec<_> =
        trained.chain(ended("diverged", diverged)).chain(ended("failed", failed)).collect();
    let mut result = json!({
        "settings": settings, "best": done.first().map(|(name, ..)| head(name)), "pairing": pairing,
    });
    let seeds = args.seeds.as_ref().map(|_| found.seeds());
    if let Some(seeds) = &seeds {
        result["seeds"] = json!(seeds);
    }
    if args.report.is_some() {
        let runs: Vec<_> = done.iter().map(|(name, _, outcome)| (name.clone(), outcome)).collect();
        result["curves"] = train_report::curves(&runs);
    }
    output::print(args.json, &result, |out| {
        let names = done.iter().map(|(name, ..)| name);
        let names = names.chain(diverged.iter().chain(failed).map(|(name, ..)| name));
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).max(7) + 2;
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
        for (how, settings) in [("diverged", diverged), ("failed", failed)] {
            for (name, _, reason) in settings {
                writeln!(out, "{name:<width$}{how}: {reason}")?;
            }
        }
        if let Some(seeds) = &seeds {
            seeds::write(out, seeds)?;
        }
        match done.first() {
            Some((name, ..)) => writeln!(out, "best head: {}", head(name)),
            None => Ok(()),
        }
    })
}
