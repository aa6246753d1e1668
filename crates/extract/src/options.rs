//! What is embedded, and how.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sail_core::{Check, ConfigError, ensure};
use sail_data::Dtype;
use serde::{Deserialize, Serialize};

use crate::{ExtractError, folder};

/// How an extraction is done.
#[derive(Debug, Clone)]
pub struct ExtractOptions {
    /// How a number is stored.
    pub dtype: Dtype,
    /// How many records are embedded together, those included that turn out to be unusable, at least 1: the batch of
    /// images, or the window of texts that a tower sorts by length and embeds in batches of its own.
    pub block: usize,
    /// How many rows a file has, at least 1. As many are kept in memory.
    pub rows_per_shard: usize,
    /// Embed the first so many records only, at least 1.
    pub limit: Option<u64>,
    /// Which part of the records.
    pub part: Part,
    /// Where the records come from, in words. A resume must say the same.
    pub source: String,
    /// Whatever else decides the rows, such as the precision of the backbone. A resume must say the same.
    pub settings: BTreeMap<String, String>,
    /// Continue what is in the output folder.
    pub resume: bool,
    /// Make the first record that would be skipped an error.
    pub strict: bool,
    /// How much time may pass until the rows so far are safe on the disk; a kill costs no more than that.
    pub checkpoint_every: Duration,
    /// How many threads prepare records, at least 1.
    pub threads: usize,
    /// Ends the extraction after the block at hand once it is true.
    pub stop: Arc<AtomicBool>,
}

impl ExtractOptions {
    /// For images: batches of 32.
    pub fn images() -> Self {
        Self {
            dtype: Dtype::F16,
            block: 32,
            rows_per_shard: 1 << 14,
            limit: None,
            part: Part::WHOLE,
            source: String::new(),
            settings: BTreeMap::new(),
            resume: false,
            strict: false,
            checkpoint_every: Duration::from_secs(30),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            stop: Arc::default(),
        }
    }

    /// For captions: windows of 1,024.
    pub fn texts() -> Self {
        Self { block: 1024, ..Self::images() }
    }

    /// Says, before a model is loaded for it, whether an extraction into `out` can begin or be resumed. The
    /// extraction asks it as well.
    ///
    /// # Errors
    /// [`ExtractError::Config`], [`ExtractError::Exists`] and [`ExtractError::NothingToResume`].
    pub fn check_output(&self, out: &Path) -> Result<(), ExtractError> {
        self.check()?;
        folder::check(out, self.resume)
    }
}

impl Check for ExtractOptions {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.block > 0, "block", self.block, "at least 1")?;
        ensure(self.rows_per_shard > 0, "rows_per_shard", self.rows_per_shard, "at least 1")?;
        ensure(self.limit != Some(0), "limit", 0, "at least 1")?;
        ensure(self.threads > 0, "threads", self.threads, "at least 1")?;
        self.part.check()
    }
}

/// One of several parts of a job, for several machines.
///
/// # Examples
/// ```
/// let part: sail_extract::Part = "2/8".parse()?;
/// assert_eq!((part.index, part.of), (2, 8));
/// assert!("9/8".parse::<sail_extract::Part>().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which part, from 1.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Part {
    /// The whole job as one part.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// The positions of this part in a source of `records`: whole blocks, so that no batch differs from the one that
    /// an unsplit job embeds. Parts follow each other without gap or overlap, and differ by one block at most.
    pub fn range(self, records: u64, block: u64) -> Range<u64> {
        let blocks = u128::from(records.div_ceil(block));
        let cut = |parts: u64| {
            let blocks = blocks * u128::from(parts) / u128::from(self.of);
            u64::try_from(blocks * u128::from(block)).map_or(records, |position| position.min(records))
        };
        cut(self.index - 1)..cut(self.index)
    }
}

impl Check for Part {
    fn check(&self) -> Result<(), ConfigError> {
        ensure((1..=self.of).contains(&self.index), "part", self, "`I/N` with I from 1 to N, such as `1/4`")
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Part {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        // No number of parts has a part 0, so whatever does not parse fails the check.
        let (index, of) = numbers.unwrap_or((0, 0));
        let part = Self { index, of };
        match part.check() {
            Err(error) => Err(ConfigError { found: format!("`{text}`"), ..error }),
            Ok(()) => Ok(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_records_in_whole_blocks() {
        for (records, block, of) in
            [(100, 7, 3), (1, 5, 1), (23_000_001, 32, 17), (64, 32, 2), (u64::MAX, 3, 5)]
        {
            let mut next = 0;
            for index in 1..=of {
                let range = Part { index, of }.range(records, block);
                assert_eq!(range.start, next);
                assert!(range.start.is_multiple_of(block), "{range:?} of {records}");
                let fair = (records.div_ceil(block) / of).saturating_mul(block);
                assert!(range.end == records || range.end - range.start >= fair, "{range:?} of {records}");
                next = range.end;
            }
            assert_eq!(next, records);
        }
        assert!(Part { index: 2, of: 3 }.range(5, 5).is_empty(), "one block makes one part");
    }
}
