//! Images, captions and data sets from the command line.

use std::path::{Path, PathBuf};

use sail_vl::data::source::{ImageData, RecordSource, SourceOptions, open_captions, open_images};
use sail_vl::hub::{HubOptions, open_dataset};
use sail_vl::tasks::TaskFiles;

use crate::error::CliError;
use crate::progress;

pub(crate) fn images(
    input: &str,
    options: &SourceOptions,
) -> Result<Box<dyn RecordSource<ImageData>>, CliError> {
    open_images(Path::new(input), options)
        .map_err(|source| CliError::Input { spec: input.to_owned(), source })
}

pub(crate) fn captions(
    input: &str,
    options: &SourceOptions,
) -> Result<Box<dyn RecordSource<String>>, CliError> {
    open_captions(Path::new(input), options)
        .map_err(|source| CliError::Input { spec: input.to_owned(), source })
}

/// Returns the path of a task's data: the given path, or, for the id of a data set on the hub, its folder in the cache,
/// after the files that the task reads have been downloaded.
pub(crate) fn dataset(spec: &str, files: TaskFiles<'_>) -> Result<PathBuf, CliError> {
    let dataset = |source| CliError::Dataset { spec: spec.to_owned(), source };
    let options =
        HubOptions { progress: Some(progress::downloads()), ..HubOptions::from_env().map_err(dataset)? };
    let folder = open_dataset(spec, |name| files.has(name), &files.to_string(), &options);
    Ok(files.root(&folder.map_err(dataset)?))
}
