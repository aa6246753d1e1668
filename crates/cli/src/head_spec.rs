//! Heads on the command line: a file, or the name of a published pair.

use std::path::Path;

use sail_vl::Pair;
use sail_vl::burn::tensor::Device;
use sail_vl::hub::HubOptions;
use sail_vl::layers::Head;

use crate::error::CliError;
use crate::progress;

/// A head on the command line.
pub(crate) enum HeadSpec<'a> {
    /// A head file.
    File(&'a Path),
    /// The head of a published pair.
    Pair(&'static Pair),
}

impl<'a> HeadSpec<'a> {
    /// An existing file, else the name of a pair, else a file that is missing.
    pub(crate) fn parse(head: &'a str) -> Self {
        let path = Path::new(head);
        match Pair::find(head) {
            Some(pair) if !path.exists() => Self::Pair(pair),
            _ => Self::File(path),
        }
    }

    pub(crate) fn load(&self, device: &Device) -> Result<Head, CliError> {
        match self {
            Self::Pair(pair) => pair.head(&hub_options(pair.name)?, device).map_err(CliError::Open),
            Self::File(path) => Head::load(path, device)
                .map_err(|source| CliError::HeadFile { path: path.display().to_string(), source }),
        }
    }
}

/// The options of the hub, with a display of the progress.
pub(crate) fn hub_options(spec: &str) -> Result<HubOptions, CliError> {
    let options = HubOptions::from_env()
        .map_err(|error| CliError::Model { spec: spec.to_owned(), source: error.into() })?;
    Ok(HubOptions { progress: Some(progress::downloads()), ..options })
}
