//! Classes of images from the command line.

use std::collections::{BTreeMap, BTreeSet};

use sail_vl::core::FeatureSource;
use sail_vl::data::{read_indices, split_tensor_spec};
use sail_vl::tasks::{ClassOrder, pair_classes};

use crate::error::CliError;
use crate::progress;

/// Selects the folders in the keys of a store as classes.
const FOLDERS: &str = "folders";

/// Returns the class index of every row: from an integer tensor, or, for `folders`, from the folder part of the keys, in
/// the order of their numbers or else of their bytes.
pub(crate) fn read(spec: &str, features: &str, source: &dyn FeatureSource) -> Result<Vec<usize>, CliError> {
    if spec == FOLDERS {
        let of_rows = folder_of_rows(features, source)?;
        // Names that no folder has, so that the order decides.
        let names: Vec<String> =
            (0..class_indices(&of_rows).len()).map(|class| format!("#{class}")).collect();
        return pair(&of_rows, &names, features);
    }
    of_tensor(spec, features, source)
}

/// Returns the class index of every row among named classes, as [`read`] does but for `folders`, which are paired with the
/// names.
pub(crate) fn read_named(
    spec: &str,
    features: &str,
    source: &dyn FeatureSource,
    classes: &[String],
) -> Result<Vec<usize>, CliError> {
    match spec {
        FOLDERS => pair(&folder_of_rows(features, source)?, classes, features),
        _ => of_tensor(spec, features, source),
    }
}

fn pair(of_rows: &[String], classes: &[String], features: &str) -> Result<Vec<usize>, CliError> {
    let indices = class_indices(of_rows);
    let folders: Vec<&String> = indices.keys().copied().collect();
    let pairing = pair_classes(&folders, classes)
        .map_err(|source| CliError::Classes { spec: features.to_owned(), source })?;
    if pairing.order == ClassOrder::Number {
        progress::line(&format!("the folders of {features} are paired with the classes {}", pairing.order));
    }
    Ok(of_rows.iter().map(|folder| pairing.class_of_folder[indices[folder]]).collect())
}

fn of_tensor(spec: &str, features: &str, source: &dyn FeatureSource) -> Result<Vec<usize>, CliError> {
    let (path, tensor) = split_tensor_spec(spec);
    let labels =
        read_indices(path, tensor).map_err(|source| CliError::Input { spec: spec.to_owned(), source })?;
    if labels.len() != source.rows() {
        let message = format!(
            "{spec} has {} labels, expected {}, one for each row of {features}",
            labels.len(),
            source.rows()
        );
        return Err(CliError::Usage(message));
    }
    let class = |(row, &class): (usize, &i64)| {
        usize::try_from(class)
            .map_err(|_| CliError::Usage(format!("image {row} has the label {class}, expected 0 or more")))
    };
    labels.iter().enumerate().map(class).collect()
}

/// Returns the index of every class, in alphabetical order.
pub(crate) fn class_indices(of_rows: &[String]) -> BTreeMap<&String, usize> {
    let names: BTreeSet<&String> = of_rows.iter().collect();
    names.into_iter().zip(0..).collect()
}

/// Returns the folder part of every key.
pub(crate) fn folder_of_rows(features: &str, source: &dyn FeatureSource) -> Result<Vec<String>, CliError> {
    let rows: Vec<usize> = (0..source.rows()).collect();
    let keys =
        source.keys(&rows).map_err(|source| CliError::Features { spec: features.to_owned(), source })?;
    let folder = |key: String| match key.rsplit_once('/') {
        Some((folder, _)) => Ok(folder.to_owned()),
        None => Err(CliError::Usage(format!(
            "the key `{key}` of {features} has no folder to take its class from, expected CLASS/NAME"
        ))),
    };
    keys.into_iter().map(folder).collect()
}
