//! `sail train --seeds`: settings over several seeds.

use std::io::{self, Write};
use std::str::FromStr;

use sail_vl::eval::MeanInterval;
use sail_vl::report::{Section, Table};
use sail_vl::train::EvaluationRecord;
use serde::Serialize;
use serde_json::{Map, Value};

/// More runs of one setting are most likely a mistyped range.
const MOST: usize = 1000;

/// Seeds as `0..4`, without the last, or `0,3,7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds(pub(crate) Vec<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a range such as `0..4`, which is 0 to 3, or a list such as `0,3,7`";
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| expected.to_owned());
        let mut seeds = match text.split_once("..") {
            Some((first, end)) => {
                let (first, end) = (number(first)?, number(end)?);
                (first..end.min(first.saturating_add(MOST as u64 + 1))).collect::<Vec<u64>>()
            }
            None => text.split(',').map(number).collect::<Result<_, _>>()?,
        };
        let count = seeds.len();
        if !(2..=MOST).contains(&count) {
            return Err(format!("{count} seeds, expected 2 to {MOST}: the spread needs at least two"));
        }
        seeds.sort_unstable();
        seeds.dedup();
        if seeds.len() < count {
            return Err("a seed is given twice".to_owned());
        }
        Ok(Self(seeds))
    }
}

/// An option of the sweep and its value.
pub(crate) type Choice = (String, String);

/// The name of a combination of values.
pub(crate) fn name(values: &[Choice]) -> String {
    let pairs: Vec<String> = values.iter().map(|(option, value)| format!("{option}={value}")).collect();
    pairs.join(",")
}

/// The scores of a run that are averaged.
type Score = fn(&EvaluationRecord) -> Option<f64>;
const SCORES: [(&str, Score); 5] = [
    ("mean recall", EvaluationRecord::mean_recall),
    ("i2t R@1", |at| Some(at.holdout.as_ref()?.i2t.r1)),
    ("t2i R@1", |at| Some(at.holdout.as_ref()?.t2i.r1)),
    ("i2t R@10", |at| Some(at.holdout.as_ref()?.i2t.r10)),
    ("t2i R@10", |at| Some(at.holdout.as_ref()?.t2i.r10)),
];

/// A run that has ended: its setting without the seed, the seed, and its last evaluation.
pub(crate) struct SeedRun<'a> {
    pub(crate) setting: &'a [Choice],
    pub(crate) seed: u64,
    pub(crate) evaluation: &'a EvaluationRecord,
}

/// A setting over its seeds.
#[derive(Serialize)]
pub(crate) struct Summary {
    #[serde(skip)]
    name: String,
    setting: Map<String, Value>,
    /// The seeds whose runs ended.
    seeds: Vec<u64>,
    /// The means by score; null for a single run.
    scores: Map<String, Value>,
    #[serde(skip)]
    means: Vec<Option<MeanInterval>>,
    /// The mean recall minus that of the best setting with the same seeds; missing for the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_best: Option<Difference>,
}

/// The difference of two settings, paired by seed.
#[derive(Serialize)]
struct Difference {
    #[serde(flatten)]
    mean: MeanInterval,
    larger_than_spread: bool,
}

