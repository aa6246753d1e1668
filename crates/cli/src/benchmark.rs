//! `sail eval winoground`, `mmvp`, `sugarcrepe`, `captions` and `classify`: published benchmarks.

use std::io::{self, StdoutLock, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sail_vl::SailModel;
use sail_vl::core::StoreDtype;
use sail_vl::data::source::SourceOptions;
use sail_vl::layers::Head;
use sail_vl::report::Facts;
use sail_vl::tasks::{
    Answer, CaptionData, ClassificationResult, FeatureCache, LabelledImages, MmvpData, NamedAccuracy, Skips,
    SugarCrepeData, TaskError, TaskFiles, TaskModel, Templates, WinogroundData, caption_answers,
    caption_retrieval, classify, classify_answers, mmvp, sugar_crepe, winoground,
};
use serde::Serialize;

use crate::benchmark_report as report;
use crate::encode_progress::EncodeProgress;
use crate::error::CliError;
use crate::galleries::{CANDIDATES, Galleries};
use crate::interrupt::stop_flag;
use crate::links::LinkArgs;
use crate::models::HeadArgs;
use crate::named::named;
use crate::score_tables::{write_retrieval, write_zero_shot};
use crate::{examples, output};

#[derive(Subcommand)]
pub(crate) enum BenchmarkCommand {
    /// Winoground: two images and two captions of the same words.
    #[command(after_long_help = examples::WINOGROUND)]
    Winoground(TaskArgs),
    /// MMVP-VLM: two images that CLIP confuses, with a statement about each.
    #[command(after_long_help = examples::MMVP)]
    Mmvp(TaskArgs),
    /// SugarCrepe: a true and a false caption for each image.
    #[command(after_long_help = examples::SUGARCREPE)]
    Sugarcrepe(SugarCrepeArgs),
    /// Retrieval on COCO Captions or Flickr30k, with Karpathy's splits.
    #[command(after_long_help = examples::CAPTIONS)]
    Captions(CaptionArgs),
    /// Zero-shot classification of a folder of class folders, or of a CLIP-benchmark data set.
    #[command(after_long_help = examples::CLASSIFY)]
    Classify(ClassifyArgs),
}

// The options of every benchmark.
#[derive(Args)]
pub(crate) struct TaskArgs {
    /// The folder of the task's data in its published layout, for `captions` the JSON file; or the id of a data set on
    /// the hub (`id@revision`), of which the files that the task reads are downloaded.
    #[arg(long, value_name = "PATH_OR_ID")]
    data: String,
    #[command(flatten)]
    links: LinkArgs,
    #[command(flatten)]
    head: HeadArgs,
    /// Folder in which the features of the models are kept for the next head [default: `sail/features` in the user's
    /// cache folder].
    #[arg(long, value_name = "FOLDER", env = "SAIL_CACHE", hide_env_values = true)]
    cache: Option<PathBuf>,
    /// Batch size of the vision model.
    #[arg(long, value_name = "IMAGES", default_value_t = 32)]
    batch: usize,
    /// Data type of the features that are kept.
    #[arg(long, value_name = "DTYPE", default_value = "f32", value_parser = named::<StoreDtype>())]
    dtype: StoreDtype,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct SugarCrepeArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Folder of COCO's image files, `val2017`, or the id of a data set on the hub.
    #[arg(long, alias = "images", value_name = "FOLDER_OR_ID")]
    image_dir: String,
}

#[derive(Args)]
pub(crate) struct CaptionArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Folder of the image files, for COCO the one that holds `val2014`, or the id of a data set on the hub.
    #[arg(long, alias = "images", value_name = "FOLDER_OR_ID")]
    image_dir: String,
    /// The split to evaluate.
    #[arg(long, default_value = "test")]
    split: String,
    /// Write an HTML report with images; `--json` then includes the single results that it shows.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Number of captions of each image that are used, the first ones.
    #[arg(long, value_name = "CAPTIONS", default_value = "5")]
    captions: NonZeroUsize,
}

#[derive(Args)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Write an HTML report with images; `--json` then includes the single results that it shows.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The split of a CLIP-benchmark data set to evaluate.
    #[arg(long, default_value = "test")]
    split: String,
    /// A prompt with `{}` or `{c}` for the name of a class; repeat it for an ensemble [default: the data set's own, or
    /// "a photo of a {c}."].
    #[arg(long = "template", value_name = "TEXT")]
    templates: Vec<String>,
}

