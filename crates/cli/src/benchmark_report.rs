//! HTML reports of benchmarks: scores, confused classes, images that were classified correctly and incorrectly.

use sail_vl::core::RgbImage;
use sail_vl::report::{Facts, GalleryItem, Image, Report, Section, Table};
use sail_vl::tasks::{
    Answer, CaptionResult, ClassificationResult, ConfusedClass, Skips, TaskError, encode_thumbnail,
};

use crate::error::CliError;
use crate::galleries::{self, Galleries, SIDE};
use crate::retrieval_report;

/// Classes in the table of the worst.
const WORST: usize = 20;

/// Builds the report of a zero-shot classification.
pub(crate) fn classification(
    facts: Facts,
    result: &ClassificationResult,
    galleries: &Galleries<&Answer>,
    image: impl Fn(&Answer) -> Result<Option<RgbImage>, TaskError>,
) -> Result<Report, CliError> {
    let scores = &result.scores;
    let facts = facts
        .fact("images", scores.n_images.to_string())
        .fact("classes", scores.n_classes.to_string())
        .fact("prompts per class", result.n_templates.to_string());
    let facts = result.notes.iter().fold(facts, |facts, note| facts.fact("note", note));
    let report = Report::new("Zero-shot classification")
        .key_figure(format!("{:.2} %", scores.top1), "top-1 accuracy")
        .key_figure(format!("{:.2} %", scores.top5), "top-5 accuracy")
        .key_figure(format!("{:.2} %", scores.per_class_mean), "mean per-class accuracy")
        .section(confusion(result))
        .section(Section::new("Classes with the lowest accuracy").table(worst_classes(result)));
    finish(report, facts, &result.skipped, galleries, image)
}

/// Builds the report of a caption retrieval.
pub(crate) fn captions(
    facts: Facts,
    result: &CaptionResult,
    galleries: &Galleries<&Answer>,
    image: impl Fn(&Answer) -> Result<Option<RgbImage>, TaskError>,
) -> Result<Report, CliError> {
    let scores = &result.retrieval;
    let facts =
        facts.fact("images", scores.n_images.to_string()).fact("captions", scores.n_texts.to_string());
    let report = Report::new("Caption retrieval")
        .key_figure(format!("{:.2} %", scores.i2t.r1), "recall@1, image to text")
        .key_figure(format!("{:.2} %", scores.t2i.r1), "recall@1, text to image")
        .section(Section::new("Results").table(retrieval_report::table(scores)));
    finish(report, facts, &result.skipped, galleries, image)
}

/// Adds the galleries, the skipped items and the settings.
fn finish(
    mut report: Report,
    facts: Facts,
    skipped: &Skips,
    galleries: &Galleries<&Answer>,
    image: impl Fn(&Answer) -> Result<Option<RgbImage>, TaskError>,
) -> Result<Report, CliError> {
    report = galleries.show(report, "Images", |answer| item(answer, &image))?;
    if skipped.count > 0 {
        let rows = skipped.first.iter().map(|skip| (&skip.item, &skip.reason));
        let table =
            rows.fold(Table::new(["skipped", "reason"]), |table, (item, reason)| table.row([item, reason]));
        let table = table.caption(format!("The first of {}.", skipped.count));
        report = report.section(Section::new("Skipped").table(table));
    }
    Ok(report.section(Section::new("Settings").facts(facts)))
}

fn item(
    answer: &Answer,
    image: &impl Fn(&Answer) -> Result<Option<RgbImage>, TaskError>,
) -> Result<GalleryItem, CliError> {
    let shown = match image(answer)? {
        Some(image) => Image::encoded(encode_thumbnail(&image, SIDE)?)?,
        None => Image::text("?"),
    };
    let title = answer.truth.first().map_or("", String::as_str);
    Ok(galleries::item(shown, title, &answer.candidates).note(&answer.key))
}

fn confusion(result: &ClassificationResult) -> Section {
    let names: Vec<&str> = result.classes.iter().map(String::as_str).collect();
    let cells = result.confusion.iter().map(|cell| (cell.truth, cell.found, cell.times as f64));
    crate::confusion::section(&names, &cells.collect::<Vec<_>>(), "in images")
}

/// The classes with the lowest accuracy, and the class that each is most often confused with.
fn worst_classes(result: &ClassificationResult) -> Table {
    let accuracies = result.scores.per_class.iter().enumerate();
    let mut classes: Vec<(usize, f64)> =
        accuracies.filter_map(|(class, accuracy)| Some((class, (*accuracy)?))).collect();
    classes.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut table = Table::new(["class", "images", "accuracy", "most often confused with", "times"])
        .caption("Accuracy in percent.");
    for (class, accuracy) in classes.into_iter().take(WORST) {
        let (other, times) = match result.confused_with[class] {
            Some(ConfusedClass { class, times }) => (result.classes[class].as_str(), times.to_string()),
            None => ("–", "–".to_owned()),
        };
        let (name, count) = (&result.classes[class], result.counts[class].to_string());
        table = table.row([name, &count, &format!("{accuracy:.2}"), other, &times]);
    }
    table
}
