//! `sail eval segment`.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sail_vl::core::{Attention, DenseOptions, Dtype, Layer, ensure};
use sail_vl::eval::{Confusion, LabelMap, Segmentation, SegmentationError, SlidingWindow};
use sail_vl::report::{Facts, Image, Panel, Panels, Report, Section, Table};
use sail_vl::tasks::{
    SegmentationLayout, SegmentationSample, SegmentationSet, TaskFiles, class_colour, encode_thumbnail,
    overlay,
};
use sail_vl::{SailModel, SegmentOptions, device};
use serde::Serialize;

use crate::error::CliError;
use crate::{confusion, inputs, towers};

/// Longer side of an image in the report.
const THUMBNAIL: u32 = 320;

#[derive(Args)]
pub(crate) struct SegmentArgs {
    /// The folder of the images and masks, or an id on the hub, with a revision behind an `@`.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    data: String,
    /// How they lie in it: ade20k, coco-stuff, voc20, voc21 or folder (images, masks, classes.txt).
    #[arg(long, value_name = "LAYOUT")]
    layout: String,
    /// The head file.
    #[arg(long)]
    head: PathBuf,
    /// The vision model that the head was trained on: a folder, or an id of the hub.
    #[arg(long, value_name = "MODEL")]
    vision: String,
    /// The text model that the head was trained on.
    #[arg(long, value_name = "MODEL")]
    text: String,
    /// A prompt with `{}` for the name of a class; give it several times for an ensemble.
    #[arg(long = "template", value_name = "TEXT", default_value = "a photo of a {}.")]
    templates: Vec<String>,
    /// What the shorter side of an image is resized to.
    #[arg(long, value_name = "PIXELS", default_value_t = SlidingWindow::default().short_side)]
    short_side: usize,
    /// The side of a window.
    #[arg(long, value_name = "PIXELS", default_value_t = SlidingWindow::default().window)]
    window: usize,
    /// From one window to the next.
    #[arg(long, value_name = "PIXELS", default_value_t = SlidingWindow::default().stride)]
    stride: usize,
    /// How the last block of a Vision Transformer attends.
    #[arg(long, value_enum, default_value_t = AttentionArg::Standard)]
    attention: AttentionArg,
    /// Features of the N-th layer from the end, without the final norm, in place of the last with it.
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// A pixel whose highest probability is below this is of class 0.
    #[arg(long, value_name = "PROBABILITY")]
    background_threshold: Option<f32>,
    /// Folder in which the vision model's features of all windows are kept, so that the next head costs seconds. A window
    /// takes a number for every patch and dimension, twice as many under `concat` pooling.
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Number type of the features that are kept: f16, bf16 or f32.
    #[arg(long, default_value = "f32", requires = "cache")]
    dtype: String,
    /// Use only the first images, so many.
    #[arg(long, value_name = "IMAGES")]
    limit: Option<usize>,
    /// Write a report with overlays to this HTML file; `--json` then has its images' scores and the confusion too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many images the report shows.
    #[arg(long, value_name = "IMAGES", default_value_t = 12)]
    overlays: usize,
    /// Device to compute on.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum AttentionArg {
    /// Queries with keys, as it was trained.
    Standard,
    /// Queries with queries, without the feed-forward part.
    Qq,
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
    /// For every true class the shares of its pixels that were given each class, in percent; `null` for a class that is
    /// not in the masks.
    confusion: Vec<Option<Vec<f64>>>,
    /// The same in pixels.
    confusion_pixels: Vec<Vec<u64>>,
}

/// The scores of one image.
#[derive(Serialize)]
struct ImageScores {
    name: String,
    miou: f64,
    /// Of each class that the image has or was given, in percent.
    iou: BTreeMap<String, f64>,
}

impl SegmentArgs {
    fn options(&self) -> SegmentOptions {
        let attention = match self.attention {
            AttentionArg::Standard => Attention::Standard,
            AttentionArg::Qq => Attention::QueryQuery,
        };
        let layer = self.layer.map_or(Layer::Last, Layer::FromEnd);
        let Self { short_side, window, stride, background_threshold, .. } = *self;
        SegmentOptions {
            sliding: SlidingWindow { short_side, window, stride },
            dense: DenseOptions { layer, attention },
            background_threshold,
        }
    }
}

