//! The report of `sail eval segment`.

use std::collections::BTreeMap;
use std::path::Path;

use sail_vl::eval::{Confusion, LabelMap, Segmentation};
use sail_vl::report::{Facts, Image, Panel, Panels, Report, Section, Table};
use sail_vl::tasks::{SegmentationSample, SegmentationSet, class_colour, encode_thumbnail, overlay};
use serde::Serialize;

use crate::confusion;
use crate::error::CliError;

/// Longer side of an image in the report.
const THUMBNAIL: u32 = 320;

/// What a report shows beside the scores.
#[derive(Serialize)]
pub(crate) struct Shown {
    images: Vec<ImageScores>,
    /// For every true class the percentage of its pixels that were assigned to each class; `null` for a class without
    /// pixels in the masks.
    confusion: Vec<Option<Vec<f64>>>,
    /// The same in numbers of pixels.
    confusion_pixels: Vec<Vec<u64>>,
}

/// The scores of one image.
#[derive(Serialize)]
pub(crate) struct ImageScores {
    name: String,
    miou: f64,
    /// IoU of each class in the mask or the prediction, in percent.
    iou: BTreeMap<String, f64>,
}

impl Shown {
    pub(crate) fn new(images: Vec<ImageScores>, counts: &[u64], classes: usize) -> Self {
        let pixels: Vec<Vec<u64>> = counts.chunks(classes).map(<[u64]>::to_vec).collect();
        let confusion = pixels.iter().map(|row| shares(row)).collect();
        Self { images, confusion, confusion_pixels: pixels }
    }
}

/// Returns the percentages of a true class's pixels that were assigned to each class, or `None` if it has no pixels.
fn shares(row: &[u64]) -> Option<Vec<f64>> {
    let pixels = row.iter().sum::<u64>();
    (pixels > 0).then(|| row.iter().map(|&count| 100.0 * count as f64 / pixels as f64).collect())
}

impl ImageScores {
    pub(crate) fn new(
        sample: &SegmentationSample,
        found: &LabelMap,
        classes: &[Vec<String>],
    ) -> Result<Self, CliError> {
        let mut confusion = Confusion::new(classes.len())?;
        confusion.add(found, &sample.truth)?;
        let Segmentation { miou, per_class_iou, .. } = confusion.scores();
        let of_class = |(iou, names): (Option<f64>, &Vec<String>)| Some((names[0].clone(), iou?));
        let iou = per_class_iou.into_iter().zip(classes).filter_map(of_class).collect();
        Ok(Self { name: sample.name.clone(), miou, iou })
    }
}

/// An image with its prediction and its mask.
pub(crate) fn panel(
    sample: &SegmentationSample,
    found: &LabelMap,
    scores: &ImageScores,
) -> Result<Panel, CliError> {
    let ious: Vec<String> = scores.iou.iter().map(|(name, iou)| format!("{name} {iou:.0}")).collect();
    let image =
        |image| -> Result<Image, CliError> { Ok(Image::encoded(encode_thumbnail(image, THUMBNAIL)?)?) };
    Ok(Panel::new(&sample.name)
        .note(format!("mIoU {:.1}: {}", scores.miou, ious.join(", ")))
        .image("image", image(&sample.image)?)
        .image("prediction", image(&overlay(&sample.image, found, THUMBNAIL))?)
        .image("truth", image(&overlay(&sample.image, &sample.truth, THUMBNAIL))?))
}

fn confusion_section(set: &SegmentationSet, shown: &Shown) -> Section {
    let names: Vec<&str> = set.classes().iter().map(|names| names[0].as_str()).collect();
    // Classes in the masks or the predictions, as in the scores.
    let occurs = |class: usize| shown.confusion_pixels.iter().any(|row| row[class] > 0);
    let absent = |truth: usize| shown.confusion[truth].is_none();
    let classes: Vec<usize> = (0..names.len()).filter(|&class| !absent(class) || occurs(class)).collect();
    let cell = |truth: usize, found: usize| match &shown.confusion[truth] {
        // A cell shows tenths of a percent.
        Some(row) => (truth, found, (10.0 * row[found]).round() / 10.0),
        None => (truth, found, f64::NAN),
    };
    let cells = classes.iter().flat_map(|&truth| classes.iter().map(move |&found| cell(truth, found)));
    confusion::section(&names, &cells.collect::<Vec<_>>(), "in percent of the true class's pixels")
}

/// Writes the report.
pub(crate) fn report(
    facts: Facts,
    set: &SegmentationSet,
    scores: &Segmentation,
    (mut panels, shown): (Panels, &Shown),
    path: &Path,
) -> Result<(), CliError> {
    let percent = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let mut table = Table::new(["class", "IoU", "accuracy"])
        .caption("In percent; a dash for a class that does not occur.");
    for (class, names) in set.classes().iter().enumerate() {
        let (iou, accuracy) = (scores.per_class_iou[class], scores.per_class_accuracy[class]);
        table = table.row([names.join(", "), percent(iou), percent(accuracy)]);
        if iou.is_some() {
            panels = panels.legend(&names[0], class_colour(class as u16));
        }
    }
    let baseline = &scores.baseline;
    let summary = Table::new(["", "mIoU", "pixel accuracy"])
        .row(["the head".to_owned(), format!("{:.2}", scores.miou), format!("{:.2}", scores.pixel_accuracy)])
        .row([
            format!("{} everywhere", set.classes()[baseline.class][0]),
            format!("{:.2}", baseline.miou),
            format!("{:.2}", baseline.pixel_accuracy),
        ])
        .caption("In percent, next to a prediction of the most frequent class for every pixel.");
    Report::new("Open-vocabulary segmentation")
        .subtitle(format!("{} images, {} classes", scores.n_images, set.classes().len()))
        .key_figure(format!("{:.1} %", scores.miou), "mean intersection over union")
        .key_figure(format!("{:.1} %", baseline.miou), "mean IoU of the most frequent class everywhere")
        .key_figure(format!("{:.1} %", scores.pixel_accuracy), "pixel accuracy")
        .section(Section::new("Result").table(summary))
        .section(Section::new("Images").panels(panels))
        .section(Section::new("Classes").table(table))
        .section(confusion_section(set, shown))
        .section(Section::new("Settings").facts(facts))
        .footer(concat!("sail ", env!("CARGO_PKG_VERSION")))
        .save(path)?;
    Ok(())
}
