//! `sail probe`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use sail_support::write_atomic;
use sail_vl::core::{Check, Modality};
use sail_vl::data::{Matched, Unmatched, same_features};
use sail_vl::probe::{Grid, Probe, ProbeConfig, Progress, probe};
use sail_vl::recipe::Recipe;
use sail_vl::train::{Interrupter, RunFolder, TrainError};
use serde::{Deserialize, Serialize};

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::inputs::{UnmatchedArgs, VerifyArgs, continues, make_room};
use crate::interrupt;
use crate::output::print;
use crate::probe_features::{Opened, named, open};
use crate::progress::bar;
use crate::{labels, probe_report};

// Negative numbers are parsed as values, to be rejected with a message about the value.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct ProbeArgs {
    /// Image features of an encoder, FEATURES or NAME=FEATURES; repeat it for each encoder. The stores or
    /// safetensors files in a folder, such as one for each layer, are candidates of which the best is selected for each pair.
    #[arg(long, value_name = "FEATURES", required = true)]
    images: Vec<String>,
    /// Text features of an encoder, FEATURES or NAME=FEATURES, or a folder of stores; repeat it for each encoder.
    #[arg(long, value_name = "FEATURES", required = true)]
    texts: Vec<String>,
    /// Classes of the images, for k-NN, linear probing and clustering: an integer tensor with a class for each row of
    /// the first `--images`, FILE.safetensors:TENSOR, or `folders` for keys such as CLASS/NAME.
    #[arg(long, value_name = "CLASSES")]
    labels: Option<String>,
    #[command(flatten)]
    unmatched: UnmatchedArgs,
    #[command(flatten)]
    verify: VerifyArgs,

    /// Folder to keep the results of finished parts in, and `best.toml`, a configuration for `sail train` with the best pair.
    #[arg(long, value_name = "PROBE")]
    out: Option<String>,
    /// Resume the probe in that folder.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Write an HTML report.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// Number of pairs that are held out of training and evaluated [default: a fifth, at most 1000].
    #[arg(long, value_name = "ROWS")]
    holdout: Option<usize>,
    /// Seed of the holdout, the initial weights, the permutations and the bootstrap samples.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Dimension of the space that the linear layers map into.
    #[arg(long, default_value_t = 2048)]
    dim: usize,
    /// Batch size, at most the number of training pairs.
    #[arg(long, default_value_t = 32_768)]
    batch: usize,
    /// Passes over the data.
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// Peak learning rate; the default is for millions of pairs, for thousands use about 3e-4.
    #[arg(long, default_value_t = 1e-5)]
    lr: f64,
    /// Number of neighbours of mutual k-NN.
    #[arg(long, default_value_t = 10, value_name = "K")]
    mutual_k: usize,
    /// Number of neighbours of k-NN classification.
    #[arg(long, default_value_t = 20, value_name = "K")]
    knn_k: usize,
    /// Regularization of CCA and ridge regression, relative to the mean variance of a column.
    #[arg(long, default_value_t = 0.1)]
    regularization: f64,
    /// Number of random pairings that the measures are calibrated by; 0 for none, else at least 1 / alpha - 1. For CKA and
    /// CCA each takes about as long as their value, for mutual k-NN next to nothing.
    #[arg(long, default_value_t = 200)]
    permutations: usize,
    /// Significance level of the calibration: the share of unrelated encoders whose score is above 0.
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// Number of bootstrap samples of the held-out pairs that the intervals are computed from.
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// Maximum number of training pairs that the measures before training use.
    #[arg(long, default_value_t = 50_000)]
    rows: usize,
    #[command(flatten)]
    device: DeviceArgs,
}

