//! `sail eval segment`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use sail_vl::core::{Attention, DenseOptions, Dtype, Layer, ensure};
use sail_vl::eval::{Confusion, LabelMap, Segmentation, SegmentationError, SlidingWindow};
use sail_vl::report::{Facts, Panels};
use sail_vl::tasks::{MaskPixels, SegmentationLayout, SegmentationSample, SegmentationSet, Skips, TaskFiles};
use sail_vl::{SailError, SegmentOptions};
use serde::Serialize;

use crate::error::{CliError, chain};
use crate::links::LinkArgs;
use crate::models::HeadArgs;
use crate::named::{named, named_or};
use crate::output::{print, write_notes, write_skipped};
use crate::progress::bar;
use crate::segment_report::{self as report, ImageScores, Shown};

#[derive(Args)]
pub(crate) struct SegmentArgs {
    /// The folder of the images and masks, or the id of a data set on the hub (`id@revision`).
    #[arg(long, value_name = "FOLDER_OR_ID")]
    data: String,
    /// Layout of the folder; `folder` has the folders `images` and `masks`, and `classes.txt`.
    #[arg(long, value_name = "LAYOUT", value_parser = named::<SegmentationLayout>())]
    layout: SegmentationLayout,
    #[command(flatten)]
    links: LinkArgs,
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
    /// Images that were not scored, though they have a mask.
    skipped: &'a Skips,
    skipped_by_reason: &'a BTreeMap<&'static str, usize>,
    exif: Exif,
    notes: &'a [String],
    #[serde(flatten)]
    shown: Option<Shown>,
}

/// Numbers of scored images with an EXIF orientation, by the pixels that their masks lie on.
#[derive(Clone, Copy, Default, Serialize)]
struct Exif {
    stored: usize,
    oriented: usize,
}

/// What is counted over the images.
struct Tally {
    confusion: Confusion,
    skipped: Skips,
    by_reason: BTreeMap<&'static str, usize>,
    exif: Exif,
}

impl SegmentArgs {
    pub(crate) fn layout(&self) -> SegmentationLayout {
        self.layout
    }

    pub(crate) fn templates(&self) -> &[String] {
        &self.templates
    }

