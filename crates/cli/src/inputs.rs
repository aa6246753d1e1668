//! Features, heads and pairs from the command line.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality, Side};
use sail_vl::data::{Features, Pairs};
use sail_vl::layers::Head;
use sail_vl::recipe::{open_checked, open_unchecked};
use sail_vl::train::TrainError;

use crate::error::CliError;
use crate::progress::{ROWS, bar};

/// The features of image-caption pairs.
#[derive(Args, Clone)]
pub(crate) struct PairArgs {
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as
    /// one.
    #[arg(long, value_name = "FEATURES")]
    pub(crate) images: String,
    /// Text features, paired with the images by key; several as above.
    #[arg(long, value_name = "FEATURES")]
    pub(crate) texts: String,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
}

/// Whether features are verified before they are used.
#[derive(Args, Clone)]
pub(crate) struct VerifyArgs {
    /// Skip the verification of checksums and rows before the features are used.
    #[arg(long)]
    pub(crate) no_verify: bool,
}

impl VerifyArgs {
    /// Opens features and, unless disabled, reads all of them once to verify checksums and rows.
    pub(crate) fn open(&self, spec: &str, modality: Modality) -> Result<Arc<Features>, CliError> {
        if self.no_verify {
            return Ok(open_unchecked(spec, modality)?);
        }
        let bar = bar(0, &format!("verify {spec}"), ROWS);
        let features = open_checked(spec, modality, |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        });
        bar.finish_and_clear();
        Ok(features?)
    }
}

/// Loads a head and checks that it was trained on these features.
pub(crate) fn head(
    path: &str,
    device: &Device,
    images: &dyn FeatureSource,
    texts: &dyn FeatureSource,
) -> Result<Head, CliError> {
    let head =
        Head::load(path, device).map_err(|source| CliError::HeadFile { path: path.to_owned(), source })?;
    for (side, features) in [(Side::Image, images), (Side::Text, texts)] {
        head.accepts(side, features.dim(), features.provenance())?;
    }
    Ok(head)
}

/// The held-out pairs of a run.
#[derive(Args)]
pub(crate) struct HoldoutArgs {
    /// Evaluate only the pairs that `sail train` held out with this `--holdout` and the same seed.
    #[arg(long, value_name = "ROWS")]
    pub(crate) holdout: Option<usize>,
    /// The seed of that run.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

impl HoldoutArgs {
    /// Keeps the held-out pairs, or all pairs if there is no holdout.
    pub(crate) fn select(&self, pairs: Pairs) -> Result<Pairs, CliError> {
        match self.holdout {
            None => Ok(pairs),
            Some(0) => Err(CliError::Usage(
                "`--holdout` is 0, expected at least 1: omit it to evaluate all rows".into(),
            )),
            Some(rows) => Ok(pairs.split(rows, self.seed)?.holdout),
        }
    }
}

/// Checks that the folder of a run exists if and only if the run is resumed.
pub(crate) fn check_folder(path: &Path, resume: bool) -> Result<(), TrainError> {
    let owned = path.to_owned();
    match (resume, path.exists()) {
        (false, true) => Err(TrainError::Exists { path: owned }),
        (true, false) => Err(TrainError::NoRun { path: owned }),
        _ => Ok(()),
    }
}
