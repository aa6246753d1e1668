//! `sail score`.

use std::io::Write;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use sail_vl::burn::tensor::Device;
use sail_vl::core::Check;
use sail_vl::data::{Pairing, Pairs};
use sail_vl::layers::Head;
use sail_vl::report::{Facts, Gallery, GalleryItem, Report, Section};
use sail_vl::search::Index;
use sail_vl::search::curation::{PairScores, Selection, pair_scores};
use serde::Serialize;
use serde_json::json;

use crate::curated;
use crate::device_args::DeviceArgs;
use crate::distribution::{self, Distribution};
use crate::error::CliError;
use crate::inputs::{self, PairArgs, UnmatchedArgs, VerifyArgs};
use crate::key_list;
use crate::output::print;
use crate::progress::bar;
use crate::shown_images::ShownImages;

/// Pairs in each gallery of a report.
const SHOWN: usize = 24;

#[derive(Args)]
#[command(group(ArgGroup::new("selection").args(["threshold", "quantile", "count"])))]
pub(crate) struct ScoreArgs {
    /// An index, whose images are compared with their captions, in the place of head and features.
    #[arg(value_name = "INDEX", conflicts_with_all = ["head", "images", "texts", "unmatched"])]
    index: Option<String>,
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(long, value_name = "FILE_OR_PAIR", required_unless_present = "index")]
    head: Option<String>,
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as one.
    #[arg(long, value_name = "FEATURES", required_unless_present = "index")]
    images: Option<String>,
    /// Text features, paired with the images by key; several as above.
    #[arg(long, value_name = "FEATURES", required_unless_present = "index")]
    texts: Option<String>,
    #[command(flatten)]
    unmatched: UnmatchedArgs,
    #[command(flatten)]
    verify: VerifyArgs,
    /// The text model of the index, if it is not where the index says.
    #[arg(long, value_name = "FOLDER_OR_ID", requires = "index")]
    text_model: Option<String>,
    /// Keep the pairs with at least this cosine.
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Keep the pairs whose cosine is at least this quantile of all, 0 to 1: 0.7 keeps the best 30 %.
    #[arg(long, value_name = "SHARE")]
    quantile: Option<f64>,
    /// Keep this number of pairs, the best.
    #[arg(long, value_name = "PAIRS")]
    count: Option<usize>,
    /// Write the keys of the pairs to keep: a text file with a key in each line, or JSON lines if its name ends in `.jsonl`.
    #[arg(long, value_name = "FILE", requires = "selection")]
    out: Option<PathBuf>,
    /// Write the score of every pair, as JSON lines with `key` and `score`.
    #[arg(long, value_name = "FILE.jsonl")]
    scores: Option<PathBuf>,
    /// Write an HTML report with the distribution, and the worst and the best pairs.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Folder of the image files, named by the keys of the images, to show them in the report.
    #[arg(long, value_name = "FOLDER", requires = "report")]
    image_dir: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl ScoreArgs {
    /// What has the images, for errors.
    fn spec(&self) -> &str {
        self.index.as_deref().or(self.images.as_deref()).unwrap_or_default()
    }

    fn open(&self, index: Option<&Index>, device: &Device) -> Result<(Head, Pairs), CliError> {
        if let Some(index) = index {
            return Ok((curated::head(index, device)?, curated::pairs(index, &self.text_model, device)?));
        }
        let (Some(head), Some(images), Some(texts)) = (&self.head, self.images.clone(), self.texts.clone())
        else {
            // The parser requires them.
            return Err(CliError::Usage("`--head`, `--images` and `--texts` are missing".to_owned()));
        };
        let (unmatched, verify) = (self.unmatched.clone(), self.verify.clone());
        let pairs = PairArgs { images, texts, unmatched, verify }.open()?;
        let head = inputs::head(head, device, &**pairs.images(), &**pairs.captions(0))?;
        Ok((head, pairs))
    }

    fn selection(&self) -> Option<Selection> {
        let threshold = self.threshold.map(Selection::Threshold);
        threshold.or(self.quantile.map(Selection::Quantile)).or(self.count.map(Selection::Count))
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    pairs: usize,
    pairing: &'a Pairing,
    matched: Distribution,
    /// Of images with the caption of another.
    mismatched: Option<Distribution>,
    kept: Option<Kept>,
}

/// The pairs that are kept.
#[derive(Serialize)]
struct Kept {
    pairs: usize,
    /// The lowest score among them, if there are any.
    lowest: Option<f32>,
}

pub(crate) fn run(args: &ScoreArgs) -> Result<(), CliError> {
    let selection = args.selection();
    selection.map_or(Ok(()), |selection| selection.check())?;
    let device = args.device.open()?;
    let index = args.index.as_deref().map(curated::open).transpose()?;
    let (head, pairs) = args.open(index.as_ref(), &device)?;
    let progress = bar(pairs.len() as u64, "score", "{pos}/{len} pairs");
    let failed = |source| CliError::Curation { spec: args.spec().to_owned(), source };
    let scores = pair_scores(&head, &pairs, |now| progress.set_position(now.done)).map_err(failed)?;
    progress.finish_and_clear();
    let selected = selection.map(|selection| selection.select(&scores.matched)).transpose()?;
    if let (Some(path), Some(selected)) = (&args.out, &selected) {
        if selected.is_empty() {
            let message = format!("none of the {} pairs is selected: lower the threshold", pairs.len());
            return Err(CliError::Usage(message));
        }
        key_list::write(path, &keys(args, &pairs, selected)?)?;
    }
    if let Some(path) = &args.scores {
        let keys = keys(args, &pairs, &(0..pairs.len()).collect::<Vec<_>>())?;
        let lines = keys.iter().zip(&scores.matched);
        key_list::write_lines(path, lines.map(|(key, score)| json!({"key": key, "score": score})))?;
    }
    let Some(matched) = Distribution::new(&scores.matched) else {
        return Err(CliError::Usage("there are no pairs to score".to_owned()));
    };
    let kept = selected.as_ref().map(|selected| Kept {
        pairs: selected.len(),
        lowest: selected.iter().map(|&pair| scores.matched[pair]).min_by(f32::total_cmp),
    });
    let mismatched = Distribution::new(&scores.mismatched);
    let summary = Summary { pairs: pairs.len(), pairing: pairs.pairing(), matched, mismatched, kept };
    if let Some(path) = &args.report {
        report(args, index.as_ref(), &pairs, &scores, &summary)?.save(path)?;
    }
    print(args.json, &summary, |out| {
        writeln!(out, "{} pairs, mean cosine {:.4}", summary.pairs, summary.matched.mean)?;
        if let Some(mismatched) = &summary.mismatched {
            writeln!(out, "with the captions of others, mean cosine {:.4}", mismatched.mean)?;
        }
        for (share, value) in &summary.matched.quantiles {
            writeln!(out, "{:>5.0} %  {value:>7.4}", 100.0 * share)?;
        }
        match &summary.kept {
            Some(Kept { pairs, lowest: Some(lowest) }) => {
                writeln!(out, "{pairs} pairs to keep, with a cosine of at least {lowest:.4}")
            }
            Some(_) => writeln!(out, "no pairs to keep"),
            None => Ok(()),
        }
    })
}

fn keys(args: &ScoreArgs, pairs: &Pairs, selected: &[usize]) -> Result<Vec<String>, CliError> {
    let rows: Vec<usize> = selected.iter().map(|&pair| pairs.image_row(pair)).collect();
    let keys = pairs.images().keys(&rows);
    keys.map_err(|source| CliError::Features { spec: args.spec().to_owned(), source })
}

fn report(
    args: &ScoreArgs,
    index: Option<&Index>,
    pairs: &Pairs,
    scores: &PairScores,
    summary: &Summary<'_>,
) -> Result<Report, CliError> {
    let mut distributions = vec![("pairs", &summary.matched)];
    distributions.extend(summary.mismatched.as_ref().map(|of| ("captions of others", of)));
    let sets = [("pairs", &*scores.matched), ("captions of others", &*scores.mismatched)];
    let mut report = Report::new("Similarity of images and captions")
        .subtitle(format!("{} pairs.", summary.pairs))
        .key_figure(format!("{:.3}", summary.matched.mean), "mean cosine of the pairs");
    if let Some(mismatched) = &summary.mismatched {
        report = report.key_figure(format!("{:.3}", mismatched.mean), "with the captions of others");
    }
    if let Some(kept) = &summary.kept {
        report = report.key_figure(kept.pairs.to_string(), "pairs to keep");
    }
    report = report.section(
        Section::new("Distribution")
            .chart(distribution::chart("Cosines of images and captions", &sets))
            .table(distribution::table(&distributions)),
    );
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|&a, &b| scores.matched[a].total_cmp(&scores.matched[b]));
    let worst: Vec<usize> = order.iter().copied().take(SHOWN).collect();
    let best: Vec<usize> = order.iter().rev().copied().take(SHOWN).collect();
    let images = ShownImages::open(index, args.image_dir.as_deref())?;
    for (heading, chosen) in [("Worst pairs", worst), ("Best pairs", best)] {
        let keys = keys(args, pairs, &chosen)?;
        let items = keys.iter().zip(&chosen).map(|(key, &pair)| {
            let (image, problem) = images.show(key);
            let problem = problem.map(|problem| format!(", {problem}")).unwrap_or_default();
            GalleryItem::new(image).title(key).note(format!("{:.4}{problem}", scores.matched[pair]))
        });
        report = report.section(Section::new(heading).gallery(items.collect::<Gallery>()));
    }
    images.check()?;
    let facts = match (&args.head, &args.images, &args.texts) {
        (Some(head), Some(images), Some(texts)) => {
            Facts::new().fact("images", images).fact("texts", texts).fact("head", head)
        }
        _ => Facts::new().fact("index", args.spec()),
    };
    let facts = facts.fact("pairs", pairs.pairing().to_string());
    Ok(report.section(Section::new("Settings").facts(facts)))
}
