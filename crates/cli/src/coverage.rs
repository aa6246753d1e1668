//! `sail coverage`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality};
use sail_vl::data::MatrixFeatures;
use sail_vl::data::source::{Record, SourceOptions};
use sail_vl::layers::Head;
use sail_vl::report::{Facts, Panel, Panels, Report, Section, Table};
use sail_vl::search::Index;
use sail_vl::search::curation::{Concept, nearest_concepts};
use serde::Serialize;
use serde_json::json;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::index_model::IndexTowers;
use crate::inputs::{self, VerifyArgs};
use crate::key_list;
use crate::output::print;
use crate::progress::bar;
use crate::shown_images::ShownImages;
use crate::{curated, sources};

/// Concepts that are printed.
const PRINTED: usize = 10;
/// Images of a concept in a report.
const SHOWN: usize = 6;

#[derive(Args)]
pub(crate) struct CoverageArgs {
    /// An index, which has images, head and text model, in the place of `--head` and `--images`.
    #[arg(value_name = "INDEX", conflicts_with_all = ["head", "images"])]
    index: Option<String>,
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(long, value_name = "FILE_OR_PAIR", required_unless_present = "index")]
    head: Option<String>,
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as one.
    #[arg(long, value_name = "FEATURES", required_unless_present = "index")]
    images: Option<String>,
    /// Text features of the concepts; their keys are the names. Texts with the same key, such as prompts, are one concept. For
    /// an index, a text file with a concept in each line, or a table of keys and captions.
    #[arg(long, value_name = "FEATURES_OR_FILE")]
    concepts: String,
    /// The text model of the index, if it is not where the index says.
    #[arg(long, value_name = "FOLDER_OR_ID", requires = "index")]
    text_model: Option<String>,
    /// Least cosine of an image with its concept; other images fall to none.
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Write the concept of every image, as JSON lines with `key`, `concept` and `score`, the concepts in order.
    #[arg(long, value_name = "FILE.jsonl")]
    out: Option<PathBuf>,
    /// Write an HTML report with the images of each concept.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Folder of the image files, named by the keys of the images, to show them in the report.
    #[arg(long, value_name = "FOLDER", requires = "report")]
    image_dir: Option<PathBuf>,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Summary<'a> {
    images: usize,
    /// Images of no concept.
    unassigned: usize,
    concepts: Vec<Count<'a>>,
    /// The concepts without images.
    missing: Vec<&'a str>,
}

/// The number of images of a concept.
#[derive(Serialize)]
struct Count<'a> {
    name: &'a str,
    images: usize,
}

pub(crate) fn run(args: &CoverageArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let index = args.index.as_deref().map(curated::open).transpose()?;
    let Compared { head, images, texts, names } = args.open(index.as_ref(), &device)?;
    let progress = bar(images.rows() as u64, "assign", "{pos}/{len} images");
    let failed = |source| CliError::Curation { spec: args.spec().to_owned(), source };
    let mut concepts = nearest_concepts(&head, &*images, &*texts, &names, args.threshold, |now| {
        progress.set_position(now.done);
    })
    .map_err(failed)?;
    progress.finish_and_clear();
    // Stable, so that equally frequent concepts stay in their order.
    concepts.sort_by_key(|concept| std::cmp::Reverse(concept.images.len()));
    if let Some(path) = &args.out {
        let mut lines = Vec::new();
        for concept in &concepts {
            let keys = keys(args, &*images, concept, usize::MAX)?;
            let line =
                |(key, score): &(String, f32)| json!({"key": key, "concept": concept.name, "score": score});
            lines.extend(keys.iter().map(line));
        }
        key_list::write_lines(path, lines.iter())?;
    }
    let count = |concept: &Concept| concept.images.len();
    let assigned: usize = concepts.iter().map(count).sum();
    let summary = Summary {
        images: images.rows(),
        unassigned: images.rows() - assigned,
        concepts: concepts.iter().map(|of| Count { name: &of.name, images: count(of) }).collect(),
        missing: concepts.iter().filter(|of| count(of) == 0).map(|of| &*of.name).collect(),
    };
    if let Some(path) = &args.report {
        report(args, index.as_ref(), &*images, &concepts, &summary)?.save(path)?;
    }
    print(args.json, &summary, |out| {
        writeln!(out, "{} images, {} concepts", summary.images, summary.concepts.len())?;
        if summary.unassigned > 0 {
            writeln!(out, "{} images of no concept", summary.unassigned)?;
        }
        for Count { name, images } in summary.concepts.iter().take(PRINTED).filter(|of| of.images > 0) {
            writeln!(out, "{images:>8}  {name}")?;
        }
        match summary.missing.as_slice() {
            [] => writeln!(out, "every concept has an image"),
            missing => {
                let first = missing[..missing.len().min(PRINTED)].join(", ");
                let more = if missing.len() > PRINTED { ", ..." } else { "" };
                writeln!(out, "{} concepts without an image: {first}{more}", missing.len())
            }
        }
    })
}