pub(crate) fn run(command: &BenchmarkCommand) -> Result<(), CliError> {
    match command {
        BenchmarkCommand::Winoground(args) => {
            let (path, options) = args.data(TaskFiles::Winoground)?;
            let data = WinogroundData::open(&path, &options)?;
            let result = args.score(&args.open()?, |model, cache| winoground(model, &data, cache))?;
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
            let (path, options) = args.data(TaskFiles::Mmvp)?;
            let data = MmvpData::open(&path, &options)?;
            let result = args.score(&args.open()?, |model, cache| mmvp(model, &data, cache))?;
            args.print(&result, &result.skipped, |out| {
                writeln!(out, "{} pairs", result.n_pairs)?;
                write_named(out, &result.categories, ("mean over the categories", result.score))
            })
        }
        BenchmarkCommand::Sugarcrepe(SugarCrepeArgs { task, image_dir }) => {
            let (path, _) = task.data(TaskFiles::SugarCrepe)?;
            let (images, options) = task.links.dataset(image_dir, TaskFiles::Images)?;
            let data = SugarCrepeData::open(&path, &images, &options)?;
            let result = task.score(&task.open()?, |model, cache| sugar_crepe(model, &data, cache))?;
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
    let (images, options) = task.links.dataset(&args.image_dir, TaskFiles::Images)?;
    let (path, _) = task.data(TaskFiles::Captions)?;
    let data = CaptionData::open(&path, &images, &args.split, args.captions.get(), &options)?;
    let model = task.open()?;
    let Some(path) = &args.report else {
        let result = task.score(&model, |model, cache| caption_retrieval(model, &data, cache))?;
        return task.print(&result, &result.skipped, |out| write_retrieval(out, &result.retrieval));
    };
    let (result, answers) =
        task.score(&model, |model, cache| caption_answers(model, &data, cache, CANDIDATES))?;
    let galleries = galleries(&answers);
    let facts = task.facts(&model).fact("split", &args.split);
    report::captions(facts, &result, &galleries, |answer| data.image(answer))?.save(path)?;
    let reported = Reported { result: &result, galleries };
    task.print(&reported, &result.skipped, |out| write_retrieval(out, &result.retrieval))
}

fn run_classify(args: &ClassifyArgs) -> Result<(), CliError> {
    let task = &args.task;
    let templates = (!args.templates.is_empty()).then(|| Templates::new(&args.templates)).transpose()?;
    let (path, options) = task.data(TaskFiles::Classification { split: &args.split })?;
    let data = LabelledImages::open(&path, &args.split, templates, &options)?;
    let model = task.open()?;
    let Some(path) = &args.report else {
        let result = task.score(&model, |model, cache| classify(model, &data, cache))?;
        return task.print(&result, &result.skipped, |out| write_classes(out, &result));
    };
    let (result, answers) =
        task.score(&model, |model, cache| classify_answers(model, &data, cache, CANDIDATES))?;
    let galleries = galleries(&answers);
    report::classification(task.facts(&model), &result, &galleries, |answer| data.image(answer))?
        .save(path)?;
    let reported = Reported { result: &result, galleries };
    task.print(&reported, &result.skipped, |out| write_classes(out, &result))
}

/// A result, and the results of single images that its report shows.
#[derive(Serialize)]
struct Reported<'a, R> {
    #[serde(flatten)]
    result: &'a R,
    galleries: Galleries<&'a Answer>,
}

fn galleries(answers: &[Answer]) -> Galleries<&Answer> {
    Galleries::new(answers.len(), |image| answers[image].is_correct(), |image| &answers[image])
}

fn write_classes(out: &mut impl Write, result: &ClassificationResult) -> io::Result<()> {
    write_zero_shot(out, &result.scores)?;
    if result.absent_classes > 0 {
        writeln!(out, "{} classes without an image", result.absent_classes)?;
    }
    output::write_notes(out, &result.notes)
}

impl TaskArgs {
    /// Returns the path of the data, and the options to open it with.
    fn data(&self, files: TaskFiles<'_>) -> Result<(PathBuf, SourceOptions), CliError> {
        self.links.dataset(&self.data, files)
    }

    /// Opens the model; called after the data has been read, which takes less time.
    fn open(&self) -> Result<SailModel<Head>, CliError> {
        self.head.open(&self.head.device()?)
    }

    fn score<R>(
        &self,
        model: &SailModel<Head>,
        score: impl FnOnce(&TaskModel<'_, Head>, &mut FeatureCache<'_>) -> Result<R, TaskError>,
    ) -> Result<R, CliError> {
        let mut progress = EncodeProgress::new();
        let mut cache = FeatureCache::new(self.cache()?, &mut progress);
        let stop = stop_flag();
        for options in [&mut cache.images, &mut cache.texts] {
            options.dtype = self.dtype;
            options.stop = stop.clone();
            options.threads = rayon::current_num_threads();
        }
        cache.images.block = self.batch;
        let model = TaskModel { vision: model.vision(), text: model.text(), head: model.head() };
        Ok(score(&model, &mut cache)?)
    }

    fn cache(&self) -> Result<PathBuf, CliError> {
        let default = || dirs::cache_dir().map(|folder| folder.join("sail").join("features"));
        self.cache.clone().or_else(default).ok_or_else(|| {
            CliError::Usage("this platform has no cache folder: name a folder with `--cache`".into())
        })
    }

    /// What was run, for a report.
    fn facts(&self, model: &SailModel<Head>) -> Facts {
        let facts = Facts::new().fact("data", &self.data);
        self.head.facts(model, facts).fact("dtype of the features", self.dtype.to_string())
    }

    /// Prints one JSON object, or a table and the skipped items.
    fn print(
        &self,
        result: &impl Serialize,
        skipped: &Skips,
        table: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>,
    ) -> Result<(), CliError> {
        output::print(self.json, result, |out| {
            table(out)?;
            output::write_skipped(out, skipped)
        })
    }
}

/// Writes accuracies with their names, and their mean below.
fn write_named(out: &mut impl Write, groups: &[NamedAccuracy], (name, mean): (&str, f64)) -> io::Result<()> {
    let width = groups.iter().map(|group| group.name.chars().count()).max().unwrap_or(0).max(name.len());
    for group in groups {
        let accuracy = group.accuracy.map_or("-".to_owned(), |accuracy| format!("{accuracy:.2}"));
        writeln!(out, "{:<width$}  {accuracy:>7}  of {}", group.name, group.n)?;
    }
    writeln!(out, "{name:<width$}  {mean:>7.2}")
}
