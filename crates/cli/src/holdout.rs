//! The held-out pairs of a head's training.

use clap::Args;
use sail_vl::data::{Pairs, Split};
use sail_vl::layers::{Head, Holdout};

use crate::error::CliError;

/// The seed of a training without `--seed`.
pub(crate) const DEFAULT_SEED: u64 = 42;

/// Which pairs are evaluated.
#[derive(Args)]
pub(crate) struct HoldoutArgs {
    /// Evaluate only the pairs that the training of the head held out. Their number and seed are those that the head
    /// records; state them for a head of an earlier version.
    #[arg(long, value_name = "ROWS", num_args = 0..=1)]
    holdout: Option<Option<usize>>,
    /// The seed of that training [default: the one that the head records, or 42].
    #[arg(long)]
    seed: Option<u64>,
}

impl HoldoutArgs {
    /// Returns whether only held-out pairs are evaluated.
    pub(crate) fn is_set(&self) -> bool {
        self.holdout.is_some()
    }

    /// Keeps the held-out pairs, or all pairs without `--holdout`.
    ///
    /// A head that records its holdout decides which pairs these are, so that a mistyped number or seed, or other data,
    /// cannot lead to scores on training pairs.
    pub(crate) fn select(&self, path: &str, head: &Head, pairs: Pairs) -> Result<Pairs, CliError> {
        let usage = |message: String| Err(CliError::Usage(message));
        let Some(rows) = self.holdout else {
            warn_of_training_pairs(path, head, &pairs)?;
            return Ok(pairs);
        };
        if rows == Some(0) {
            return usage("`--holdout` is 0, expected at least 1: omit it to evaluate all rows".into());
        }
        let Some(Holdout { rows: recorded, seed, keys_sha256 }) = head.holdout() else {
            return match rows {
                Some(rows) => Ok(pairs.split(rows, self.seed.unwrap_or(DEFAULT_SEED))?.holdout),
                None => usage(format!(
                    "{path} does not record which pairs its training held out: state the `--holdout ROWS` and `--seed SEED` \
                     of its training"
                )),
            };
        };
        if *recorded == 0 {
            return usage(format!(
                "{path} was trained without a holdout: omit `--holdout`, and evaluate on pairs that it was not trained on"
            ));
        }
        if let Some(rows) = rows.filter(|rows| rows != recorded) {
            return usage(format!(
                "`--holdout` is {rows}, but the training of {path} held out {recorded} pairs: leave out the number"
            ));
        }
        if let Some(found) = self.seed.filter(|found| found != seed) {
            return usage(format!(
                "`--seed` is {found}, but the training of {path} held out pairs with the seed {seed}: leave out `--seed`"
            ));
        }
        let Split { holdout, holdout_sha256, .. } = pairs.split(*recorded, *seed)?;
        if holdout_sha256 != *keys_sha256 {
            return usage(format!(
                "these features have other keys than those that {path} was trained on, so they do not tell which pairs were \
                 held out: evaluate the features of the training, with the rows that it paired (`sail store filter` selects \
                 them), or omit `--holdout` to evaluate all pairs of other data"
            ));
        }
        Ok(holdout)
    }
}

/// Warns if the pairs are those that the head was trained on.
fn warn_of_training_pairs(path: &str, head: &Head, pairs: &Pairs) -> Result<(), CliError> {
    if let Some(Holdout { rows, seed, keys_sha256 }) = head.holdout().filter(|holdout| holdout.rows > 0)
        && *rows < pairs.len()
        && pairs.split(*rows, *seed)?.holdout_sha256 == *keys_sha256
    {
        tracing::warn!(
            "{path} was trained on {} of these {} pairs: add `--holdout` to evaluate only those that were held out",
            pairs.len() - rows,
            pairs.len()
        );
    }
    Ok(())
}
