//! Models, sources and data sets from the command line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{TextTower, VisionTower};
use sail_vl::data::source::{ImageData, RecordSource, SourceOptions, open_captions, open_images};
use sail_vl::encoders::{ModelFolder, ModelSpec, TextOptions, VisionOptions, load_text, load_vision};
use sail_vl::hub::{HubError, HubOptions, ProgressFn, open_dataset};
use sail_vl::tasks::TaskFiles;

use crate::encode::{ImagesArgs, ModelArgs, TextsArgs};
use crate::error::CliError;
use crate::inputs;

/// What the bar of a download shows.
const BYTES: &str = "{bytes} of {total_bytes}";

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

/// Finds the model's files, fetching those that the cache lacks.
fn folder(args: &ModelArgs) -> Result<ModelFolder, CliError> {
    let model = |source| CliError::Model { spec: args.model.clone(), source };
    let spec: ModelSpec = args.model.parse().map_err(|error: HubError| model(error.into()))?;
    if matches!(spec, ModelSpec::Folder(_)) && args.revision.is_some() {
        let message = format!("`--revision` has no meaning for {}, which is a folder", args.model);
        return Err(CliError::Usage(message));
    }
    let options = HubOptions::from_env().map_err(|error| model(error.into()))?;
    let options = HubOptions { revision: args.revision.clone(), progress: Some(downloads()), ..options };
    spec.open(&options).map_err(model)
}

/// Where a task's data are: a path, or the id of a data set on the hub, of which the task's files are fetched unless the
/// cache has them.
pub(crate) fn dataset(spec: &str, files: TaskFiles<'_>) -> Result<PathBuf, CliError> {
    let dataset = |source| CliError::Dataset { spec: spec.to_owned(), source };
    let options = HubOptions { progress: Some(downloads()), ..HubOptions::from_env().map_err(dataset)? };
    let folder = open_dataset(spec, |name| files.has(name), &files.to_string(), &options);
    Ok(files.root(&folder.map_err(dataset)?))
}

/// A bar for the file that arrives, on a terminal.
fn downloads() -> ProgressFn {
    let bar = Mutex::new(None::<(String, ProgressBar)>);
    Arc::new(move |progress| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.as_ref().is_none_or(|(file, _)| file != progress.file) {
            *bar = Some((progress.file.to_owned(), inputs::bar(progress.total, progress.file, BYTES)));
        }
        if let Some((_, bar)) = &*bar {
            bar.set_position(progress.received);
            if progress.received == progress.total {
                bar.finish_and_clear();
            }
        }
    })
}

pub(crate) fn vision(args: &ImagesArgs, device: &Device) -> Result<VisionTower, CliError> {
    let options = VisionOptions { dtype: args.model.precision, pooling: args.pooling, image_size: args.size };
    load_vision(&folder(&args.model)?, &options, device)
        .map_err(|source| CliError::Model { spec: args.model.model.clone(), source })
}

pub(crate) fn text(args: &TextsArgs, device: &Device) -> Result<TextTower, CliError> {
    let options = TextOptions { dtype: args.model.precision, pooling: args.pooling };
    load_text(&folder(&args.model)?, &options, device)
        .map_err(|source| CliError::Model { spec: args.model.model.clone(), source })
}
