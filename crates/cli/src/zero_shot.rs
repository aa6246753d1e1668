//! `sail eval zero-shot`.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;
use sail_vl::core::{FeatureSource, Modality};
use sail_vl::data::Pairs;
use sail_vl::eval::{class_weights, project_images, project_texts, zero_shot};

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::holdout::HoldoutArgs;
use crate::inputs::{self, MICRO_BATCH, VerifyArgs};
use crate::labels;
use crate::output::print;
use crate::score_tables::write_zero_shot;

#[derive(Args)]
pub(crate) struct ZeroShotArgs {
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(long, value_name = "FILE_OR_PAIR")]
    head: String,
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR.
    #[arg(long, value_name = "FEATURES")]
    images: String,
    /// Text features of the class prompts. In a store, the prompts of a class share a key, and classes are numbered in
    /// the order of their first prompt; in a single file, row N is the only prompt of class N.
    #[arg(long, value_name = "FEATURES")]
    prompts: String,
    /// The class of each image: an integer tensor, FILE.safetensors:TENSOR, or `folders` for keys such as CLASS/NAME.
    /// Folders are paired with the keys of the prompts by name, else by number, else in the order of their names.
    #[arg(long, value_name = "CLASSES")]
    labels: String,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    holdout: HoldoutArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ZeroShotArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let images = args.verify.open(&args.images, Modality::Image)?;
    let prompts = args.verify.open(&args.prompts, Modality::Text)?;
    let prompt_rows: Vec<usize> = (0..prompts.rows()).collect();
    let keys = prompts.keys(&prompt_rows);
    let keys = keys.map_err(|source| CliError::Features { spec: args.prompts.clone(), source })?;
    let (class_of_prompt, classes) = number_classes(keys);
    let labels = labels::read_named(&args.labels, &args.images, &*images, &classes)?;
    let head = inputs::head(&args.head, &device, &*images, &*prompts)?;
    let mut rows: Vec<usize> = (0..images.rows()).collect();
    if args.holdout.is_set() {
        // A split depends on the keys of the images alone, so the images can stand in for the texts.
        let images: Arc<dyn FeatureSource> = images.clone();
        let pairs = Pairs::new(images.clone(), vec![images])?;
        let pairs = args.holdout.select(&args.head, &head, pairs)?;
        rows = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    }
    let labels: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
    let prompts = project_texts(&head, &*prompts, &prompt_rows, MICRO_BATCH)?;
    let weights = class_weights(prompts, &class_of_prompt, classes.len())?;
    let images = project_images(&head, &*images, &rows, MICRO_BATCH)?;
    let result = zero_shot(images, weights, &labels)?;
    print(args.json, &result, |out| write_zero_shot(out, &result))
}

/// Returns the class index of every prompt, and the key of every class.
fn number_classes(keys: Vec<String>) -> (Vec<usize>, Vec<String>) {
    let (mut indices, mut classes) = (HashMap::new(), Vec::new());
    let class = |key: String| {
        *indices.entry(key).or_insert_with_key(|key| {
            classes.push(key.clone());
            classes.len() - 1
        })
    };
    (keys.into_iter().map(class).collect(), classes)
}
