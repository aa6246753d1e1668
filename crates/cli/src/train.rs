//! `sail train`.

use std::io::Write;

use sail_vl::train::{EvaluationRecord, Finish};
use serde_json::json;

use crate::error::CliError;
use crate::output::print;
use crate::score_tables::write_recalls;
use crate::train_args::TrainArgs;
use crate::train_run::{Executed, dry_run, execute};
use crate::{sweep, train_report};

pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    if !args.sweep.is_empty() || args.seeds.is_some() {
        return sweep::run(args);
    }
    if args.dry_run {
        return dry_run(args);
    }
    let recipe = args.recipe.recipe()?;
    let run = execute(args, &recipe, &args.out, args.resume)?;
    let outcome = &run.outcome;
    if outcome.finish == Finish::Interrupted {
        return Err(CliError::Interrupted { steps: outcome.history.steps.len() });
    }
    if let Some(path) = &args.report {
        train_report::report(&[(args.out.clone(), outcome)], &run.pairing).save(path)?;
    }
    report(args, &run)
}

fn report(args: &TrainArgs, run: &Executed) -> Result<(), CliError> {
    let Executed { outcome, pairing, was_complete } = run;
    let steps = outcome.history.steps.len();
    let head = format!("{}/head.safetensors", args.out.trim_end_matches('/'));
    let loss = outcome.history.steps.last().map(|step| step.loss);
    let holdout = outcome.history.evaluations.last().and_then(|evaluation| evaluation.holdout.as_ref());
    let mut result = json!({
        "holdout": holdout, "loss": loss, "steps": steps, "seconds": outcome.seconds, "head": head,
        "stopped_early": outcome.finish == Finish::Early, "pairing": pairing,
    });
    if args.report.is_some() {
        result["mean_recall"] =
            outcome.history.evaluations.last().and_then(EvaluationRecord::mean_recall).into();
        result["curves"] = train_report::curves(&[(args.out.clone(), outcome)]);
    }
    print(args.json, &result, |out| {
        let (seconds, rate) = (outcome.seconds, outcome.seconds / steps.max(1) as f64);
        let loss = loss.unwrap_or(f64::NAN);
        if *was_complete {
            writeln!(out, "the run in {} was complete: nothing was left to do", args.out)?;
        }
        if !pairing.is_complete() {
            writeln!(out, "{pairing}")?;
        }
        writeln!(out, "{steps} steps in {seconds:.1} s ({rate:.3} s per step), loss {loss:.6}")?;
        if let Some(scores) = holdout {
            write_recalls(out, scores)?;
        }
        writeln!(out, "head: {head}")
    })
}
