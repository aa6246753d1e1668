//! `sail eval retrieval`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use sail_vl::core::FeatureSource;
use sail_vl::data::Pairing;
use sail_vl::eval::{BlockSize, Retrieval, project_images, project_texts, retrieval};
use sail_vl::report::Facts;
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::holdout::HoldoutArgs;
use crate::inputs::{self, MICRO_BATCH, PairArgs};
use crate::languages::{self, Images, Language, Scores};
use crate::output::print;
use crate::retrieval_report::{self, Embedded};
use crate::score_tables::write_retrieval;

#[derive(Args)]
pub(crate) struct RetrievalArgs {
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(long, value_name = "FILE_OR_PAIR")]
    head: String,
    #[command(flatten)]
    pairs: PairArgs,
    /// Captions of the same images in another language, such as de=german; repeat it for each language. Every language is
    /// evaluated on the images that have a caption in it, and has a row in a table with `--texts`, the first.
    #[arg(long, value_name = "NAME=FEATURES")]
    language: Vec<Language>,
    #[command(flatten)]
    holdout: HoldoutArgs,
    /// Write an HTML report; `--json` then includes its galleries and similarities.
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

/// The scores, and what the report shows beside them.
#[derive(Serialize)]
struct Reported<'a> {
    #[serde(flatten)]
    result: &'a Retrieval,
    pairing: &'a Pairing,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    languages: Vec<Scores>,
    #[serde(flatten)]
    shown: Option<retrieval_report::Shown>,
}

pub(crate) fn run(args: &RetrievalArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let PairArgs { images: image_spec, texts: text_spec, .. } = &args.pairs;
    let pairs = args.pairs.open()?;
    let head = inputs::head(&args.head, &device, &**pairs.images(), &**pairs.captions(0))?;
    let held_out = args.holdout.is_set();
    let pairs = args.holdout.select(&args.head, &head, pairs)?;
    let image_rows: Vec<usize> = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    let (text_rows, text_to_image) = pairs.text_to_image(0);
    let images = project_images(&head, &**pairs.images(), &image_rows, MICRO_BATCH)?;
    let texts = project_texts(&head, &**pairs.captions(0), &text_rows, MICRO_BATCH)?;
    let result = retrieval(images.clone(), texts.clone(), &text_to_image, &BlockSize::default())?;
    let evaluated = Images { pairs: &pairs, rows: &image_rows, embeddings: &images };
    let mut languages = languages::evaluate(&args.language, &args.pairs.verify, &head, &evaluated)?;
    if !languages.is_empty() {
        let first = Scores::new("texts", result.clone(), &text_to_image, image_rows.len(), pairs.pairing());
        languages.insert(0, first);
    }
    let mut shown = None;
    if let Some(path) = &args.report {
        let keys = |source: &dyn FeatureSource, rows: &[usize], spec: &str| {
            source.keys(rows).map_err(|source| CliError::Features { spec: spec.to_owned(), source })
        };
        let embedded = Embedded {
            image_keys: keys(&**pairs.images(), &image_rows, image_spec)?,
            text_keys: keys(&**pairs.captions(0), &text_rows, text_spec)?,
            text_to_image: &text_to_image,
            images,
            texts,
        };
        let holdout = if held_out { pairs.len().to_string() } else { "none: all rows".to_owned() };
        let facts = Facts::new()
            .fact("images", image_spec)
            .fact("texts", text_spec)
            .fact("pairs", pairs.pairing().to_string())
            .fact("head", &args.head)
            .fact("holdout", holdout);
        let (mut report, values) =
            retrieval_report::report(facts, &result, &embedded, args.image_dir.as_deref())?;
        if !languages.is_empty() {
            report = report.section(languages::section(&languages));
        }
        report.save(path)?;
        shown = Some(values);
    }
    let reported = Reported { result: &result, pairing: pairs.pairing(), languages, shown };
    print(args.json, &reported, |out| {
        if !pairs.pairing().is_complete() {
            writeln!(out, "{}", pairs.pairing())?;
        }
        write_retrieval(out, &result)?;
        match reported.languages.as_slice() {
            [] => Ok(()),
            languages => languages::write(out, languages),
        }
    })
}
