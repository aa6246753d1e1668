//! `sail eval retrieval`.

use std::path::PathBuf;

use clap::Args;
use sail_vl::core::{FeatureSource, Modality};
use sail_vl::data::Pairs;
use sail_vl::eval::{BlockSize, Retrieval, project_images, project_texts, retrieval};
use sail_vl::report::Facts;
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::inputs::{self, HoldoutArgs, PairArgs};
use crate::output::print;
use crate::retrieval_report::{self, Embedded};
use crate::score_tables::write_retrieval;

/// Rows that go through the head at once.
const MICRO_BATCH: usize = 4096;

#[derive(Args)]
pub(crate) struct RetrievalArgs {
    /// The head file.
    #[arg(long, value_name = "FILE")]
    head: String,
    #[command(flatten)]
    pairs: PairArgs,
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
    #[serde(flatten)]
    shown: Option<retrieval_report::Shown>,
}

pub(crate) fn run(args: &RetrievalArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let PairArgs { images: image_spec, texts: text_spec, verify } = &args.pairs;
    let images = verify.open(image_spec, Modality::Image)?;
    let texts = verify.open(text_spec, Modality::Text)?;
    let head = inputs::head(&args.head, &device, &*images, &*texts)?;
    let pairs = args.holdout.select(Pairs::new(images, vec![texts])?)?;
    let image_rows: Vec<usize> = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    let (text_rows, text_to_image) = pairs.text_to_image(0);
    let images = project_images(&head, &**pairs.images(), &image_rows, MICRO_BATCH)?;
    let texts = project_texts(&head, &**pairs.captions(0), &text_rows, MICRO_BATCH)?;
    let result = retrieval(images.clone(), texts.clone(), &text_to_image, &BlockSize::default())?;
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
        let holdout = args.holdout.holdout.map_or("none: all rows".to_owned(), |rows| rows.to_string());
        let facts = Facts::new()
            .fact("images", image_spec)
            .fact("texts", text_spec)
            .fact("head", &args.head)
            .fact("holdout", holdout);
        let (report, values) =
            retrieval_report::report(facts, &result, &embedded, args.image_dir.as_deref())?;
        report.save(path)?;
        shown = Some(values);
    }
    print(args.json, &Reported { result: &result, shown }, |out| write_retrieval(out, &result))
}