/// The images and the concepts that they are compared with.
struct Compared {
    head: Head,
    images: Arc<dyn FeatureSource>,
    texts: Arc<dyn FeatureSource>,
    /// The concept of each text.
    names: Vec<String>,
}

impl CoverageArgs {
    /// What has the images, for errors.
    fn spec(&self) -> &str {
        self.index.as_deref().or(self.images.as_deref()).unwrap_or_default()
    }

    fn open(&self, index: Option<&Index>, device: &Device) -> Result<Compared, CliError> {
        if let Some(index) = index {
            let (names, texts) = concept_list(&self.concepts)?;
            let towers = IndexTowers::new(index, [None, self.text_model.clone()], device)?;
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let rows = towers.embed_texts(&texts)?.concat();
            let texts = Arc::new(MatrixFeatures::new(index.manifest().dim, rows)?);
            return Ok(Compared {
                head: curated::head(index, device)?,
                images: curated::images(index)?,
                texts,
                names,
            });
        }
        let (Some(head), Some(images)) = (&self.head, &self.images) else {
            // The parser requires both.
            return Err(CliError::Usage("`--head` and `--images` are missing".to_owned()));
        };
        let images = self.verify.open(images, Modality::Image)?;
        let texts = self.verify.open(&self.concepts, Modality::Text)?;
        let head = inputs::head(head, device, &*images, &*texts)?;
        let rows: Vec<usize> = (0..texts.rows()).collect();
        let names = texts.keys(&rows);
        let names = names.map_err(|source| CliError::Features { spec: self.concepts.clone(), source })?;
        Ok(Compared { head, images, texts, names })
    }
}

/// The names and the texts of concepts: the lines of a text file, which are both, or the keys and the captions of a table.
fn concept_list(spec: &str) -> Result<(Vec<String>, Vec<String>), CliError> {
    let are_lines = Path::new(spec).extension().is_some_and(|extension| extension == "txt");
    let source = sources::captions(spec, &SourceOptions::default())?;
    let failed = |source| CliError::Input { spec: spec.to_owned(), source };
    let (mut names, mut texts) = (Vec::new(), Vec::new());
    for record in source.records(0..source.count().map_err(failed)?).map_err(failed)? {
        let Record { key, value, .. } = record.map_err(failed)?;
        let text = value.map_err(|reason| {
            CliError::Usage(format!("cannot use the concept `{key}` in {spec}: {reason}"))
        })?;
        names.push(if are_lines { text.clone() } else { key });
        texts.push(text);
    }
    if texts.is_empty() {
        return Err(CliError::Usage(format!("{spec} has no concepts, expected at least 1")));
    }
    Ok((names, texts))
}

/// Reads the keys of the first images of a concept, with their scores.
fn keys(
    args: &CoverageArgs,
    images: &dyn FeatureSource,
    concept: &Concept,
    most: usize,
) -> Result<Vec<(String, f32)>, CliError> {
    let chosen = &concept.images[..concept.images.len().min(most)];
    let rows: Vec<usize> = chosen.iter().map(|image| image.index).collect();
    let keys =
        images.keys(&rows).map_err(|source| CliError::Features { spec: args.spec().to_owned(), source })?;
    Ok(keys.into_iter().zip(chosen.iter().map(|image| image.score)).collect())
}

fn report(
    args: &CoverageArgs,
    index: Option<&Index>,
    images: &dyn FeatureSource,
    concepts: &[Concept],
    summary: &Summary<'_>,
) -> Result<Report, CliError> {
    let mut table = Table::new(["concept", "images", "share"]);
    let (mut panels, shown) = (Panels::new(), ShownImages::open(index, args.image_dir.as_deref())?);
    for concept in concepts {
        let count = concept.images.len();
        let share = 100.0 * count as f64 / summary.images.max(1) as f64;
        table = table.row([concept.name.clone(), count.to_string(), format!("{share:.2} %")]);
        if count == 0 {
            continue;
        }
        let mut panel = Panel::new(&concept.name).note(format!("{count} images"));
        for (key, score) in keys(args, images, concept, SHOWN)? {
            panel = panel.image(format!("{score:.3} {key}"), shown.show(&key).0);
        }
        panels = panels.panel(panel);
    }
    shown.check()?;
    let covered = concepts.len() - summary.missing.len();
    let facts = Facts::new()
        .fact("images", args.spec())
        .fact("concepts", &args.concepts)
        .fact("head", args.head.as_deref().unwrap_or("that of the index"))
        .fact("threshold", args.threshold.map_or("none".to_owned(), |threshold| threshold.to_string()));
    Ok(Report::new("Coverage of concepts")
        .subtitle(format!("{} images, {} concepts.", summary.images, concepts.len()))
        .key_figure(format!("{covered} of {}", concepts.len()), "concepts have an image")
        .key_figure(summary.unassigned.to_string(), "images of no concept")
        .section(Section::new("Images by concept").table(table))
        .section(Section::new("The most similar images of each concept").panels(panels))
        .section(Section::new("Settings").facts(facts)))
}
