//! `sail models check`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{Dtype, Modality};
use sail_vl::encoders::check::{self, Reference};
use sail_vl::encoders::{
    ModelDescription, ModelError, ModelFolder, TextOptions, VisionOptions, describe, load_text, load_vision,
    reference_code,
};
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::models::open_folder;
use crate::named::named;
use crate::output::print;

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The model: a folder, or an id on the Hugging Face hub, optionally with a revision (`id@revision`).
    #[arg(value_name = "FOLDER_OR_ID")]
    model: String,
    /// The side of a model that encodes both [default: both].
    #[arg(long, value_name = "SIDE")]
    side: Option<SideArg>,
    /// Compare with the row in a file, a JSON array as the program of `--emit-python` prints it.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Print a Python program that prints the row by the reference library, and do not load the model.
    #[arg(long, conflicts_with_all = ["expect", "json"])]
    emit_python: bool,
    /// Data type that the model computes in.
    #[arg(long, value_name = "DTYPE", default_value = "f32", value_parser = named::<Dtype>())]
    precision: Dtype,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SideArg {
    Images,
    Texts,
}

impl SideArg {
    fn modality(self) -> Modality {
        match self {
            Self::Images => Modality::Image,
            Self::Texts => Modality::Text,
        }
    }
}

/// Name of a side in the output.
fn name(side: Modality) -> &'static str {
    match side {
        Modality::Image => "images",
        Modality::Text => "texts",
    }
}

/// Values of a row that are printed.
const SHOWN: usize = 6;

#[derive(Serialize)]
struct Checked {
    model: ModelDescription,
    rows: Vec<CheckedRow>,
}

#[derive(Serialize)]
struct CheckedRow {
    side: Modality,
    dim: usize,
    norm: f64,
    row: Vec<f32>,
    reference: Option<Compared>,
}

#[derive(Serialize)]
struct Compared {
    library: String,
    distance: f64,
    tolerance: f64,
}

impl Compared {
    fn is_equal(&self) -> bool {
        self.distance <= self.tolerance
    }
}

pub(crate) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let folder = open_folder(&args.model, None)?;
    let model = describe(&folder).map_err(|source| args.error(source))?;
    let sides = args.sides(&model)?;
    if args.emit_python {
        return args.emit_python(&folder, &sides);
    }
    let expected = args.expect.as_deref().map(|path| read_row(path, &args.model, &sides)).transpose()?;
    let device = args.device.open()?;
    let mut rows = Vec::new();
    for side in sides {
        let (row, hash) = args.embed(&folder, side, &device)?;
        let known = || {
            check::references().into_iter().find(|known| known.side == side && known.weights_sha256 == hash)
        };
        rows.push(args.compare(side, row, expected.clone().or_else(known)));
    }
    let checked = Checked { model, rows };
    print(args.json, &checked, |out| write(out, &checked))?;
    let differing = checked.rows.into_iter().find_map(|row| {
        row.reference.filter(|compared| !compared.is_equal()).map(|compared| (name(row.side), compared))
    });
    match differing {
        None => Ok(()),
        Some((side, Compared { library, distance, tolerance })) => {
            Err(CliError::Differs { side, library, distance, tolerance })
        }
    }
}

fn write(out: &mut impl Write, checked: &Checked) -> std::io::Result<()> {
    write!(out, "{}", checked.model)?;
    for CheckedRow { side, dim, norm, row, reference } in &checked.rows {
        let first: Vec<String> = row.iter().take(SHOWN).map(|value| format!("{value:.5}")).collect();
        writeln!(out, "row of {}", name(*side))?;
        writeln!(out, "  values     {dim}, with norm {norm:.5}: {} ...", first.join(" "))?;
        match reference {
            None => {
                writeln!(out, "  reference  unknown for these weights: see `--emit-python` and `--expect`")?
            }
            Some(compared) => writeln!(
                out,
                "  reference  {}, {:.1e} of the scale away: {}",
                compared.library,
                compared.distance,
                if compared.is_equal() { "equal" } else { "different" }
            )?,
        }
    }
    Ok(())
}

impl CheckArgs {
    fn error(&self, error: ModelError) -> CliError {
        match error {
            ModelError::Option(error) => error.into(),
            source => CliError::Model { spec: self.model.clone(), source },
        }
    }

    fn sides(&self, model: &ModelDescription) -> Result<Vec<Modality>, CliError> {
        let sides: Vec<Modality> = model.sides().collect();
        match self.side.map(SideArg::modality) {
            None => Ok(sides),
            Some(side) if sides.contains(&side) => Ok(vec![side]),
            Some(side) => {
                let reason =
                    model.unavailable.first().map_or_else(String::new, |reason| format!(": {reason}"));
                Err(CliError::Usage(format!("{} does not encode {}{reason}", self.model, name(side))))
            }
        }
    }

    fn emit_python(&self, folder: &ModelFolder, sides: &[Modality]) -> Result<(), CliError> {
        // A revision is in the path of the cached files.
        let is_id = !Path::new(&self.model).is_dir() && !self.model.contains('@');
        let model = if is_id { self.model.clone() } else { folder.path().display().to_string() };
        let mut programs = Vec::new();
        for &side in sides {
            let code = reference_code(folder, side, &model).map_err(|source| self.error(source))?;
            programs.extend(code.map(|code| format!("# The row of {}.\n{code}", name(side))));
        }
        if programs.is_empty() {
            return Err(CliError::Usage(format!("no Python library reads the files of {}", self.model)));
        }
        print(false, &(), |out| out.write_all(programs.join("\n").as_bytes()))
    }

    /// Returns the row of a side and the hash of the weights.
    fn embed(
        &self,
        folder: &ModelFolder,
        side: Modality,
        device: &Device,
    ) -> Result<(Vec<f32>, String), CliError> {
        let (row, provenance): (Tensor<2>, _) = match side {
            Modality::Image => {
                let options = VisionOptions { dtype: self.precision, ..VisionOptions::default() };
                let tower = load_vision(folder, &options, device).map_err(|source| self.error(source))?;
                (tower.embed_images(&[check::image()])?, tower.provenance())
            }
            Modality::Text => {
                let options = TextOptions { dtype: self.precision, ..TextOptions::default() };
                let tower = load_text(folder, &options, device).map_err(|source| self.error(source))?;
                (tower.embed_texts(&[check::TEXT])?, tower.provenance())
            }
        };
        Ok((row.into_data().iter::<f32>().collect(), provenance.weights_sha256.unwrap_or_default()))
    }

    fn compare(&self, side: Modality, row: Vec<f32>, reference: Option<Reference>) -> CheckedRow {
        let tolerance = match self.precision {
            Dtype::F32 => 1e-3,
            // Rounding of every layer.
            Dtype::F16 => 3e-2,
            Dtype::BF16 => 0.2,
        };
        let reference = reference.map(|reference| Compared {
            distance: reference.distance(&row),
            library: reference.library,
            tolerance,
        });
        let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        CheckedRow { side, dim: row.len(), norm, row, reference }
    }
}

/// Reads the row of the only side that is checked.
fn read_row(path: &Path, model: &str, sides: &[Modality]) -> Result<Reference, CliError> {
    let [side] = *sides else {
        return Err(CliError::Usage("`--expect` needs `--side`, because the model encodes both".to_owned()));
    };
    let invalid = |reason: String| CliError::Usage(format!("cannot use {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let row: Vec<f64> = serde_json::from_str(&text)
        .map_err(|error| invalid(format!("{error}, expected a JSON array of numbers")))?;
    let reference = Reference::of_row(model, side, &row);
    Ok(reference.computed_by(path.display().to_string()))
}
