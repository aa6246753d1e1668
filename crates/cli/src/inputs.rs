//! Features, heads and pairs from the command line.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use sail_support::is_vacant;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality, Side};
use sail_vl::data::{Features, Pairing, Pairs, Unmatched, open_features};
use sail_vl::layers::Head;
use sail_vl::recipe::{open_checked, open_unchecked};
use sail_vl::train::TrainError;

use crate::error::CliError;
use crate::head_spec::HeadSpec;
use crate::named::named;
use crate::objects;
use crate::progress::{BYTES, bar};

/// Number of rows that are projected at once.
pub(crate) const MICRO_BATCH: usize = 4096;

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
    pub(crate) unmatched: UnmatchedArgs,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
}

impl PairArgs {
    /// Opens and joins the features.
    pub(crate) fn open(&self) -> Result<Pairs, CliError> {
        self.open_with(&[])
    }

    /// Opens and joins the features, with more sets of captions.
    pub(crate) fn open_with(&self, extra_texts: &[String]) -> Result<Pairs, CliError> {
        let images = self.verify.open(&self.images, Modality::Image)?;
        let mut captions: Vec<Arc<dyn FeatureSource>> = vec![self.verify.open(&self.texts, Modality::Text)?];
        for spec in extra_texts {
            captions.push(self.verify.open(spec, Modality::Text)?);
        }
        let pairs = Pairs::join(images, captions, self.unmatched.unmatched.unwrap_or_default())?;
        warn_of_dropped_rows(pairs.pairing());
        Ok(pairs)
    }
}

/// What becomes of rows without a partner.
#[derive(Args, Clone)]
pub(crate) struct UnmatchedArgs {
    /// What becomes of rows whose key the other side does not have: `half` leaves them out, up to half of either side,
    /// `drop` however many they are, `error` fails [default: half].
    #[arg(long, value_name = "CHOICE", value_parser = named::<Unmatched>())]
    pub(crate) unmatched: Option<Unmatched>,
}

/// Whether features are verified before they are used.
#[derive(Args, Clone)]
pub(crate) struct VerifyArgs {
    /// Skip the verification of checksums, keys and rows before the features are used. It reads them once; files that have
    /// not changed since are not read again.
    #[arg(long)]
    pub(crate) no_verify: bool,
}

impl VerifyArgs {
    /// Opens features and, unless disabled, verifies checksums, keys and rows, if these files were not verified before.
    pub(crate) fn open(&self, spec: &str, modality: Modality) -> Result<Arc<Features>, CliError> {
        let spec = &*objects::local(spec)?;
        if self.no_verify {
            return Ok(open_unchecked(spec, modality)?);
        }
        let bar = bar(0, &format!("verify {spec}"), BYTES);
        let records = dirs::cache_dir().map(|folder| folder.join("sail").join("verified"));
        let features = open_checked(spec, modality, records.as_deref(), |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        });
        bar.finish_and_clear();
        Ok(features?)
    }
}

/// Loads a head, a file or that of a published pair, and checks that it was trained on these features.
pub(crate) fn head(
    path: &str,
    device: &Device,
    images: &dyn FeatureSource,
    texts: &dyn FeatureSource,
) -> Result<Head, CliError> {
    let head = HeadSpec::parse(path).load(device)?;
    for (side, features) in [(Side::Image, images), (Side::Text, texts)] {
        head.accepts(side, features.dim(), features.provenance())?;
    }
    Ok(head)
}

/// Warns about rows without a partner, which are dropped.
pub(crate) fn warn_of_dropped_rows(pairing: &Pairing) {
    if !pairing.is_complete() {
        tracing::warn!("{pairing} by key; the others are left out");
    }
}

/// Returns whether the run in a folder is continued. With `--resume`, a run starts where there is nothing to continue.
pub(crate) fn continues(path: &Path, resume: bool) -> Result<bool, TrainError> {
    match resume {
        true => Ok(!is_vacant(path)),
        false if path.exists() => Err(TrainError::Exists { path: path.to_owned() }),
        false => Ok(false),
    }
}

/// Removes the folder of a run that is about to be created, if it is empty.
pub(crate) fn make_room(path: &Path) {
    // A folder with files is not removed; if it remains, creating the run reports it.
    let _ = std::fs::remove_dir(path);
}

/// Opens features of any kind.
pub(crate) fn open_any(spec: &str) -> Result<Features, CliError> {
    open_features(spec).map_err(|source| CliError::Input { spec: spec.to_owned(), source })
}
