//! `sail head`.

use std::io::{Write, stdout};

use clap::{Args, Subcommand};
use sail_vl::burn::module::Module;
use sail_vl::burn::tensor::Tensor;
use sail_vl::core::AlignmentHead;
use sail_vl::device;
use sail_vl::layers::{Head, HeadConfig, SideConfig};
use serde::Serialize;

use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum HeadCommand {
    /// Print what a head is made of.
    Show(ShowArgs),
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The head file.
    head: String,
    /// Device to load it on.
    #[arg(long, default_value = "flex")]
    device: String,
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
}

pub(crate) fn run(command: &HeadCommand) -> Result<(), CliError> {
    let HeadCommand::Show(args) = command;
    let device = device::parse(&args.device)?;
    let head = Head::load(&args.head, &device)
        .map_err(|source| CliError::HeadFile { path: args.head.clone(), source })?;
    let scalar = |x: Tensor<1>| f64::from(x.into_scalar::<f32>());
    let shown = Shown {
        config: head.config(),
        parameters: head.num_params(),
        scale: scalar(head.log_scale()).exp(),
        bias: scalar(head.bias()),
    };
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&shown)?)?;
        return Ok(());
    }
    writeln!(out, "dimension   {}", shown.config.dim)?;
    for (name, side) in [("image side", &shown.config.image), ("text side", &shown.config.text)] {
        let side = side.as_ref().map_or("absent".to_owned(), describe);
        writeln!(out, "{name:<11} {side}")?;
    }
    writeln!(out, "parameters  {}", shown.parameters)?;
    let (scale, bias) = (shown.scale, shown.bias);
    writeln!(out, "logit       {scale:.3} * cos + {bias:.3}")?;
    Ok(())
}

fn describe(side: &SideConfig) -> String {
    let norm = if side.norm { "layer norm, " } else { "" };
    let origin = side.trained_on.as_ref().map_or("an unknown backbone".to_owned(), ToString::to_string);
    format!("{} -> {norm}{:?}, trained on {origin}", side.input, side.projector)
}
