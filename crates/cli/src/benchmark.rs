//! `sail eval winoground`, `mmvp`, `sugarcrepe`, `captions` and `classify`: published tasks from their files.

use std::io::{StdoutLock, Write, stdout};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sail_vl::layers::Head;
use sail_vl::report::Facts;
use sail_vl::tasks::{
    Answer, CaptionData, ClassificationResult, FeatureCache, LabelledImages, MmvpData, NamedAccuracy, Skips,
    SugarCrepeData, TaskError, TaskFiles, TaskModel, Templates, WinogroundData, caption_answers,
    caption_retrieval, classify, classify_answers, mmvp, sugar_crepe, winoground,
};
use sail_vl::{SailModel, device};
use serde::Serialize;

use crate::benchmark_report as report;
use crate::encode::interrupt;
use crate::encode_progress::EncodeProgress;
use crate::error::CliError;
use crate::eval::{write_retrieval, write_zero_shot};
use crate::galleries::{CANDIDATES, Galleries};
use crate::towers;

#[derive(Subcommand)]
pub(crate) enum BenchmarkCommand {
    /// Winoground: two images and two captions of the same words.
    Winoground(TaskArgs),
    /// MMVP-VLM: two images that CLIP takes for alike, and a statement of each.
    Mmvp(TaskArgs),
    /// SugarCrepe: a true caption and a false one.
    Sugarcrepe(SugarCrepeArgs),
    /// Retrieval on COCO captions or Flickr30k, in Karpathy's splits.
    Captions(CaptionArgs),
    /// Zero-shot classification of a folder of class folders, or of one of CLIP-benchmark's data sets.
    Classify(ClassifyArgs),
}

/// What every task takes.
#[derive(Args)]
pub(crate) struct TaskArgs {
    /// The task's folder, laid out as it is published; for `captions` its JSON file; or an id on the hub, with a revision
    /// behind an `@`, of which the files that the task reads are fetched.
    #[arg(long, value_name = "PATH_OR_ID")]
    data: String,
    /// The head file. The models are used as the head was trained with them.
    #[arg(long)]
    head: PathBuf,
    /// The vision model that the head was trained on: a folder, or its id on the hub, with a revision behind an `@`.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    vision: String,
    /// The text model that the head was trained on.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    text: String,
    /// Folder in which the models' features are kept, so that the next head costs seconds.
    #[arg(long, value_name = "FOLDER")]
    cache: PathBuf,
    /// Images embedded at a time.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Number type of the features that are kept: f16, bf16 or f32.
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Device to compute on.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct SugarCrepeArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// The folder of COCO's images, `val2017`, or an id on the hub.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    images: String,
}

#[derive(Args)]
pub(crate) struct CaptionArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// The folder of the images, for COCO the one that holds `val2014`, or an id on the hub.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    images: String,
    /// Which split to score.
    #[arg(long, default_value = "test")]
    split: String,
    /// Write a report with images to this HTML file; `--json` then has the images' answers too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many captions of an image count, the first ones.
    #[arg(long, value_name = "CAPTIONS", default_value = "5")]
    captions: NonZeroUsize,
}

#[derive(Args)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Write a report with images to this HTML file; `--json` then has the images' answers too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Which split of a CLIP-benchmark data set to score.
    #[arg(long, default_value = "test")]
    split: String,
    /// A prompt with `{}` or `{c}` for the name of a class; give it several times for an ensemble [default: the
    /// data's own, else "a photo of a {c}."].
    #[arg(long = "template", value_name = "TEXT")]
    templates: Vec<String>,
}

pub(crate) fn run(command: &BenchmarkCommand) -> Result<(), CliError> {
    match command {
        BenchmarkCommand::Winoground(args) => {
            let data = WinogroundData::open(&args.data(TaskFiles::Winoground)?)?;
            let result = args.score(|model, cache| winoground(model, &data, cache))?;
            let scores = &result.scores;
            args.print(&result, &result.skipped, |out| {
                writeln!(out, "{} examples", scores.n_examples)?;
                for (name, score) in [("text", scores.text), ("image", scores.image), ("group", scores.group)]
                {
                    writeln!(out, "{name:<7}{score:>7.2}")?;
                }
                Ok(())
            })
        }
        BenchmarkCommand::Mmvp(args) => {
            let data = MmvpData::open(&args.data(TaskFiles::Mmvp)?)?;
            let result = args.score(|model, cache| mmvp(model, &data, cache))?;
            args.print(&result, &result.skipped, |out| {
                writeln!(out, "{} pairs", result.n_pairs)?;
                write_named(out, &result.categories, ("mean over the categories", result.score))
            })
        }
        BenchmarkCommand::Sugarcrepe(SugarCrepeArgs { task, images }) => {
            let data = SugarCrepeData::open(
                &task.data(TaskFiles::SugarCrepe)?,
                &towers::dataset(images, TaskFiles::Images)?,
            )?;
            let result = task.score(|model, cache| sugar_crepe(model, &data, cache))?;
            task.print(&result, &result.skipped, |out| {
                writeln!(out, "{} items", result.n_items)?;
                write_named(out, &result.subsets, ("mean over the subsets", result.mean))
            })
        }
        BenchmarkCommand::Captions(args) => run_captions(args),
        BenchmarkCommand::Classify(args) => run_classify(args),
    }
}

