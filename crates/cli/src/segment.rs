//! `sail eval segment`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use sail_vl::SegmentOptions;
use sail_vl::core::{Attention, DenseOptions, Dtype, Layer, ensure};
use sail_vl::eval::{Confusion, LabelMap, Segmentation, SegmentationError, SlidingWindow};
use sail_vl::report::{Facts, Image, Panel, Panels, Report, Section, Table};
use sail_vl::tasks::{
    SegmentationLayout, SegmentationSample, SegmentationSet, TaskFiles, class_colour, encode_thumbnail,
    overlay,
};
use serde::Serialize;

use crate::error::CliError;
use crate::models::HeadArgs;
use crate::named::{named, named_or};
use crate::output::print;
use crate::progress::bar;
use crate::{confusion, sources};

/// Longer side of an image in the report.
const THUMBNAIL: u32 = 320;

#[derive(Args)]
pub(crate) struct SegmentArgs {
    /// The folder of the images and masks, or the id of a data set on the hub (`id@revision`).
    #[arg(long, value_name = "FOLDER_OR_ID")]
    data: String,
    /// Layout of the folder; `folder` has the folders `images` and `masks`, and `classes.txt`.
    #[arg(long, value_name = "LAYOUT", value_parser = named::<SegmentationLayout>())]
    layout: SegmentationLayout,
    #[command(flatten)]
    head: HeadArgs,
    /// A prompt with `{}` for the name of a class; repeat it for an ensemble.
    #[arg(long = "template", value_name = "TEXT", default_value = "a photo of a {}.")]
    templates: Vec<String>,
    /// Length that the shorter side of an image is resized to.
    #[arg(long, value_name = "PIXELS", default_value_t = SlidingWindow::default().short_side)]
    short_side: usize,
    /// Side of the sliding window.
    #[arg(long, value_name = "PIXELS", default_value_t = SlidingWindow::default().window)]
    window: usize,
    /// Stride of the sliding window.
    #[arg(long, value_name = "PIXELS", default_value_t = SlidingWindow::default().stride)]
    stride: usize,
    /// Attention in the last block of a Vision Transformer: `standard` as trained, or `query-query`, without the
    /// feed-forward part.
    #[arg(
        long,
        default_value = "standard",
        value_parser = named_or::<Attention>(&[("qq", "query-query")])
    )]
    attention: Attention,
    /// Use the features of the N-th layer from the end, without the final norm [default: the last layer, with it].
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Assign a pixel to class 0 if its highest probability is below this threshold.
    #[arg(long, value_name = "PROBABILITY")]
    background_threshold: Option<f32>,
    /// Folder in which the vision model's features of all windows are kept for the next head. They need one value for
    /// every patch and dimension, two with `concat` pooling.
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Data type of the features that are kept.
    #[arg(long, value_name = "DTYPE", default_value = "f32", requires = "cache", value_parser = named::<Dtype>())]
    dtype: Dtype,
    /// Use only the first images.
    #[arg(long, value_name = "IMAGES")]
    limit: Option<usize>,
    /// Write an HTML report with overlays; `--json` then includes the scores of its images and the confusion matrix.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Number of images in the report.
    #[arg(long, value_name = "IMAGES", default_value_t = 12)]
    overlays: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    scores: &'a Segmentation,
    classes: Vec<&'a str>,
    /// Images without a mask and masks without an image.
    unused: usize,
    #[serde(flatten)]
    shown: Option<Shown>,
}

/// What a report shows beside the scores.
#[derive(Serialize)]
struct Shown {
    images: Vec<ImageScores>,
    /// For every true class the percentage of its pixels that were assigned to each class; `null` for a class without
    /// pixels in the masks.
    confusion: Vec<Option<Vec<f64>>>,
    /// The same in numbers of pixels.
    confusion_pixels: Vec<Vec<u64>>,
}

/// The scores of one image.
#[derive(Serialize)]
struct ImageScores {
    name: String,
    miou: f64,
    /// IoU of each class in the mask or the prediction, in percent.
    iou: BTreeMap<String, f64>,
}

impl SegmentArgs {
    fn options(&self) -> SegmentOptions {
        let layer = self.layer.map_or(Layer::Last, Layer::FromEnd);
        let Self { short_side, window, stride, attention, background_threshold, .. } = *self;
        SegmentOptions {
            sliding: SlidingWindow { short_side, window, stride },
            dense: DenseOptions { layer, attention },
            background_threshold,
        }
    }
}

