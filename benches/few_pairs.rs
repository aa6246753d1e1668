//! The report of the results of `benches/few_pairs.py`: recall by the number of training pairs.
//!
//! ```text
//! cargo bench --bench few_pairs -- RESULTS.jsonl REPORT.html
//! ```
//! writes an HTML report, and prints the tables of `docs/few-pairs.md`. A value is the mean over seeds with the half-width of
//! its 95% confidence interval by Student's t distribution. A seed decides the training pairs and the initial weights.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use sail_vl::report::{Facts, LineChart, Report, Section, Table};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The method that others are compared with.
const REFERENCE: &str = "SAIL, linear";
/// The 97.5% quantiles of Student's t distribution with 1, 2, ... degrees of freedom.
const STUDENT: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

#[derive(Deserialize)]
struct Direction {
    #[serde(rename = "r@1")]
    r1: f64,
}

/// A line of the results.
#[derive(Deserialize)]
struct Cell {
    split: String,
    set: String,
    encoder: String,
    method: String,
    command: String,
    size: usize,
    seed: u64,
    i2t: Direction,
    t2i: Direction,
}

impl Cell {
    /// R@1 in percent, the mean of both directions.
    fn recall(&self) -> f64 {
        (self.i2t.r1 + self.t2i.r1) / 2.0
    }
}

/// A mean with the half-width of its confidence interval.
#[derive(Clone, Copy)]
struct Mean {
    mean: f64,
    half: f64,
}

impl Mean {
    /// `None` without values; the interval of a single one is not a number.
    fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let quantile = values.len().checked_sub(2).and_then(|index| STUDENT.get(index)).copied();
        let half = quantile.unwrap_or(f64::NAN) * (squares / (count - 1.0) / count).sqrt();
        (!values.is_empty()).then_some(Self { mean, half })
    }

    fn text(found: Option<Self>) -> String {
        found.map_or("–".to_owned(), |Self { mean, half }| format!("{mean:.1} ± {half:.1}"))
    }

    fn signed(found: Option<Self>) -> String {
        found.map_or("–".to_owned(), |Self { mean, half }| {
            let mark = if mean.abs() > half { " *" } else { "" };
            format!("{mean:+.1} ± {half:.1}{mark}")
        })
    }
}

/// The results on the test pairs.
struct Results {
    cells: Vec<Cell>,
    /// In the order of the file.
    methods: Vec<String>,
    sizes: BTreeSet<usize>,
    seeds: BTreeSet<u64>,
    /// Pairs of a set and an encoder.
    data: BTreeSet<(String, String)>,
}

