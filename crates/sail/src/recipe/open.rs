//! Opening and verifying features.

use std::path::Path;
use std::sync::Arc;

use sail_core::{Modality, Progress};
use sail_data::{Features, open_features};

use super::RecipeError;

/// Opens features of a modality, as [`open_features`] takes them.
///
/// # Errors
/// [`RecipeError::Open`] and [`RecipeError::Modality`].
pub fn open_unchecked(spec: &str, modality: Modality) -> Result<Arc<Features>, RecipeError> {
    let features =
        open_features(spec).map_err(|source| RecipeError::Open { spec: spec.to_owned(), source })?;
    match features.modality().filter(|found| *found != modality) {
        Some(found) => Err(RecipeError::Modality { spec: spec.to_owned(), found, expected: modality }),
        None => Ok(Arc::new(features)),
    }
}

/// Opens features as [`open_unchecked`] does, and verifies them ([`Features::verify`]). With a folder of records, features that
/// were verified before and have not changed since are not read again ([`Features::verify_once`]). `progress` counts bytes.
///
/// # Errors
/// Those of [`open_unchecked`], and [`RecipeError::Features`] for a row that cannot be used.
pub fn open_checked(
    spec: &str,
    modality: Modality,
    records: Option<&Path>,
    progress: impl FnMut(Progress) + Send,
) -> Result<Arc<Features>, RecipeError> {
    let features = open_unchecked(spec, modality)?;
    let verified = match records {
        Some(folder) => features.verify_once(folder, progress).map(drop),
        None => features.verify(progress),
    };
    let spec = || spec.to_owned();
    verified.map_err(|error| match error {
        sail_data::DataError::Feature(source) => RecipeError::Features { spec: spec(), source },
        source => RecipeError::Open { spec: spec(), source },
    })?;
    Ok(features)
}
