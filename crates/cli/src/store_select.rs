//! `sail store filter` and `sail store subset`.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use clap::{ArgGroup, Args, ValueEnum};
use glob::Pattern;
use sail_vl::core::{FeatureSource, Modality, Provenance};
use sail_vl::data::{
    DataError, Features, StoreConfig, split_tensor_spec, subset_by_count, subset_by_fraction, unusable_rows,
    write_rows,
};
use serde_json::json;

use crate::error::CliError;
use crate::inputs::open_any;
use crate::interrupt::{self, Saving};
use crate::key_list;
use crate::output::print;
use crate::progress::{ROWS, bar};

/// Keys that are read at once.
const BLOCK: usize = 4096;

/// The values of `--modality`.
#[derive(Clone, Copy, ValueEnum)]
enum ModalityName {
    Image,
    Text,
}

/// Where rows come from and go to.
#[derive(Args)]
struct CopyArgs {
    /// The features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as one.
    /// The keys of a file are the numbers of its rows, from 0.
    #[arg(value_name = "FEATURES")]
    features: String,
    /// Folder of the store to write.
    #[arg(long, value_name = "STORE")]
    out: String,
    /// What the rows of a file are; a store knows it.
    #[arg(long)]
    modality: Option<ModalityName>,
    /// Name of the model that a file comes from, which a store knows [default: the name of the file].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("wanted").required(true).multiple(true).args(["keys", "pattern", "usable"])))]
pub(crate) struct FilterArgs {
    #[command(flatten)]
    copy: CopyArgs,
    /// Keep the rows with these keys: a text file with a key in each line, JSON lines with a field `key` such as
    /// `skipped.jsonl`, or other features.
    #[arg(long, value_name = "FILE")]
    keys: Option<String>,
    /// Keep the rows whose key matches, such as `train/*`; can be repeated. `*` is any text, `?` any letter.
    #[arg(long, value_name = "PATTERN")]
    pattern: Vec<Pattern>,
    /// Keep the rows that `--keys` and `--pattern` do not select.
    #[arg(long)]
    invert: bool,
    /// Leave out rows that cannot be used: with a NaN, an infinity, or zeros only.
    #[arg(long)]
    usable: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("part").required(true).args(["count", "fraction", "range"])))]
pub(crate) struct SubsetArgs {
    #[command(flatten)]
    copy: CopyArgs,
    /// Keep the rows of this number of keys, chosen at random. Images and captions with the same keys get the same ones.
    #[arg(long, value_name = "KEYS")]
    count: Option<usize>,
    /// Keep the rows of a fraction of the keys, 0 to 1, chosen at random.
    #[arg(long, value_parser = fraction)]
    fraction: Option<f64>,
    /// Keep a range of rows, such as `0..1000`; either end may be left out.
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    range: Option<(usize, Option<usize>)>,
    /// Seed of the choice.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn fraction(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn range(text: &str) -> Result<(usize, Option<usize>), String> {
    let end = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let parsed = text.split_once("..").and_then(|(from, to)| Some((end(from)?.unwrap_or(0), end(to)?)));
    parsed
        .filter(|(from, to)| to.is_none_or(|to| *from < to))
        .ok_or_else(|| "expected FROM..TO with FROM less than TO, such as 0..1000".to_owned())
}

pub(crate) fn filter(args: &FilterArgs) -> Result<(), CliError> {
    let features = args.copy.open()?;
    let failed = |source| CliError::Features { spec: args.copy.features.clone(), source };
    let mut list = args.keys.as_deref().map(key_list::open).transpose()?;
    let everything = list.is_none() && args.pattern.is_empty();
    let mut selected = Vec::new();
    for rows in blocks(features.rows()) {
        let rows: Vec<usize> = rows.collect();
        let keys = features.keys(&rows).map_err(failed)?;
        for (row, key) in rows.into_iter().zip(keys) {
            let listed = list.as_mut().is_some_and(|list| list.find(&key));
            let matches = listed || args.pattern.iter().any(|pattern| pattern.matches(&key));
            if everything || matches != args.invert {
                selected.push(row);
            }
        }
    }
    if let Some(list) = list.filter(|list| list.absent() > 0) {
        let (absent, all) = (list.absent(), list.len());
        tracing::warn!("{absent} of the {all} keys to select are not in {}", args.copy.features);
    }
    let mut unusable = 0;
    if args.usable {
        let bar = bar(features.rows() as u64, "read", ROWS);
        let found = unusable_rows(&features, |progress| bar.set_position(progress.done)).map_err(failed)?;
        bar.finish_and_clear();
        let before = selected.len();
        selected.retain(|row| found.binary_search(row).is_err());
        unusable = before - selected.len();
    }
    args.copy.write(&features, &selected, unusable)
}

