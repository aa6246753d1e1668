//! The HTML report of one or several runs.

use sail_vl::data::Pairing;
use sail_vl::layers::Head;
use sail_vl::report::{LineChart, Report, Section, Table};
use sail_vl::train::{EvaluationRecord, Outcome};
use serde_json::{Value, json};

/// Runs whose curves are drawn, the best ones; more could not be told apart.
const DRAWN: usize = 6;

/// Returns the points of the curves in a report, run by run.
pub(crate) fn curves(runs: &[(String, &Outcome<Head>)]) -> Value {
    let drawn = runs.iter().take(DRAWN).map(|(name, outcome)| {
        let recall = |at: &EvaluationRecord| json!({"steps": at.steps, "mean_recall": at.mean_recall()});
        json!({
            "run": name,
            "steps": outcome.history.steps,
            "evaluations": outcome.history.evaluations.iter().map(recall).collect::<Vec<_>>(),
        })
    });
    drawn.collect()
}

/// Builds a report on runs on the same pairs, best first, each with its name.
pub(crate) fn report(runs: &[(String, &Outcome<Head>)], pairing: &Pairing) -> Report {
    let several = runs.len() > 1;
    let title = if several { "Sweep" } else { "Training run" };
    let mut report = Report::new(title);
    let mut table = Table::new([
        "run",
        "R@1 to text",
        "R@1 to image",
        "R@10 to text",
        "R@10 to image",
        "loss",
        "seconds",
    ]);
    for (name, outcome) in runs {
        let holdout = outcome.history.evaluations.last().and_then(|evaluation| evaluation.holdout.as_ref());
        let recall = |score: Option<f64>| score.map_or("-".to_owned(), |score| format!("{score:.2}"));
        table = table.row([
            name.clone(),
            recall(holdout.map(|found| found.i2t.r1)),
            recall(holdout.map(|found| found.t2i.r1)),
            recall(holdout.map(|found| found.i2t.r10)),
            recall(holdout.map(|found| found.t2i.r10)),
            outcome.history.steps.last().map_or("-".to_owned(), |step| format!("{:.6}", step.loss)),
            format!("{:.1}", outcome.seconds),
        ]);
    }
    if let Some((name, best)) = runs.first()
        && let Some(evaluation) = best.history.evaluations.last()
        && let Some(holdout) = &evaluation.holdout
    {
        let of = if several { format!(" of {name}, the best setting") } else { String::new() };
        report = report
            .subtitle(format!("Evaluated on {} held-out images.", holdout.n_images))
            .key_figure(format!("{:.1} %", evaluation.score()), format!("mean recall{of}"))
            .key_figure(format!("{:.1} %", holdout.i2t.r1), format!("R@1, image to text{of}"));
    }
    let ranked = ["R@1 to text", "R@1 to image", "R@10 to text", "R@10 to image"];
    let table =
        table.higher_is_better(ranked).caption("Held-out pairs, at the end of each run; recall in percent.");
    let drawn = &runs[..runs.len().min(DRAWN)];
    let chart = |title: &str, y: &str, points: fn(&Outcome<Head>) -> Vec<(f64, f64)>| {
        drawn.iter().fold(LineChart::new(title, "step", y), |chart, (name, outcome)| {
            chart.series(name, points(outcome))
        })
    };
    let loss = chart("Loss", "loss", |outcome| {
        outcome.history.steps.iter().map(|step| (step.step as f64, step.loss)).collect()
    });
    let recall = chart("Mean recall on held-out pairs", "percent", |outcome| {
        outcome.history.evaluations.iter().map(|at| (at.steps as f64, at.score())).collect()
    });
    let rate = chart("Learning rate", "rate", |outcome| {
        outcome.history.steps.iter().map(|step| (step.step as f64, step.learning_rate)).collect()
    });
    let scale = chart("Logit scale", "scale", |outcome| {
        outcome.history.steps.iter().map(|step| (step.step as f64, step.scale)).collect()
    });
    let mut curves = Section::new("Curves");
    if runs.len() > DRAWN {
        curves = curves.text(format!("The best {DRAWN} of {} settings.", runs.len()));
    }
    report
        .section(Section::new("Results").table(table).text(format!("{pairing}.")))
        .section(curves.chart(loss.log_y()).charts([recall, rate, scale]))
        .footer(concat!("Written by sail ", env!("CARGO_PKG_VERSION")))
}
