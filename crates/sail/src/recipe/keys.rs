//! The training pairs that a list of keys names.

use sail_data::{DataError, KeyList, Pairs, Split};

use super::RecipeError;

/// Keeps the training pairs whose keys are in a list. The held-out pairs stay, so that runs with different lists have the same.
pub(super) fn keep_listed(split: Split, spec: &str) -> Result<Split, RecipeError> {
    let failed = |source: DataError| RecipeError::Keys { spec: spec.to_owned(), source };
    let mut list = KeyList::open(spec).map_err(failed)?;
    let rows = |pairs: &Pairs| (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect::<Vec<_>>();
    let (train, holdout) = (&split.train, &split.holdout);
    let listed = list.select(&**train.images(), rows(train)).map_err(failed)?;
    // Marks the keys that are held out as found.
    list.select(&**holdout.images(), rows(holdout)).map_err(failed)?;
    if listed.is_empty() {
        let (keys, pairs) = (list.len(), train.len());
        return Err(RecipeError::NoneListed { spec: spec.to_owned(), keys, pairs });
    }
    if list.absent() > 0 {
        tracing::warn!("{} of the {} keys in {spec} are not among the pairs", list.absent(), list.len());
    }
    Ok(Split { train: train.of_image_rows(&listed).map_err(RecipeError::Pairs)?, ..split })
}
