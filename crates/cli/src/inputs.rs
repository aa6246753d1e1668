//! Features, heads and pairs from the command line.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality, Side};
use sail_vl::data::{Features, Pairs, open_features, scan};
use sail_vl::layers::Head;
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
        let input = |source| CliError::Input { spec: spec.to_owned(), source };
        let features = open_features(spec).map_err(input)?;
        if let Some(found) = features.modality()
            && found != modality
        {
            let message = format!("{spec} holds {found} features, expected {modality} features");
            return Err(CliError::Usage(message));
        }
        if !self.no_verify {
            let bar = bar(features.rows() as u64, &format!("verify {spec}"), ROWS);
            features.verify(|_| ()).map_err(input)?;
            let checked = scan(&features, |progress| bar.set_position(progress.done));
            checked.map_err(|source| CliError::Features { spec: spec.to_owned(), source })?;
            bar.finish_and_clear();
        }
        Ok(Arc::new(features))
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