pub(crate) fn subset(args: &SubsetArgs) -> Result<(), CliError> {
    let features = args.copy.open()?;
    let failed = |source| CliError::Features { spec: args.copy.features.clone(), source };
    let rows = match (args.count, args.fraction, args.range) {
        (Some(count), ..) => subset_by_count(&features, count, args.seed).map_err(failed)?,
        (_, Some(fraction), _) => subset_by_fraction(&features, fraction, args.seed).map_err(failed)?,
        (.., Some((from, to))) => (from..to.unwrap_or(usize::MAX).min(features.rows())).collect(),
        // The parser requires one of them.
        _ => Vec::new(),
    };
    args.copy.write(&features, &rows, 0)
}

fn blocks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    sail_support::ranges(rows, BLOCK)
}

impl CopyArgs {
    /// Opens the features, before which the output is checked.
    fn open(&self) -> Result<Features, CliError> {
        let path = Path::new(&self.out);
        if path.exists() {
            return Err(CliError::Data(DataError::Exists { path: path.to_owned() }));
        }
        open_any(&self.features)
    }

    fn config(&self, features: &Features) -> Result<StoreConfig, CliError> {
        let modality = match (features.modality(), self.modality) {
            (Some(modality), _) => modality,
            (None, Some(ModalityName::Image)) => Modality::Image,
            (None, Some(ModalityName::Text)) => Modality::Text,
            (None, None) => {
                let message = format!(
                    "{} does not say what its rows are: state `--modality image` or `--modality text`",
                    self.features
                );
                return Err(CliError::Usage(message));
            }
        };
        let provenance = match (features.provenance(), &self.model) {
            (Some(provenance), _) => provenance.clone(),
            (None, Some(model)) => Provenance::new(model),
            (None, None) => {
                let (path, tensor) = split_tensor_spec(&self.features);
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                Provenance::new(tensor.map_or(name.to_string(), |tensor| format!("{name}:{tensor}")))
            }
        };
        Ok(StoreConfig { dtype: features.dtype(), ..StoreConfig::new(modality, provenance, features.dim()) })
    }

    /// Writes rows to the new store; `unusable` of those selected were left out.
    fn write(&self, features: &Features, rows: &[usize], unusable: usize) -> Result<(), CliError> {
        if rows.is_empty() {
            return Err(CliError::Usage(format!(
                "none of the {} rows of {} is selected: `sail store show {}` prints some keys",
                features.rows(),
                self.features,
                self.features
            )));
        }
        let config = self.config(features)?;
        let bar = bar(rows.len() as u64, "write", ROWS);
        // What was written so far is removed.
        let saving = Saving::start();
        let copied = |rows| {
            bar.inc(rows);
            interrupt::flow()
        };
        let store = write_rows(features, rows.iter().copied(), Path::new(&self.out), config, copied);
        let store = store.map_err(|error| match error {
            DataError::Stopped => CliError::CopyInterrupted,
            error => error.into(),
        })?;
        drop(saving);
        bar.finish_and_clear();
        let (kept, of, out) = (store.rows(), features.rows(), self.out.trim_end_matches('/'));
        let result = json!({"rows": kept, "of": of, "unusable": unusable, "store": out});
        print(self.json, &result, |text| {
            writeln!(text, "{kept} of {of} rows")?;
            if unusable > 0 {
                writeln!(text, "{unusable} rows that cannot be used were left out")?;
            }
            writeln!(text, "store: {out}")
        })
    }
}