/// The content of `config.json`: everything that determines the result.
#[derive(Serialize, Deserialize)]
struct Recorded {
    images: Vec<String>,
    texts: Vec<String>,
    labels: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    unmatched: Unmatched,
    rows: usize,
    /// The sets of all encoders, if an encoder has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sets: Option<Vec<String>>,
    /// How many rows of every set are used, if some are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matched: Option<Vec<Matched>>,
    probe: ProbeConfig,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Recorded {
    /// Opens the folder of an interrupted probe with these settings; the same features may be spelled in another way.
    fn resume(mut self, path: &Path) -> Result<RunFolder, TrainError> {
        let found: Self = RunFolder::config(path)?;
        for (specs, found) in [(&mut self.images, &found.images), (&mut self.texts, &found.texts)] {
            for (spec, found) in specs.iter_mut().zip(found) {
                let (asked, recorded) = (named(spec), named(found));
                if asked.0 == recorded.0 && same_features(asked.1, recorded.1) {
                    spec.clone_from(found);
                }
            }
        }
        if let (Some(spec), Some(found)) = (&mut self.labels, &found.labels)
            && same_features(spec, found)
        {
            spec.clone_from(found);
        }
        RunFolder::resume(path, &self)
    }
}

impl ProbeArgs {
    fn config(&self, pairs: usize) -> ProbeConfig {
        let holdout = self.holdout.unwrap_or((pairs / 5).clamp(2, 1000));
        let config = ProbeConfig::default();
        ProbeConfig {
            holdout,
            seed: self.seed,
            dim: self.dim,
            train: config
                .train
                .with_epochs(self.epochs)
                .with_batch_size(self.batch)
                .with_learning_rate(self.lr)
                .with_seed(self.seed),
            mutual_k: self.mutual_k,
            knn_k: self.knn_k,
            regularization: self.regularization,
            permutations: self.permutations,
            alpha: self.alpha,
            resamples: self.resamples,
            rows: self.rows,
            ..config
        }
    }
}

pub(crate) fn run(args: &ProbeArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    // The settings are checked before a file is read, with a number of pairs that is large enough.
    args.config(args.holdout.unwrap_or(0).saturating_add(1 << 20)).check()?;
    let out = args.out.as_deref().map(Path::new);
    let continued = match out {
        Some(out) => continues(out, args.resume)?,
        None => false,
    };
    let Opened { encoders: images, specs: image_specs } = open(&args.images, Modality::Image, &args.verify)?;
    let Opened { encoders: texts, specs: text_specs } = open(&args.texts, Modality::Text, &args.verify)?;
    let first = &images[0].candidates[0].source;
    let classes = args.labels.as_ref().map(|spec| labels::read(spec, &args.images[0], &**first));
    let unmatched = args.unmatched.unmatched.unwrap_or_default();
    let several = images.iter().chain(&texts).any(|encoder| encoder.candidates.len() > 1);
    let grid = Grid::search(images, texts, classes.transpose()?, unmatched)?;
    warn_of_dropped_rows(&grid);
    let config = args.config(grid.len());
    config.check()?;
    let recorded = Recorded {
        images: args.images.clone(),
        texts: args.texts.clone(),
        labels: args.labels.clone(),
        unmatched,
        rows: grid.len(),
        sets: several.then(|| grid.names().map(str::to_owned).collect()),
        matched: Some(grid.matched()).filter(|sets| !sets.iter().all(|set| set.is_complete())),
        probe: config.clone(),
    };
    let folder = match out {
        Some(out) if continued => Some(recorded.resume(out)?),
        Some(out) => {
            if args.resume {
                make_room(out);
            }
            Some(RunFolder::create(out, &recorded)?)
        }
        None => None,
    };
    let bar = bar(0, "probe", "{pos}/{len}  {msg}");
    let observe = |at: Progress<'_>| {
        bar.set_length(at.parts as u64);
        bar.set_position(at.done as u64);
        bar.set_message(at.part.to_owned());
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        // An interrupt ends the process at once: finished parts are saved, and the others would be lost anyway.
        if out.is_some() {
            interrupt::set_message(format!(
                "interrupted after {} of {} parts: run the same command with `--resume` to continue",
                at.done, at.parts
            ));
        }
    };
    let found = probe(&grid, &config, &device, folder.as_ref(), &Interrupter::new(), observe)?;
    bar.finish_and_clear();
    let best = match (out, found.best()) {
        (Some(out), Some(best)) => {
            let (images, texts) = match &best.search {
                Some(search) => (&search.images, &search.texts),
                None => (&best.images, &best.texts),
            };
            let recipe = Recipe::probing(&image_specs[images], &text_specs[texts], &config);
            let recipe = recipe.with_unmatched(unmatched).to_toml()?;
            let path = out.join("best.toml");
            write_atomic(&path, |out| out.write_all(recipe.as_bytes()))?;
            Some(path)
        }
        _ => None,
    };
    if let Some(path) = &args.report {
        probe_report::report(&found, &config, args.labels.is_some()).save(path)?;
    }
    print(args.json, &found, |out| {
        write_tables(out, &found)?;
        if let Some(path) = &best {
            writeln!(out, "to train on the best pair: sail train --config {} --out RUN", path.display())?;
        }
        match &args.report {
            Some(path) => writeln!(out, "report: {}", path.display()),
            None => Ok(()),
        }
    })
}

