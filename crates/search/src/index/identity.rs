//! Whether a model is that of an index.

use std::path::Path;

use sail_core::Contradiction;

use super::error::IndexError;
use crate::ModelIdentity;

/// Checks that the model is that of the index.
pub(crate) fn check_identity(
    path: &Path,
    expected: &ModelIdentity,
    found: &ModelIdentity,
) -> Result<(), IndexError> {
    let sides =
        [("vision model", &expected.vision, &found.vision), ("text model", &expected.text, &found.text)];
    let differences = sides.into_iter().filter_map(|(side, expected, found)| {
        let Contradiction { field, found, expected, .. } = expected.contradiction(found)?;
        Some((format!("`{field}` of the {side}"), found, expected))
    });
    let head = (expected.head_sha256 != found.head_sha256)
        .then(|| ("head (SHA-256)".to_owned(), found.head_sha256.clone(), expected.head_sha256.clone()));
    match differences.chain(head).next() {
        None => Ok(()),
        Some((what, found, expected)) => {
            Err(IndexError::Model { path: path.to_owned(), what, found, expected })
        }
    }
}