/// Averages runs by setting, and compares each with the best: the highest mean recall first.
pub(crate) fn summarize(runs: &[SeedRun<'_>]) -> Vec<Summary> {
    let mut settings: Vec<(&[Choice], Vec<&SeedRun<'_>>)> = Vec::new();
    for run in runs {
        match settings.iter_mut().find(|(setting, _)| *setting == run.setting) {
            Some((_, of_setting)) => of_setting.push(run),
            None => settings.push((run.setting, vec![run])),
        }
    }
    for (_, runs) in &mut settings {
        runs.sort_by_key(|run| run.seed);
    }
    let recall = |run: &SeedRun<'_>| run.evaluation.mean_recall().unwrap_or(f64::NAN);
    let mean = |runs: &[&SeedRun<'_>]| runs.iter().map(|run| recall(run)).sum::<f64>() / runs.len() as f64;
    settings.sort_by(|a, b| mean(&b.1).total_cmp(&mean(&a.1)));
    let best = settings.first().map(|(_, runs)| runs.clone()).unwrap_or_default();
    let summary = |(index, (setting, runs)): (usize, &(&[Choice], Vec<&SeedRun<'_>>))| {
        let means = SCORES.map(|(_, score)| {
            let values: Option<Vec<f64>> = runs.iter().map(|run| score(run.evaluation)).collect();
            MeanInterval::of(&values?)
        });
        let differences: Vec<f64> = runs
            .iter()
            .filter_map(|run| Some(recall(run) - recall(best.iter().find(|best| best.seed == run.seed)?)))
            .collect();
        let difference = MeanInterval::of(&differences).filter(|_| index > 0);
        let names = SCORES.iter().map(|(name, _)| (*name).to_owned());
        let values = means.iter().map(|mean| serde_json::to_value(mean).unwrap_or_default());
        Summary {
            name: match setting.is_empty() {
                true => "all".to_owned(),
                false => name(setting),
            },
            setting: setting.iter().map(|(option, value)| (option.clone(), value.as_str().into())).collect(),
            seeds: runs.iter().map(|run| run.seed).collect(),
            scores: names.zip(values).collect(),
            means: means.to_vec(),
            to_best: difference.map(|mean| Difference { larger_than_spread: mean.excludes_zero(), mean }),
        }
    };
    settings.iter().enumerate().map(summary).collect()
}

impl Summary {
    /// The cells of a table: setting, seeds, scores, and the difference to the best setting.
    fn cells(&self) -> Vec<String> {
        let cell = |mean: &MeanInterval| format!("{:.2} ± {:.2}", mean.mean, mean.half_width());
        let mut cells = vec![self.name.clone(), self.seeds.len().to_string()];
        cells.extend(self.means.iter().map(|mean| mean.as_ref().map_or("-".to_owned(), cell)));
        cells.push(self.to_best.as_ref().map_or("-".to_owned(), |difference| cell(&difference.mean)));
        let larger = |difference: &Difference| if difference.larger_than_spread { "yes" } else { "no" };
        cells.push(self.to_best.as_ref().map_or("-", larger).to_owned());
        cells
    }
}

/// What the table means.
const CAPTION: &str = "Means and 95% intervals over seeds (Student's t). A seed decides the initial weights, the order of the \
                       batches and the holdout. Differences to the best setting are paired by seed; one whose interval \
                       excludes 0 is larger than its spread.";

fn headings() -> impl Iterator<Item = &'static str> {
    let scores = SCORES.iter().map(|(name, _)| *name);
    ["setting", "seeds"].into_iter().chain(scores).chain(["to the best", "larger than spread"])
}

/// Writes the table as text.
pub(crate) fn write(out: &mut impl Write, summaries: &[Summary]) -> io::Result<()> {
    let headings: Vec<String> = headings().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = [headings].into_iter().chain(summaries.iter().map(Summary::cells)).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        writeln!(out, "{:<width$}{}", row[0], cells.collect::<String>(), width = widths[0])?;
    }
    writeln!(out, "{CAPTION}")
}

/// The section of a report.
pub(crate) fn section(summaries: &[Summary]) -> Section {
    let table = summaries.iter().fold(Table::new(headings()), |table, summary| table.row(summary.cells()));
    Section::new("Seeds").table(table.caption(CAPTION))
}

#[cfg(test)]
mod tests {
    use sail_vl::eval::{Retrieval, RetrievalScores};

    use super::*;

    #[test]
    fn seeds_are_ranges_and_lists() {
        let parse = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(parse("0..4"), Ok(vec![0, 1, 2, 3]));
        assert_eq!(parse("7,3,5"), Ok(vec![3, 5, 7]));
        for (text, words) in [
            ("3", "1 seeds, expected 2"),
            ("4..4", "0 seeds"),
            ("0..99999999999", "expected 2 to 1000"),
            ("1,1", "twice"),
            ("0-4", "such as `0..4`"),
            ("a..b", "such as `0..4`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    fn evaluation(recall: f64) -> EvaluationRecord {
        let scores =
            RetrievalScores { r1: recall, r5: recall, r10: recall, mean_rank: 2.0, median_rank: 1.0 };
        let holdout = Retrieval { i2t: scores, t2i: scores, n_images: 9, n_texts: 9 };
        let record = serde_json::json!({"steps": 1, "epochs": 1, "holdout": holdout});
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn differences_are_paired_by_seed() {
        // The seeds differ by more than the settings, which always differ by about 1.
        let recalls = [("a", [10.0, 20.0, 30.0]), ("b", [11.0, 21.1, 30.9]), ("c", [11.0, 19.0, 32.0])];
        let settings: Vec<(Vec<Choice>, Vec<EvaluationRecord>)> = recalls
            .iter()
            .map(|(name, recalls)| {
                (vec![("lr".to_owned(), (*name).to_owned())], recalls.map(evaluation).to_vec())
            })
            .collect();
        let runs: Vec<SeedRun<'_>> = settings
            .iter()
            .flat_map(|(setting, evaluations)| {
                let run = |(seed, evaluation)| SeedRun { setting, seed: seed as u64, evaluation };
                evaluations.iter().enumerate().map(run)
            })
            .collect();
        let found = summarize(&runs);
        let names: Vec<&str> = found.iter().map(|summary| summary.name.as_str()).collect();
        assert_eq!(names, ["lr=b", "lr=c", "lr=a"]);
        assert!(found[0].to_best.is_none());
        let larger = |index: usize| found[index].to_best.as_ref().map(|to_best| to_best.larger_than_spread);
        assert_eq!([larger(1), larger(2)], [Some(false), Some(true)]);
        let json = serde_json::to_value(&found[2]).unwrap();
        assert_eq!((&json["seeds"], &json["setting"]["lr"]), (&serde_json::json!([0, 1, 2]), &"a".into()));
        assert!((json["scores"]["mean recall"]["mean"].as_f64().unwrap() - 20.0).abs() < 1e-9);
        assert!((json["to_best"]["mean"].as_f64().unwrap() + 1.0).abs() < 1e-9);
    }
}