pub(crate) fn run(args: &SegmentArgs) -> Result<(), CliError> {
    let device = device::parse(&args.device)?;
    let layout: SegmentationLayout = args.layout.parse()?;
    let dtype: Dtype = args.dtype.parse()?;
    if let Some(limit) = args.limit {
        ensure(limit > 0, "limit", limit, "at least 1")?;
    }
    let data = |source| {
        let spec = args.data.clone();
        CliError::SegmentationSet { spec, source: Box::new(source) }
    };
    let folder = towers::dataset(&args.data, TaskFiles::Segmentation(layout))?;
    let set = SegmentationSet::open(&folder, layout).map_err(data)?;
    let model =
        SailModel::open(&args.vision, &args.text, &args.head, &device).map_err(CliError::Segmentation)?;
    let segmenter = model.segmenter(set.classes(), &args.templates, &args.options());
    let mut segmenter = segmenter.map_err(CliError::Segmentation)?;
    if let Some(folder) = &args.cache {
        segmenter = segmenter.with_cache(folder, dtype).map_err(CliError::Segmentation)?;
    }

    let images = set.len().min(args.limit.unwrap_or(usize::MAX));
    let shown = if args.report.is_some() { args.overlays.min(images) } else { 0 };
    let scored = |error: SegmentationError| CliError::Segmentation(error.into());
    let mut confusion = Confusion::new(set.classes().len()).map_err(scored)?;
    let (mut panels, mut images_shown) = (Panels::new(), Vec::new());
    let bar = inputs::bar(images as u64, "segmenting", "{pos} of {len} images");
    for index in 0..images {
        let sample = set.load(index).map_err(data)?;
        let found = segmenter.segment(&sample.image);
        let found = found.map_err(CliError::Segmentation)?;
        confusion.add(&found, &sample.truth).map_err(scored)?;
        // Spread over the set.
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
        let figures = Shown { images: images_shown, confusion: shares, confusion_pixels: pixels };
        report(args, &set, &scores, (panels, &figures), path)?;
        shown = Some(figures);
    }
    let classes = set.classes().iter().map(|names| names[0].as_str()).collect();
    print(args.json, &Outcome { scores: &scores, classes, unused: set.unused().len(), shown })
}

fn print(json: bool, result: &Outcome<'_>) -> Result<(), CliError> {
    let mut out = stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(result)?)?;
        return Ok(());
    }
    let Outcome { scores, classes, unused, .. } = result;
    writeln!(out, "{} images, {} classes, {} pixels", scores.n_images, classes.len(), scores.n_pixels)?;
    if *unused > 0 {
        writeln!(out, "{unused} images or masks without the other are left out")?;
    }
    let baseline = &scores.baseline;
    writeln!(out, "{:<28}{:>7}{:>16}", "", "mIoU", "pixel accuracy")?;
    writeln!(out, "{:<28}{:>7.2}{:>16.2}", "the head", scores.miou, scores.pixel_accuracy)?;
    let name = format!("`{}` everywhere", classes[baseline.class]);
    writeln!(out, "{name:<28}{:>7.2}{:>16.2}", baseline.miou, baseline.pixel_accuracy)?;
    Ok(())
}

/// Of a true class the shares of its pixels that were given each class, in percent, where it has any.
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

/// An image with what was found and what is there.
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
    // Classes that are in the masks or were found, as in the scores.
    let occurs = |class: usize| shown.confusion_pixels.iter().any(|row| row[class] > 0);
    let absent = |truth: usize| shown.confusion[truth].is_none();
    let classes: Vec<usize> = (0..names.len()).filter(|&class| !absent(class) || occurs(class)).collect();
    let cell = |truth: usize, found: usize| match &shown.confusion[truth] {
        // A tenth of a percent is as much as a cell shows.
        Some(row) => (truth, found, (10.0 * row[found]).round() / 10.0),
        None => (truth, found, f64::NAN),
    };
    let cells = classes.iter().flat_map(|&truth| classes.iter().map(move |&found| cell(truth, found)));
    confusion::section(&names, &cells.collect::<Vec<_>>(), "in percent of the true class's pixels")
}

fn report(
    args: &SegmentArgs,
    set: &SegmentationSet,
    scores: &Segmentation,
    (mut panels, shown): (Panels, &Shown),
    path: &Path,
) -> Result<(), CliError> {
    let percent = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let mut table =
        Table::new(["class", "IoU", "accuracy"]).caption("In percent; a dash where a class does not occur.");
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
        .caption("In percent, beside the most frequent class for every pixel.");
    let options = args.options();
    let sliding = options.sliding;
    let windows = format!(
        "{} pixels, {} apart, on a short side of {}",
        sliding.window, sliding.stride, sliding.short_side
    );
    let settings = Facts::new()
        .fact("data", &args.data)
        .fact("layout", args.layout.clone())
        .fact("head", args.head.display().to_string())
        .fact("vision", args.vision.clone())
        .fact("text", args.text.clone())
        .fact("prompts", args.templates.join(" | "))
        .fact("windows", windows)
        .fact("features", options.dense.to_string())
        .fact("background threshold", args.background_threshold.map_or("none".to_owned(), |x| x.to_string()))
        .fact("left out", format!("{} images or masks without the other", set.unused().len()));
    Report::new("Open-vocabulary segmentation")
        .subtitle(format!("{} images, {} classes", scores.n_images, set.classes().len()))
        .key_figure(format!("{:.1} %", scores.miou), "mean intersection over union")
        .key_figure(format!("{:.1} %", baseline.miou), "the same, of the most frequent class everywhere")
        .key_figure(format!("{:.1} %", scores.pixel_accuracy), "pixel accuracy")
        .section(Section::new("Result").table(summary))
        .section(Section::new("Images").panels(panels))
        .section(Section::new("Classes").table(table))
        .section(confusion_section(set, shown))
        .section(Section::new("Settings").facts(settings))
        .footer(concat!("sail ", env!("CARGO_PKG_VERSION")))
        .save(path)?;
    Ok(())
}
