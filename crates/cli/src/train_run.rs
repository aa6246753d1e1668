//! One training run of `sail train`.

use std::io::Write;
use std::path::Path;

use bytesize::ByteSize;
use sail_vl::burn::tensor::Device;
use sail_vl::layers::Head;
use sail_vl::recipe::{PreparedRun, Recipe};
use sail_vl::train::{Interrupter, Outcome, Plan, Progress, RunFolder, TensorBoard, Trainer};
use serde::Serialize;

use crate::device_args::resolve;
use crate::error::CliError;
use crate::inputs::{VerifyArgs, check_folder};
use crate::output::print;
use crate::progress::{self, Display};
use crate::train_args::TrainArgs;

/// Runs a recipe in the folder `out`.
pub(crate) fn execute(
    args: &TrainArgs,
    recipe: &Recipe,
    out: &str,
    resume: bool,
    interrupter: &Interrupter,
) -> Result<Outcome<Head>, CliError> {
    let checkpoint_every = args.checkpoint_every()?;
    let (device, others) = devices(args)?;
    check_folder(Path::new(out), resume)?;
    let run = prepare(recipe, &args.verify, &device)?;
    let recipe = run.recipe().clone();
    let trainer = trainer(args, run, others);
    // Before the folder exists, so that a run that cannot start leaves nothing behind.
    trainer.check()?;
    let folder = match resume {
        true => RunFolder::resume(out, &recipe)?,
        false => RunFolder::create(out, &recipe)?,
    };
    let mut trainer = trainer.folder(folder).checkpoint_every(checkpoint_every);
    if let Some(folder) = &args.tensorboard {
        trainer = trainer.observer(TensorBoard::create(folder)?);
    }
    let trainer = match progress::display() {
        Display::Bars => trainer.observer(Progress::new("train")),
        Display::Lines => trainer.observer(Progress::plain("train")),
        Display::Hidden => trainer,
    };
    Ok(trainer.interrupter(interrupter.clone()).run()?)
}

/// `--dry-run`: checks everything that a run checks before its first step, and prints its size.
pub(crate) fn dry_run(args: &TrainArgs) -> Result<(), CliError> {
    let recipe = args.recipe.recipe()?;
    let (device, others) = devices(args)?;
    check_folder(Path::new(&args.out), args.resume)?;
    let run = prepare(&recipe, &args.verify, &device)?;
    let (config, split) = (run.head().config().clone(), run.split().clone());
    let trainer = trainer(args, run, others);
    let plan = trainer.plan()?;
    let size = Size {
        pairs: split.train.len(),
        holdout: split.holdout.len(),
        caption_sets: 1 + recipe.extra_texts.len(),
        image_dim: config.image.as_ref().map_or(0, |side| side.input),
        text_dim: config.text.as_ref().map_or(0, |side| side.input),
        dim: config.dim,
        batch: recipe.train.batch_size,
        epochs: recipe.train.epochs,
        seconds_per_step: trainer.time_step()?.as_secs_f64(),
        plan,
        device: args.device.iter().map(|name| resolve(name)).collect(),
        out: args.out.trim_end_matches('/').to_owned(),
    };
    print(args.json, &size, |out| {
        let memory = size.plan.memory.map_or("unknown".to_owned(), |bytes| ByteSize(bytes).to_string());
        let divided = size.plan.micro_batch.map(|rows| format!(", micro-batches of {rows} rows"));
        let (seconds, steps) = (size.seconds_per_step, size.plan.steps);
        writeln!(out, "pairs       {} for training, {} held out", size.pairs, size.holdout)?;
        writeln!(out, "captions    {} of each image", size.caption_sets)?;
        writeln!(out, "head        {} + {} -> {} dimensions", size.image_dim, size.text_dim, size.dim)?;
        writeln!(out, "parameters  {}", size.plan.parameters)?;
        writeln!(out, "steps       {steps} of {} pairs, {} epochs", size.batch, size.epochs)?;
        writeln!(out, "memory      about {memory}{}", divided.unwrap_or_default())?;
        writeln!(out, "time        about {:.0} s, {seconds:.3} s per step", seconds * steps as f64)?;
        writeln!(out, "device      {}", size.device.join(", "))?;
        writeln!(out, "run         {} (dry run: nothing was written)", size.out)
    })
}

/// What a run would train.
#[derive(Serialize)]
struct Size {
    pairs: usize,
    holdout: usize,
    caption_sets: usize,
    image_dim: usize,
    text_dim: usize,
    dim: usize,
    batch: usize,
    epochs: usize,
    #[serde(flatten)]
    plan: Plan,
    seconds_per_step: f64,
    device: Vec<String>,
    out: String,
}

/// The device that holds the weights, and those that share its batches.
fn devices(args: &TrainArgs) -> Result<(Device, Vec<Device>), CliError> {
    let mut devices = args.devices()?;
    let others = devices.split_off(1);
    Ok((devices.remove(0), others))
}

fn prepare(recipe: &Recipe, verify: &VerifyArgs, device: &Device) -> Result<PreparedRun, CliError> {
    recipe.prepare_with(device, |spec, modality| verify.open(spec, modality))
}

fn trainer(args: &TrainArgs, run: PreparedRun, others: Vec<Device>) -> Trainer<'static, Head> {
    let mut trainer = run.trainer().devices(others);
    if let Some(rows) = args.micro_batch {
        trainer = trainer.micro_batch(rows);
    }
    if let Some(memory) = args.memory {
        trainer = trainer.memory(memory.as_u64());
    }
    trainer
}
