//! One training run of `sail train`.

use std::path::Path;
use std::sync::Arc;

use sail_vl::burn::module::Module;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality};
use sail_vl::data::{DataError, Pairs};
use sail_vl::layers::{Head, HeadConfig};
use sail_vl::losses::LossConfig;
use sail_vl::train::{Interrupter, Outcome, Progress, RunFolder, TrainConfig, Trainer};
use serde::Serialize;

use crate::device_args::resolve;
use crate::error::CliError;
use crate::inputs::check_folder;
use crate::output::print;
use crate::progress::{self, Display};
use crate::train_args::TrainArgs;

/// The content of `config.json`: everything that determines the result.
#[derive(Serialize)]
struct RunConfig<'a> {
    images: &'a str,
    texts: &'a str,
    extra_texts: &'a [String],
    rows: usize,
    holdout: usize,
    head: HeadConfig,
    loss: &'a LossConfig,
    train: TrainConfig,
}

pub(crate) fn execute(args: &TrainArgs, interrupter: &Interrupter) -> Result<Outcome<Head>, CliError> {
    args.check()?;
    let (train, loss) = (args.train_config()?, args.loss_config()?);
    let mut devices = args.devices()?;
    let others = devices.split_off(1);
    let out = Path::new(&args.out);
    check_folder(out, args.resume)?;

    let (pairs, head) = open(args, &devices[0])?;
    let config = RunConfig {
        images: &args.pairs.images,
        texts: &args.pairs.texts,
        extra_texts: &args.extra_texts,
        rows: pairs.len(),
        holdout: args.holdout,
        head: head.config().clone(),
        loss: &loss,
        train: train.clone(),
    };
    let trainer = trainer(args, pairs, head, others)?;
    let folder =
        if args.resume { RunFolder::resume(out, &config)? } else { RunFolder::create(out, &config)? };
    let trainer = trainer.folder(folder).checkpoint_every(args.checkpoint_every()?);
    let trainer = match progress::display() {
        Display::Bars => trainer.observer(Progress::new("train")),
        Display::Lines => trainer.observer(Progress::plain("train")),
        Display::Hidden => trainer,
    };
    Ok(trainer.interrupter(interrupter.clone()).run()?)
}

/// `--dry-run`: checks everything that a run checks before its first step, and prints its size.
pub(crate) fn dry_run(args: &TrainArgs) -> Result<(), CliError> {
    args.check()?;
    let mut devices = args.devices()?;
    let others = devices.split_off(1);
    check_folder(Path::new(&args.out), args.resume)?;
    let (pairs, head) = open(args, &devices[0])?;
    let TrainConfig { batch, epochs, .. } = args.train_config()?;
    let train_pairs = pairs.len().saturating_sub(args.holdout);
    let (config, parameters) = (head.config().clone(), head.num_params());
    trainer(args, pairs, head, others)?;
    let plan = Plan {
        pairs: train_pairs,
        holdout: args.holdout,
        caption_sets: 1 + args.extra_texts.len(),
        image_dim: config.image.as_ref().map_or(0, |side| side.input),
        text_dim: config.text.as_ref().map_or(0, |side| side.input),
        dim: config.dim,
        parameters,
        batch,
        epochs,
        steps: train_pairs / batch * epochs,
        device: args.device.iter().map(|name| resolve(name)).collect(),
        out: args.out.trim_end_matches('/').to_owned(),
    };
    print(args.json, &plan, |out| {
        use std::io::Write;
        writeln!(out, "pairs       {} for training, {} held out", plan.pairs, plan.holdout)?;
        writeln!(out, "captions    {} of each image", plan.caption_sets)?;
        writeln!(out, "head        {} + {} -> {} dimensions", plan.image_dim, plan.text_dim, plan.dim)?;
        writeln!(out, "parameters  {}", plan.parameters)?;
        writeln!(out, "steps       {} of {} pairs, {} epochs", plan.steps, plan.batch, plan.epochs)?;
        writeln!(out, "device      {}", plan.device.join(", "))?;
        writeln!(out, "run         {} (dry run: nothing was written)", plan.out)
    })
}

/// What a run would train.
#[derive(Serialize)]
struct Plan {
    pairs: usize,
    holdout: usize,
    caption_sets: usize,
    image_dim: usize,
    text_dim: usize,
    dim: usize,
    parameters: usize,
    batch: usize,
    epochs: usize,
    steps: usize,
    device: Vec<String>,
    out: String,
}

/// Opens the features and initializes a head for them.
fn open(args: &TrainArgs, device: &Device) -> Result<(Pairs, Head), CliError> {
    let verify = &args.pairs.verify;
    let images = verify.open(&args.pairs.images, Modality::Image)?;
    let texts = verify.open(&args.pairs.texts, Modality::Text)?;
    let mut captions: Vec<Arc<dyn FeatureSource>> = vec![texts.clone()];
    for spec in &args.extra_texts {
        captions.push(verify.open(spec, Modality::Text)?);
    }
    let config = args.head_config(images.dim(), texts.dim())?;
    let head =
        Head::new(&config, args.seed, device)?.with_provenance(images.provenance(), texts.provenance());
    let pairs = Pairs::new(images, captions).map_err(|error| match error {
        DataError::CaptionSets { set, field, found, expected } => {
            let (extra, texts) = (&args.extra_texts[set - 1], &args.pairs.texts);
            CliError::Usage(format!("{extra} has the {field} {found}, expected {expected} as {texts} has"))
        }
        other => other.into(),
    })?;
    Ok((pairs, head))
}

/// Sets up a trainer and checks it.
fn trainer(
    args: &TrainArgs,
    pairs: Pairs,
    head: Head,
    others: Vec<Device>,
) -> Result<Trainer<'static, Head>, CliError> {
    let loss = args.loss_config()?.build()?;
    let split = pairs.split(args.holdout, args.seed)?;
    let trainer = Trainer::new(args.train_config()?, head, loss.into(), split.train);
    let mut trainer = trainer.holdout(split.holdout).devices(others);
    if let Some(rows) = args.micro_batch {
        trainer = trainer.chunk(rows);
    }
    if let Some(memory) = args.memory {
        trainer = trainer.memory(memory.as_u64());
    }
    trainer.check()?;
    Ok(trainer)
}