impl Results {
    fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path)?;
        let cells: Vec<Cell> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let cells: Vec<Cell> = cells.into_iter().filter(|cell| cell.split == "test").collect();
        let mut methods: Vec<String> = Vec::new();
        for cell in &cells {
            if !methods.contains(&cell.method) {
                methods.push(cell.method.clone());
            }
        }
        let sizes = cells.iter().map(|cell| cell.size).collect();
        let seeds = cells.iter().map(|cell| cell.seed).collect();
        let data = cells.iter().map(|cell| (cell.set.clone(), cell.encoder.clone())).collect();
        Ok(Self { cells, methods, sizes, seeds, data })
    }

    fn recall(&self, (set, encoder): &(String, String), method: &str, size: usize, seed: u64) -> Option<f64> {
        let same = |cell: &&Cell| {
            cell.set == *set
                && cell.encoder == *encoder
                && cell.method == method
                && cell.size == size
                && cell.seed == seed
        };
        self.cells.iter().find(same).map(Cell::recall)
    }

    /// The recall of every seed; `None` unless all are there.
    fn by_seed(&self, data: &(String, String), method: &str, size: usize) -> Option<Vec<f64>> {
        self.seeds.iter().map(|seed| self.recall(data, method, size, *seed)).collect()
    }

    /// The mean over sets and encoders for every seed.
    fn overall(&self, method: &str, size: usize) -> Option<Vec<f64>> {
        let all: Vec<Vec<f64>> =
            self.data.iter().map(|data| self.by_seed(data, method, size)).collect::<Option<_>>()?;
        let mean = |seed: usize| all.iter().map(|of| of[seed]).sum::<f64>() / all.len() as f64;
        Some((0..self.seeds.len()).map(mean).collect())
    }

    /// The difference to the reference for every seed, which both have the training pairs of.
    fn difference(&self, method: &str, size: usize) -> Option<Vec<f64>> {
        let (found, reference) = (self.overall(method, size)?, self.overall(REFERENCE, size)?);
        Some(found.iter().zip(reference).map(|(found, reference)| found - reference).collect())
    }

    /// The rows of a table: a method and a text for each size.
    fn rows(&self, text: impl Fn(&str, usize) -> String) -> Vec<Vec<String>> {
        let row = |method: &String| {
            let cells = self.sizes.iter().map(|size| text(method, *size));
            std::iter::once(method.clone()).chain(cells).collect()
        };
        self.methods.iter().map(row).collect()
    }

    /// A line for each method through its means.
    fn chart(&self, title: &str, values: impl Fn(&str, usize) -> Option<Vec<f64>>) -> LineChart {
        let chart = LineChart::new(title, "training pairs", "R@1 in percent").log_x();
        self.methods.iter().fold(chart, |chart, method| {
            let points = self.sizes.iter().filter_map(|size| {
                let Mean { mean, half } = Mean::of(&values(method, *size)?)?;
                Some(((*size as f64, mean), (mean - half, mean + half)))
            });
            chart.intervals(method, points)
        })
    }
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench` to the arguments, and runs every bench without others.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [results, report] = match arguments.as_slice() {
        [] => return Ok(()),
        [results, report] => [results, report].map(Path::new),
        _ => return Err("expected RESULTS.jsonl REPORT.html".into()),
    };
    let results = Results::read(results)?;
    let columns: Vec<String> = std::iter::once("method".to_owned())
        .chain(results.sizes.iter().map(|size| format!("{size} pairs")))
        .collect();
    let section = |title: &str, text: &str, rows: Vec<Vec<String>>| {
        println!("### {title}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
        rows.iter().for_each(|row| println!("| {} |", row.join(" | ")));
        println!();
        let table = rows.into_iter().fold(Table::new(columns.clone()), Table::row);
        Section::new(title).text(text).table(table)
    };

    let overall = |method: &str, size| results.overall(method, size);
    let text = "Recall of the caption of an image and of the image of a caption, in percent: mean and 95% confidence interval.";
    let mut page = Report::new("Few pairs").subtitle(format!(
        "{} methods, {} sets of features, {} seeds",
        results.methods.len(),
        results.data.len(),
        results.seeds.len()
    ));
    let all = section(
        "Mean of all sets and encoders",
        text,
        results.rows(|method, size| Mean::text(overall(method, size).as_deref().and_then(Mean::of))),
    );
    page = page.section(all.chart(results.chart("Mean of all sets and encoders", overall)));
    page = page.section(section(
        &format!("Difference to {REFERENCE}"),
        "In points of R@1, by seed, whose training pairs are the same. An asterisk marks those that are larger than their interval.",
        results.rows(|method, size| {
            Mean::signed(results.difference(method, size).as_deref().and_then(Mean::of))
        }),
    ));
    for data in &results.data {
        let title = format!("{}, {}", data.0, data.1);
        let values = |method: &str, size| results.by_seed(data, method, size);
        let table = section(
            &title,
            text,
            results.rows(|method, size| Mean::text(values(method, size).as_deref().and_then(Mean::of))),
        );
        page = page.section(table.chart(results.chart(&title, values)));
    }
    let settings = results.methods.iter().fold(Facts::new(), |facts, method| {
        let command =
            results.cells.iter().find(|cell| cell.method == *method).map(|cell| cell.command.as_str());
        facts.fact(method, format!("sail {}", command.unwrap_or_default()))
    });
    page.section(Section::new("Settings").facts(settings)).save(report)?;
    Ok(())
}