fn run_captions(args: &CaptionArgs) -> Result<(), CliError> {
    let task = &args.task;
    let (path, images) = (task.data(TaskFiles::Captions)?, towers::dataset(&args.images, TaskFiles::Images)?);
    let data = CaptionData::open(&path, &images, &args.split, args.captions.get())?;
    let Some(path) = &args.report else {
        let result = task.score(|model, cache| caption_retrieval(model, &data, cache))?;
        return task.print(&result, &result.skipped, |out| write_retrieval(out, &result.retrieval));
    };
    let (result, answers) = task.score(|model, cache| caption_answers(model, &data, cache, CANDIDATES))?;
    let galleries = galleries(&answers);
    let facts = task.facts().fact("split", &args.split);
    report::captions(facts, &result, &galleries, |answer| data.image(answer))?.save(path)?;
    let reported = Reported { result: &result, galleries };
    task.print(&reported, &result.skipped, |out| write_retrieval(out, &result.retrieval))
}

fn run_classify(args: &ClassifyArgs) -> Result<(), CliError> {
    let task = &args.task;
    let templates = (!args.templates.is_empty()).then(|| Templates::new(&args.templates)).transpose()?;
    let data = LabelledImages::open(
        &task.data(TaskFiles::Classification { split: &args.split })?,
        &args.split,
        templates,
    )?;
    let Some(path) = &args.report else {
        let result = task.score(|model, cache| classify(model, &data, cache))?;
        return task.print(&result, &result.skipped, |out| write_classes(out, &result));
    };
    let (result, answers) = task.score(|model, cache| classify_answers(model, &data, cache, CANDIDATES))?;
    let galleries = galleries(&answers);
    report::classification(task.facts(), &result, &galleries, |answer| data.image(answer))?.save(path)?;
    let reported = Reported { result: &result, galleries };
    task.print(&reported, &result.skipped, |out| write_classes(out, &result))
}

/// A result, and the single images that its report shows.
#[derive(Serialize)]
struct Reported<'a, R> {
    #[serde(flatten)]
    result: &'a R,
    galleries: Galleries<&'a Answer>,
}

fn galleries(answers: &[Answer]) -> Galleries<&Answer> {
    Galleries::new(answers.len(), |image| answers[image].is_correct(), |image| &answers[image])
}

fn write_classes(out: &mut impl Write, result: &ClassificationResult) -> Result<(), CliError> {
    write_zero_shot(out, &result.scores)?;
    if result.absent_classes > 0 {
        writeln!(out, "{} classes without an image", result.absent_classes)?;
    }
    Ok(())
}

impl TaskArgs {
    /// Where the data are.
    fn data(&self, files: TaskFiles<'_>) -> Result<PathBuf, CliError> {
        towers::dataset(&self.data, files)
    }

    /// Opens the model and scores it on data that has been read.
    fn score<R>(
        &self,
        score: impl FnOnce(&TaskModel<'_, Head>, &mut FeatureCache<'_>) -> Result<R, TaskError>,
    ) -> Result<R, CliError> {
        let device = device::parse(&self.device)?;
        let dtype = self.dtype.parse()?;
        let model = SailModel::open(&self.vision, &self.text, &self.head, &device).map_err(CliError::Open)?;
        let mut progress = EncodeProgress::new();
        let mut cache = FeatureCache::new(&self.cache, &mut progress);
        let stop = interrupt();
        for options in [&mut cache.images, &mut cache.texts] {
            options.dtype = dtype;
            options.stop = stop.clone();
        }
        cache.images.block = self.batch;
        let model = TaskModel { vision: model.vision(), text: model.text(), head: model.head() };
        Ok(score(&model, &mut cache)?)
    }

    /// What a report says of the command.
    fn facts(&self) -> Facts {
        let path = |path: &Path| path.display().to_string();
        Facts::new()
            .fact("data", &self.data)
            .fact("head", path(&self.head))
            .fact("vision model", &self.vision)
            .fact("text model", &self.text)
            .fact("features kept as", &self.dtype)
    }

    /// One JSON object, or a table and what was left out.
    fn print(
        &self,
        result: &impl Serialize,
        skipped: &Skips,
        table: impl FnOnce(&mut StdoutLock<'static>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(result)?)?;
            return Ok(());
        }
        table(&mut out)?;
        if skipped.count > 0 {
            writeln!(out, "{} left out, among them", skipped.count)?;
        }
        for skip in &skipped.first {
            writeln!(out, "  {}: {}", skip.item, skip.reason)?;
        }
        Ok(())
    }
}

/// Accuracies with their names, and their mean below.
fn write_named(
    out: &mut impl Write,
    groups: &[NamedAccuracy],
    (name, mean): (&str, f64),
) -> Result<(), CliError> {
    let width = groups.iter().map(|group| group.name.chars().count()).max().unwrap_or(0).max(name.len());
    for group in groups {
        let accuracy = group.accuracy.map_or("-".to_owned(), |accuracy| format!("{accuracy:.2}"));
        writeln!(out, "{:<width$}  {accuracy:>7}  of {}", group.name, group.n)?;
    }
    writeln!(out, "{name:<width$}  {mean:>7.2}")?;
    Ok(())
}
