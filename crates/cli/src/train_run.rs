//! One training run of `sail train`.

use std::io::Write;
use std::path::Path;

use bytesize::ByteSize;
use sail_vl::burn::tensor::Device;
use sail_vl::core::AdapterConfig;
use sail_vl::data::Pairing;
use sail_vl::layers::Head;
use sail_vl::recipe::{PreparedRun, Recipe};
use sail_vl::train::{Event, Observer, Outcome, Plan, Progress, RunFolder, TensorBoard, Trainer};
use serde::Serialize;

use crate::error::CliError;
use crate::inputs::{VerifyArgs, continues, make_room};
use crate::interrupt::{Saving, interrupter};
use crate::output::print;
use crate::progress::{self, Display};
use crate::train_args::TrainArgs;

/// A run that has ended, and the pairs that it had.
pub(crate) struct Executed {
    pub(crate) outcome: Outcome<Head>,
    pub(crate) pairing: Pairing,
    /// Whether there was nothing left to do.
    pub(crate) was_complete: bool,
}

/// Runs a recipe in the folder `out`, or continues its run there.
pub(crate) fn execute(
    args: &TrainArgs,
    recipe: &Recipe,
    out: &str,
    resume: bool,
) -> Result<Executed, CliError> {
    let checkpoint_every = args.checkpoint_every()?;
    let (device, others) = devices(args)?;
    let path = Path::new(out);
    let continues = continues(path, resume)?;
    let was_complete = continues && path.join("head.safetensors").exists();
    let run = prepare(recipe, &args.verify, &device)?;
    let (recipe, pairing) = (run.recipe().clone(), run.pairing().clone());
    let trainer = trainer(args, run, others);
    // Before the folder exists, so that a run that cannot start leaves nothing behind.
    trainer.check()?;
    let folder = if continues {
        recipe.resume(path)?
    } else {
        if resume {
            make_room(path);
        }
        RunFolder::create(path, &recipe)?
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
    let outcome = trainer.observer(Steps(None)).interrupter(interrupter()).run()?;
    Ok(Executed { outcome, pairing, was_complete })
}

/// While steps are taken, an interrupt waits for a checkpoint.
struct Steps(Option<Saving>);

impl<H> Observer<H> for Steps {
    fn observe(&mut self, event: Event<'_>, _: &H) {
        match event {
            Event::Started { .. } => self.0 = Some(Saving::start()),
            Event::Finished => self.0 = None,
            _ => {}
        }
    }
}

/// `--dry-run`: checks everything that a run checks before its first step, and prints its size.
pub(crate) fn dry_run(args: &TrainArgs) -> Result<(), CliError> {
    let recipe = args.recipe.recipe()?;
    let (device, others) = devices(args)?;
    continues(Path::new(&args.out), args.resume)?;
    let run = prepare(&recipe, &args.verify, &device)?;
    let (config, split) = (run.head().config().clone(), run.split().clone());
    let (batch, pairing) = (run.recipe().train.batch_size, run.pairing().clone());
    let trainer = trainer(args, run, others);
    let plan = trainer.plan()?;
    let size = Size {
        pairs: split.train.len(),
        holdout: split.holdout.len(),
        caption_sets: 1 + recipe.extra_texts.len(),
        image_dim: config.image.as_ref().map_or(0, |side| side.input),
        text_dim: config.text.as_ref().map_or(0, |side| side.input),
        dim: config.dim,
        adapters: config.image.as_ref().and_then(|side| side.adapter.clone()),
        batch,
        pairing,
        epochs: recipe.train.epochs,
        seconds_per_step: trainer.time_step()?.as_secs_f64(),
        plan,
        device: args.device.names(),
        out: args.out.trim_end_matches('/').to_owned(),
    };
    print(args.json, &size, |out| {
        let memory = size.plan.memory.map_or("unknown".to_owned(), |bytes| ByteSize(bytes).to_string());
        let divided = size.plan.micro_batch.map(|rows| format!(", micro-batches of {rows} rows"));
        let (seconds, steps) = (size.seconds_per_step, size.plan.steps);
        writeln!(out, "pairs       {} for training, {} held out", size.pairs, size.holdout)?;
        writeln!(out, "captions    {} of each image", size.caption_sets)?;
        writeln!(out, "head        {} + {} -> {} dimensions", size.image_dim, size.text_dim, size.dim)?;
        if let Some(adapters) = &size.adapters {
            writeln!(out, "adapters    {adapters}")?;
        }
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
    /// Of the image encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapters: Option<AdapterConfig>,
    batch: usize,
    pairing: Pairing,
    epochs: usize,
    #[serde(flatten)]
    plan: Plan,
    seconds_per_step: f64,
    device: Vec<String>,
    out: String,
}

/// The device that holds the weights, and those that share its batches.
fn devices(args: &TrainArgs) -> Result<(Device, Vec<Device>), CliError> {
    let mut devices = args.device.open()?;
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