    pub(crate) fn options(&self) -> SegmentOptions {
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
    let (folder, options) = args.links.dataset(&args.data, TaskFiles::Segmentation(args.layout))?;
    let set = SegmentationSet::open(&folder, args.layout, &options).map_err(data)?;
    let model = args.head.open(&device)?;
    let segmenter = model.segmenter(set.classes(), &args.templates, &args.options());
    let mut segmenter = segmenter.map_err(CliError::Segmentation)?;
    if let Some(folder) = &args.cache {
        segmenter = segmenter.with_cache(folder, args.dtype).map_err(CliError::Segmentation)?;
    }

    let images = set.len().min(args.limit.unwrap_or(usize::MAX));
    let mut tally = Tally::new(set.classes().len())?;
    let (mut panels, mut images_shown) = (Panels::new(), Vec::new());
    let bar = bar(images as u64, "segment", "{pos} of {len} images");
    set.load_ahead(images, rayon::current_num_threads(), |samples| -> Result<(), CliError> {
        for (index, (name, sample)) in samples.enumerate() {
            bar.inc(1);
            let sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    tally.skip(&name, error.kind(), chain(&error));
                    continue;
                }
            };
            let found = match segmenter.segment(&sample.image) {
                Err(SailError::Segmentation(error @ SegmentationError::Config(_))) => {
                    tally.skip(&name, "image has an unusable size", chain(&error));
                    continue;
                }
                found => found.map_err(CliError::Segmentation)?,
            };
            tally.add(&sample, &found)?;
            // The images of the report are spread evenly over the set.
            let due =
                if args.report.is_some() { (index + 1) * args.overlays.min(images) / images } else { 0 };
            if images_shown.len() < due {
                let scores = ImageScores::new(&sample, &found, set.classes())?;
                panels = std::mem::take(&mut panels).panel(report::panel(&sample, &found, &scores)?);
                images_shown.push(scores);
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    let Tally { confusion, skipped, by_reason, exif } = tally;
    let scores = confusion.scores();
    if scores.n_images == 0 {
        return Err(skipped.nothing_left("images").into());
    }
    let mut shown = None;
    if let Some(path) = &args.report {
        let values = Shown::new(images_shown, confusion.counts(), set.classes().len());
        let facts = args.head.facts(&model, Facts::new().fact("data", &args.data));
        let facts = settings(args, facts, &set)
            .fact("skipped", format!("{} images", skipped.count))
            .fact("EXIF orientations", exif.described());
        report::report(facts, &set, &scores, (panels, &values), path)?;
        shown = Some(values);
    }
    let classes = set.classes().iter().map(|names| names[0].as_str()).collect();
    let result = Outcome {
        scores: &scores,
        classes,
        unused: set.unused().len(),
        skipped: &skipped,
        skipped_by_reason: &by_reason,
        exif,
        notes: set.notes(),
        shown,
    };
    print(args.json, &result, |out| {
        let Outcome { scores, classes, unused, .. } = &result;
        writeln!(out, "{} images, {} classes, {} pixels", scores.n_images, classes.len(), scores.n_pixels)?;
        let baseline = &scores.baseline;
        writeln!(out, "{:<28}{:>7}{:>16}", "", "mIoU", "pixel accuracy")?;
        writeln!(out, "{:<28}{:>7.2}{:>16.2}", "the head", scores.miou, scores.pixel_accuracy)?;
        let name = format!("`{}` everywhere", classes[baseline.class]);
        writeln!(out, "{name:<28}{:>7.2}{:>16.2}", baseline.miou, baseline.pixel_accuracy)?;
        write_notes(out, result.notes)?;
        if exif.stored + exif.oriented > 0 {
            writeln!(out, "images with an EXIF orientation: {}", exif.described())?;
        }
        if *unused > 0 {
            writeln!(out, "{unused} images without a mask or masks without an image skipped")?;
        }
        for (reason, count) in &by_reason {
            writeln!(out, "{count} skipped: {reason}")?;
        }
        write_skipped(out, &skipped)
    })
}

impl Tally {
    fn new(classes: usize) -> Result<Self, CliError> {
        Ok(Self {
            confusion: Confusion::new(classes)?,
            skipped: Skips::default(),
            by_reason: BTreeMap::new(),
            exif: Exif::default(),
        })
    }

    fn add(&mut self, sample: &SegmentationSample, found: &LabelMap) -> Result<(), CliError> {
        match sample.exif {
            None => {}
            Some(MaskPixels::Stored) => self.exif.stored += 1,
            Some(MaskPixels::Oriented) => self.exif.oriented += 1,
        }
        Ok(self.confusion.add(found, &sample.truth)?)
    }

    fn skip(&mut self, name: &str, reason: &'static str, message: String) {
        self.skipped.add(name, message);
        *self.by_reason.entry(reason).or_default() += 1;
    }
}

impl Exif {
    fn described(self) -> String {
        let Self { stored, oriented } = self;
        format!("{stored} with masks on the stored pixels, {oriented} with masks on the upright image")
    }
}

/// The settings, for the report.
fn settings(args: &SegmentArgs, facts: Facts, set: &SegmentationSet) -> Facts {
    let SegmentOptions { sliding, dense, background_threshold } = args.options();
    let SlidingWindow { window, stride, short_side } = sliding;
    let windows = format!("{window} pixels, stride {stride}, short side resized to {short_side}");
    let unused = format!("{} images without a mask or masks without an image", set.unused().len());
    facts
        .fact("layout", args.layout().to_string())
        .fact("prompts", args.templates().join(" | "))
        .fact("windows", windows)
        .fact("features", dense.to_string())
        .fact("background threshold", background_threshold.map_or("none".to_owned(), |x| x.to_string()))
        .fact("unused", unused)
        .fact("notes", if set.notes().is_empty() { "none".to_owned() } else { set.notes().join("; ") })
}