pub(crate) fn run(args: &SegmentArgs) -> Result<(), CliError> {
    let device = args.head.device()?;
    if let Some(limit) = args.limit {
        ensure(limit > 0, "limit", limit, "at least 1")?;
    }
    let data = |source| {
        let spec = args.data.clone();
        CliError::SegmentationSet { spec, source: Box::new(source) }
    };
    let folder = sources::dataset(&args.data, TaskFiles::Segmentation(args.layout))?;
    let set = SegmentationSet::open(&folder, args.layout).map_err(data)?;
    let model = args.head.open(&device)?;
    let segmenter = model.segmenter(set.classes(), &args.templates, &args.options());
    let mut segmenter = segmenter.map_err(CliError::Segmentation)?;
    if let Some(folder) = &args.cache {
        segmenter = segmenter.with_cache(folder, args.dtype).map_err(CliError::Segmentation)?;
    }

    let images = set.len().min(args.limit.unwrap_or(usize::MAX));
    let shown = if args.report.is_some() { args.overlays.min(images) } else { 0 };
    let scored = |error: SegmentationError| CliError::Segmentation(error.into());
    let mut confusion = Confusion::new(set.classes().len()).map_err(scored)?;
    let (mut panels, mut images_shown) = (Panels::new(), Vec::new());
    let bar = bar(images as u64, "segment", "{pos} of {len} images");
    for index in 0..images {
        let sample = set.load(index).map_err(data)?;
        let found = segmenter.segment(&sample.image);
        let found = found.map_err(CliError::Segmentation)?;
        confusion.add(&found, &sample.truth).map_err(scored)?;
        // The images of the report are spread evenly over the set.
        if index * shown / images != (index + 1) * shown / images {
            let scores = image_scores(&sample, &found, set.classes())?;
            panels = panels.panel(panel(&sample, &found, &scores)?);
            images_shown.push(scores);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let scores = confusion.scores();
    let mut shown = None;
    if let Some(path) = &args.report {
        let pixels: Vec<Vec<u64>> =
            confusion.counts().chunks(set.classes().len()).map(<[u64]>::to_vec).collect();
        let shares = pixels.iter().map(|row| shares(row)).collect();
        let values = Shown { images: images_shown, confusion: shares, confusion_pixels: pixels };
        let facts = facts(args, args.head.facts(&model, Facts::new().fact("data", &args.data)), &set);
        report(facts, &set, &scores, (panels, &values), path)?;
        shown = Some(values);
    }
    let classes = set.classes().iter().map(|names| names[0].as_str()).collect();
    let result = Outcome { scores: &scores, classes, unused: set.unused().len(), shown };
    print(args.json, &result, |out| {
        let Outcome { scores, classes, unused, .. } = &result;
        writeln!(out, "{} images, {} classes, {} pixels", scores.n_images, classes.len(), scores.n_pixels)?;
        if *unused > 0 {
            writeln!(out, "{unused} images without a mask or masks without an image skipped")?;
        }
        let baseline = &scores.baseline;
        writeln!(out, "{:<28}{:>7}{:>16}", "", "mIoU", "pixel accuracy")?;
        writeln!(out, "{:<28}{:>7.2}{:>16.2}", "the head", scores.miou, scores.pixel_accuracy)?;
        let name = format!("`{}` everywhere", classes[baseline.class]);
        writeln!(out, "{name:<28}{:>7.2}{:>16.2}", baseline.miou, baseline.pixel_accuracy)
    })
}

/// Returns the percentages of a true class's pixels that were assigned to each class, or `None` if it has no pixels.
fn shares(row: &[u64]) -> Option<Vec<f64>> {
    let pixels = row.iter().sum::<u64>();
    (pixels > 0).then(|| row.iter().map(|&count| 100.0 * count as f64 / pixels as f64).collect())
}

fn image_scores(
    sample: &SegmentationSample,
    found: &LabelMap,
    classes: &[Vec<String>],
) -> Result<ImageScores, CliError> {
    let scored = |error: SegmentationError| CliError::Segmentation(error.into());
    let mut confusion = Confusion::new(classes.len()).map_err(scored)?;
    confusion.add(found, &sample.truth).map_err(scored)?;
    let Segmentation { miou, per_class_iou, .. } = confusion.scores();
    let of_class = |(iou, names): (Option<f64>, &Vec<String>)| Some((names[0].clone(), iou?));
    let iou = per_class_iou.into_iter().zip(classes).filter_map(of_class).collect();
    Ok(ImageScores { name: sample.name.clone(), miou, iou })
}

/// An image with its prediction and its mask.
fn panel(sample: &SegmentationSample, found: &LabelMap, scores: &ImageScores) -> Result<Panel, CliError> {
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

/// The settings, for the report.
fn facts(args: &SegmentArgs, facts: Facts, set: &SegmentationSet) -> Facts {
    let SegmentOptions { sliding, dense, background_threshold } = args.options();
    let SlidingWindow { window, stride, short_side } = sliding;
    let windows = format!("{window} pixels, stride {stride}, short side resized to {short_side}");
    let unused = format!("{} images without a mask or masks without an image", set.unused().len());
    facts
        .fact("layout", args.layout.to_string())
        .fact("prompts", args.templates.join(" | "))
        .fact("windows", windows)
        .fact("features", dense.to_string())
        .fact("background threshold", background_threshold.map_or("none".to_owned(), |x| x.to_string()))
        .fact("skipped", unused)
}

fn report(
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
