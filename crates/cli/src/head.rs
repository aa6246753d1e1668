//! `sail head`.

use std::io::Write;

use clap::{Args, Subcommand};
use sail_vl::burn::module::Module;
use sail_vl::burn::tensor::Tensor;
use sail_vl::core::{AlignmentHead, Provenance};
use sail_vl::layers::{Head, HeadConfig, Holdout, SideConfig};
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::examples;
use crate::output::print;

#[derive(Subcommand)]
pub(crate) enum HeadCommand {
    /// Print the layers, dimensions and backbones of a head.
    #[command(after_long_help = examples::HEAD_SHOW)]
    Show(ShowArgs),
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The head file.
    #[arg(value_name = "FILE")]
    head: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    config: &'a HeadConfig,
    parameters: usize,
    scale: f64,
    bias: f64,
    holdout: Option<&'a Holdout>,
}

pub(crate) fn run(command: &HeadCommand) -> Result<(), CliError> {
    let HeadCommand::Show(args) = command;
    let device = args.device.open()?;
    let head = Head::load(&args.head, &device)
        .map_err(|source| CliError::HeadFile { path: args.head.clone(), source })?;
    let scalar = |x: Tensor<1>| f64::from(x.into_scalar::<f32>());
    let shown = Shown {
        config: head.config(),
        parameters: head.num_params(),
        scale: scalar(head.log_scale()).exp(),
        bias: scalar(head.bias()),
        holdout: head.holdout(),
    };
    print(args.json, &shown, |out| {
        writeln!(out, "dimension   {}", shown.config.dim)?;
        for (name, side) in [("image side", &shown.config.image), ("text side", &shown.config.text)] {
            let trained_on = side.as_ref().and_then(|side| side.trained_on.as_ref());
            let side = side.as_ref().map_or("none".to_owned(), describe);
            writeln!(out, "{name:<11} {side}")?;
            for (field, value) in trained_on.into_iter().flat_map(Provenance::fields) {
                if !["model", "revision"].contains(&field) {
                    writeln!(out, "  {field:<9} {value}")?;
                }
            }
        }
        writeln!(out, "parameters  {}", shown.parameters)?;
        writeln!(out, "logit       {:.3} * cos + {:.3}", shown.scale, shown.bias)?;
        match shown.holdout {
            None => writeln!(out, "held out    unknown pairs"),
            Some(Holdout { rows: 0, .. }) => writeln!(out, "held out    no pairs"),
            Some(Holdout { rows, seed, .. }) => {
                writeln!(out, "held out    {rows} pairs with the seed {seed}")
            }
        }
    })
}

fn describe(side: &SideConfig) -> String {
    let norm = if side.norm { "layer norm, " } else { "" };
    let backbone = side.trained_on.as_ref().map_or("an unknown backbone".to_owned(), ToString::to_string);
    format!("{} -> {norm}{:?}, trained on {backbone}", side.input, side.projector)
}
