//! Features, heads and pairs from the command line.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality, Side};
use sail_vl::data::{Features, Pairs, open_features, scan};
use sail_vl::layers::Head;
use sail_vl::train::{Interrupter, TrainError};

use crate::error::CliError;

/// The pairs to work on.
#[derive(Args, Clone)]
pub(crate) struct PairArgs {
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several with commas between are read as
    /// one.
    #[arg(long, value_name = "FEATURES")]
    pub(crate) images: String,
    /// Text features, paired with the images by key; several as above.
    #[arg(long, value_name = "FEATURES")]
    pub(crate) texts: String,
    /// Use features as they are, without checking checksums and every row first.
    #[arg(long)]
    pub(crate) no_verify: bool,
}

/// Opens features and, unless told not to, reads all of them once: checksums, and rows that cannot be used.
pub(crate) fn features(spec: &str, modality: Modality, verify: bool) -> Result<Arc<Features>, CliError> {
    let input = |source| CliError::Input { spec: spec.to_owned(), source };
    let features = open_features(spec).map_err(input)?;
    if let Some(found) = features.modality()
        && found != modality
    {
        let message = format!("{spec} holds {found} features, expected {modality} features");
        return Err(CliError::Usage(message));
    }
    if verify {
        let bar = bar(features.rows() as u64, &format!("checks {spec}"), ROWS);
        features.verify(|_| ()).map_err(input)?;
        let checked = scan(&features, |progress| bar.set_position(progress.done));
        checked.map_err(|source| CliError::Features { spec: spec.to_owned(), source })?;
        bar.finish_and_clear();
    }
    Ok(Arc::new(features))
}

/// What the bar of rows shows.
pub(crate) const ROWS: &str = "{pos}/{len} rows";

/// A progress bar on a terminal, nothing elsewhere; `count` is the part of its template that counts.
pub(crate) fn bar(length: u64, label: &str, count: &str) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!("{{prefix}}  {{wide_bar}} {count}  {{eta}} left"));
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_prefix(label.to_owned())
}

/// Loads a head and checks that it was made for these features.
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

/// Pairs features, and keeps the holdout of a run alone where one is asked for.
pub(crate) fn holdout(pairs: Pairs, holdout: Option<usize>, seed: u64) -> Result<Pairs, CliError> {
    match holdout {
        None => Ok(pairs),
        Some(0) => {
            Err(CliError::Usage("`--holdout` is 0, expected at least 1: leave it out for all rows".into()))
        }
        Some(rows) => Ok(pairs.split(rows, seed)?.holdout),
    }
}

/// Whether the folder of a run is there exactly if it is to be continued.
pub(crate) fn check_folder(path: &Path, resume: bool) -> Result<(), TrainError> {
    let owned = path.to_owned();
    match (resume, path.exists()) {
        (false, true) => Err(TrainError::Exists { path: owned }),
        (true, false) => Err(TrainError::NoRun { path: owned }),
        _ => Ok(()),
    }
}

/// What stops trainings when the process is interrupted.
pub(crate) fn interrupter() -> Interrupter {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    // Where no handler can be set, an interrupt kills the process, which a resume survives as well.
    let _ = ctrlc::set_handler(move || handle.stop(Some("interrupted")));
    interrupter
}
