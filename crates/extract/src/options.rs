//! Options of an extraction.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sail_core::{Check, ConfigError, StoreDtype, ensure};
use serde::{Deserialize, Serialize};

use crate::urls::UrlFetch;

/// The options of an extraction.
#[derive(Debug, Clone)]
pub struct ExtractOptions {
    /// Dtype of the stored values.
    pub dtype: StoreDtype,
    /// Number of records, including unusable ones, that are embedded at once, at least 1: the batch size of images, or the
    /// window of texts that a tower sorts by length and splits into batches.
    pub block: usize,
    /// Maximum rows per shard, at least 1. As many are kept in memory. Shards of token states have at most 256 MiB.
    pub rows_per_shard: usize,
    /// Maximum number of records, at least 1. `None` for all.
    pub limit: Option<u64>,
    /// The part of the records to embed.
    pub part: Part,
    /// A description of the source: its path, which `, ` separates from further settings if there are any. It must be the
    /// same when resuming; a path may be spelled in another way.
    pub source: String,
    /// Other settings that determine the rows, such as the precision of the backbone. They must be the same when resuming.
    pub settings: BTreeMap<String, String>,
    /// Resume the extraction in the output folder, or start it if there is none.
    pub resume: bool,
    /// Return an error instead of skipping a record.
    pub strict: bool,
    /// Interval between checkpoints, the most work that a kill can lose.
    pub checkpoint_every: Duration,
    /// Number of preprocessing threads, at least 1.
    pub threads: usize,
    /// How images are fetched whose source has URLs. `None` skips them.
    pub urls: Option<UrlFetch>,
    /// Set to `true` to stop the extraction after the current block.
    pub stop: Arc<AtomicBool>,
}

impl ExtractOptions {
    /// Returns the default options for images: batches of 32, dtype `f16`.
    pub fn images() -> Self {
        Self {
            dtype: StoreDtype::F16,
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
            urls: None,
            stop: Arc::default(),
        }
    }

    /// Returns the default options for texts: windows of 1,024, dtype `f16`.
    pub fn texts() -> Self {
        Self { block: 1024, ..Self::images() }
    }
}

impl Check for ExtractOptions {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.block > 0, "block", self.block, "at least 1")?;
        ensure(self.rows_per_shard > 0, "rows_per_shard", self.rows_per_shard, "at least 1")?;
        ensure(self.limit != Some(0), "limit", 0, "at least 1")?;
        ensure(self.threads > 0, "threads", self.threads, "at least 1")?;
        let at_once = self.urls.as_ref().map_or(1, |urls| urls.at_once);
        ensure(at_once > 0, "urls.at_once", at_once, "at least 1")?;
        self.part.check()
    }
}

/// A part of a job, for running it on several machines.
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
    /// Index of the part, from 1.
    pub index: u64,
    /// Number of parts.
    pub of: u64,
}

impl Part {
    /// The whole job as one part.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// Returns the positions of this part in a source of `records`: whole blocks, so that batches equal those of an unsplit
    /// job. Parts are contiguous and differ by at most one block.
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
        let parsed =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        // Index 0 is out of range, so parse errors fail the check.
        let (index, of) = parsed.unwrap_or((0, 0));
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
        assert!(Part { index: 2, of: 3 }.range(5, 5).is_empty(), "one block is one part");
    }
}
