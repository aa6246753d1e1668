//! Settings of a sweep whose training diverged, so that a resumed sweep does not train them again.

use std::fs;
use std::path::Path;

use sail_support::{read_bounded, write_atomic};
use sail_vl::eval::EvalError;
use sail_vl::recipe::Recipe;
use sail_vl::train::TrainError;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

const FILE: &str = "diverged.json";

/// Far more than a recipe needs.
const MAX_BYTES: u64 = 16 << 20;

/// The content of the file, in the folder of the setting.
#[derive(Serialize, Deserialize)]
struct Divergence {
    reason: String,
    recipe: Recipe,
}

/// Returns whether a training ended because its values left the range of finite numbers.
pub(crate) fn is_divergence(error: &TrainError) -> bool {
    matches!(
        error,
        TrainError::NotFinite { .. }
            | TrainError::Evaluation(EvalError::NotFinite { .. } | EvalError::ZeroNorm { .. })
    )
}

/// Records that the training of a recipe diverged.
pub(crate) fn write(folder: &Path, recipe: &Recipe, reason: &str) -> Result<(), CliError> {
    let found = Divergence { reason: reason.to_owned(), recipe: recipe.clone() };
    let path = folder.join(FILE);
    let write = || {
        fs::create_dir_all(folder)?;
        write_atomic(&path, |out| Ok::<_, std::io::Error>(serde_json::to_writer_pretty(out, &found)?))
    };
    write().map_err(|source| CliError::Write { path: path.clone(), source })
}

/// Returns why an earlier training of the same recipe diverged.
pub(crate) fn read(folder: &Path, recipe: &Recipe) -> Result<Option<String>, CliError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let json = read_bounded(&path, MAX_BYTES)
        .map_err(|error| CliError::Usage(format!("cannot read {}: {error}", path.display())))?;
    // A file that is damaged, or of another recipe, is no reason not to train.
    let found = serde_json::from_slice::<Divergence>(&json).ok();
    let found = found.filter(|found| found.recipe == *recipe);
    if found.is_none() {
        fs::remove_file(&path).map_err(|source| CliError::Write { path, source })?;
    }
    Ok(found.map(|found| found.reason))
}
