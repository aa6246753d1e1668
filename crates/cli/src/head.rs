//! `sail head`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sail_vl::burn::module::Module;
use sail_vl::burn::tensor::Tensor;
use sail_vl::core::{AlignmentHead, HeadError, Named, Provenance};
use sail_vl::layers::{ExportFormat, Head, HeadConfig, Holdout, SideConfig, Translation};
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::examples;
use crate::head_spec::HeadSpec;
use crate::named::named;
use crate::output::print;

#[derive(Subcommand)]
pub(crate) enum HeadCommand {
    /// Print the layers, dimensions and backbones of a head.
    #[command(after_long_help = examples::HEAD_SHOW)]
    Show(ShowArgs),
    /// Import a head that the authors' code saved.
    ///
    /// The file is one of `torch.save`, with the weights (linear, MLP, GLU or ShareLock) or with the state of a training, or a
    /// safetensors file with the same names. No code in it is executed.
    #[command(after_long_help = examples::HEAD_IMPORT)]
    Import(ImportArgs),
    /// Write the weights of a head under the names of the authors' code.
    #[command(after_long_help = examples::HEAD_EXPORT)]
    Export(ExportArgs),
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(value_name = "FILE_OR_PAIR")]
    head: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The file to import, or the name of a published pair, whose backbones are known.
    #[arg(value_name = "FILE_OR_PAIR")]
    file: String,
    /// A YAML file with the `target_dimension`, `linear_type` or `width_factor` of the head, which are compared with the
    /// tensors [default: the one beside the file, of the same name, if there is one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The vision model that the head was trained on, to record it in the head.
    #[arg(long, value_name = "ID")]
    vision: Option<String>,
    /// The text model that the head was trained on, to record it in the head.
    #[arg(long, value_name = "ID")]
    text: Option<String>,
    /// The head file to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`.
    #[arg(value_name = "FILE_OR_PAIR")]
    head: String,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// The format of the file [default: that of the extension of `--out`, `.safetensors` or `.pt`].
    #[arg(long, value_name = "FORMAT", value_parser = named::<ExportFormat>())]
    format: Option<ExportFormat>,
    #[command(flatten)]
    device: DeviceArgs,
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
    match command {
        HeadCommand::Show(args) => show(&HeadSpec::parse(&args.head).load(&args.device.open()?)?, args.json),
        HeadCommand::Import(args) => import(args),
        HeadCommand::Export(args) => export(args),
    }
}

fn import(args: &ImportArgs) -> Result<(), CliError> {
    refuse_existing(&args.out)?;
    let device = args.device.open()?;
    let head = match HeadSpec::parse(&args.file) {
        HeadSpec::File(path) => {
            let head = Head::import(path, args.config.as_deref(), &device).map_err(of_file(path))?;
            let [vision, text] = [&args.vision, &args.text].map(|model| model.as_ref().map(Provenance::new));
            head.with_provenance(vision.as_ref(), text.as_ref())
        }
        pair @ HeadSpec::Pair(_) => {
            if args.config.is_some() || args.vision.is_some() || args.text.is_some() {
                let message =
                    format!("{} is a published pair: omit `--config`, `--vision` and `--text`", args.file);
                return Err(CliError::Usage(message));
            }
            pair.load(&device)?
        }
    };
    head.save(&args.out).map_err(of_file(&args.out))?;
    show(&head, args.json)
}

fn export(args: &ExportArgs) -> Result<(), CliError> {
    refuse_existing(&args.out)?;
    let extension = args.out.extension().and_then(OsStr::to_str);
    let of_extension = || ExportFormat::ALL.iter().copied().find(|format| extension == Some(format.name()));
    let format = args.format.or_else(of_extension).ok_or_else(|| {
        CliError::Usage(format!(
            "{} does not end in .safetensors or .pt: state the `--format`",
            args.out.display()
        ))
    })?;
    let head = HeadSpec::parse(&args.head).load(&args.device.open()?)?;
    head.export(&args.out, format).map_err(of_file(Path::new(&args.head)))
}

fn of_file(path: &Path) -> impl Fn(HeadError) -> CliError {
    move |source| CliError::HeadFile { path: path.display().to_string(), source }
}

pub(crate) fn refuse_existing(path: &Path) -> Result<(), CliError> {
    match path.exists() {
        true => Err(CliError::Usage(format!("{} exists: choose another file", path.display()))),
        false => Ok(()),
    }
}

fn show(head: &Head, json: bool) -> Result<(), CliError> {
    let scalar = |x: Tensor<1>| f64::from(x.into_scalar::<f32>());
    let shown = Shown {
        config: head.config(),
        parameters: head.num_params(),
        scale: scalar(head.log_scale()).exp(),
        bias: scalar(head.bias()),
        holdout: head.holdout(),
    };
    print(json, &shown, |out| {
        writeln!(out, "dimension   {}", shown.config.dim)?;
        for (name, side) in [("image side", &shown.config.image), ("text side", &shown.config.text)] {
            let trained_on = side.as_ref().and_then(|side| side.trained_on.as_ref());
            let adapter = side.as_ref().and_then(|side| side.adapter.as_ref());
            let side = side.as_ref().map_or("none".to_owned(), describe);
            writeln!(out, "{name:<11} {side}")?;
            if let Some(adapter) = adapter {
                writeln!(out, "  {:<9} {adapter}", "adapters")?;
            }
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
    let translation = side.translation.as_ref().map_or(String::new(), |Translation { dim, to }| {
        let to = to.as_ref().map_or("an unknown backbone".to_owned(), ToString::to_string);
        format!("translated to {dim} of {to} -> ")
    });
    let verb = if side.translation.is_some() { "for" } else { "trained on" };
    format!("{} -> {translation}{norm}{:?}, {verb} {backbone}", side.input, side.projector)
}
