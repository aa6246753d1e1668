//! Symbolic links in data from the command line.

use std::path::{Path, PathBuf};

use clap::Args;
use sail_vl::data::source::SourceOptions;
use sail_vl::hub::{HubOptions, open_dataset};
use sail_vl::tasks::TaskFiles;

use crate::error::CliError;
use crate::progress;

#[derive(Args)]
pub(crate) struct LinkArgs {
    /// Do not follow symbolic links out of the folder of the images or to folders. In data sets of the hub they are
    /// never followed.
    #[arg(long)]
    no_follow_links: bool,
}

impl LinkArgs {
    /// Whether links in local folders are followed.
    pub(crate) fn are_followed(&self) -> bool {
        !self.no_follow_links
    }

    /// Returns the path of a task's data, and the options to open it with.
    pub(crate) fn dataset(
        &self,
        spec: &str,
        files: TaskFiles<'_>,
    ) -> Result<(PathBuf, SourceOptions), CliError> {
        let follow_links = self.are_followed() && Path::new(spec).exists();
        let options = SourceOptions { follow_links, ..SourceOptions::default() };
        Ok((dataset(spec, files)?, options))
    }
}

/// Returns the path of a task's data: the given path, or, for the id of a data set on the hub, its folder in the cache,
/// after the files that the task reads have been downloaded.
fn dataset(spec: &str, files: TaskFiles<'_>) -> Result<PathBuf, CliError> {
    let dataset = |source| CliError::Dataset { spec: spec.to_owned(), source };
    let options =
        HubOptions { progress: Some(progress::downloads()), ..HubOptions::from_env().map_err(dataset)? };
    let folder = open_dataset(spec, |name| files.has(name), &files.to_string(), &options);
    Ok(files.root(&folder.map_err(dataset)?))
}