/// Warns about rows that another set lacks, which are dropped.
fn warn_of_dropped_rows(grid: &Grid) {
    for (name, matched) in grid.names().zip(grid.matched()) {
        if !matched.is_complete() {
            tracing::warn!("{matched} rows of {name} have a key that every set has; the others are left out");
        }
    }
}

fn write_tables(out: &mut impl Write, found: &Probe) -> io::Result<()> {
    let width = |names: &mut dyn Iterator<Item = &String>| {
        names.map(|name| name.chars().count()).max().unwrap_or(0).max(6) + 2
    };
    let images = width(&mut found.pairs.iter().map(|pair| &pair.images));
    let texts = width(&mut found.pairs.iter().map(|pair| &pair.texts));
    writeln!(
        out,
        "{} training pairs, {} held out; score: mean R@10 of trained linear layers",
        found.train_pairs, found.holdout
    )?;
    writeln!(
        out,
        "{:<images$}{:<texts$}{:>6}  {:<14}{:>13}{:>12}{:>8}{:>6}{:>7}{:>6}{:>6}",
        "images",
        "texts",
        "score",
        "95% interval",
        "mutual k-NN",
        "calibrated",
        "p",
        "CKA",
        "ridge",
        "CCA",
        "ASIF"
    )?;
    for pair in probe_report::ranked(found) {
        let interval = format!("{:5.1} to {:5.1}", pair.interval.low, pair.interval.high);
        let [ridge, cca, asif] = probe_report::closed_form(pair);
        let [_, score, p] = probe_report::calibrated(&pair.measures.mutual_knn);
        writeln!(
            out,
            "{:<images$}{:<texts$}{:>6.1}  {interval:<14}{:>13.3}{score:>12}{p:>8}{:>6.3}{ridge:>7.1}{cca:>6.1}{asif:>6.1}",
            pair.images,
            pair.texts,
            pair.score,
            pair.measures.mutual_knn.value,
            pair.measures.cka.debiased.value,
        )?;
    }
    for pair in &found.pairs {
        if let Some(search) = &pair.search {
            writeln!(
                out,
                "{} with {}: {} with {}, the highest mutual k-NN of {}",
                pair.images,
                pair.texts,
                search.images,
                search.texts,
                search.mutual_knn.len()
            )?;
        }
    }
    for [measure, above, highest, p, differences] in probe_report::significance(found) {
        writeln!(
            out,
            "{measure}: {above} pairs above chance, highest {highest} (p = {p} as the highest of all), {differences} \
             differences more than chance"
        )?;
    }
    for set in found.images.iter().chain(&found.texts) {
        if let Some(labelled) = &set.labelled {
            writeln!(
                out,
                "{}: k-NN {:.1}, linear probing {:.1}, most frequent class {:.1}, silhouette {:.3}, NMI {:.3}",
                set.name,
                labelled.knn,
                labelled.linear,
                labelled.majority,
                labelled.silhouette,
                labelled.nmi.value
            )?;
        }
    }
    // Two points are always on a line.
    if found.pairs.len() > 2 {
        writeln!(out, "correlation with the score over {} pairs:", found.pairs.len())?;
        for predictor in &found.predictors {
            let name = probe_report::name_of(predictor);
            let pearson = probe_report::correlation(predictor.pearson, predictor.pearson_interval);
            let spearman = probe_report::correlation(predictor.spearman, predictor.spearman_interval);
            writeln!(out, "  {name:<36}Pearson {pearson:<26}Spearman {spearman}")?;
        }
    }
    Ok(())
}
