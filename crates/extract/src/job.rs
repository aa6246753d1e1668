//! `encode.json`: what a store was made from, and how.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sail_core::{Modality, Provenance};
use sail_data::Dtype;
use sail_support::write_atomic;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ExtractError, ExtractOptions, Part};

pub(crate) const JOB: &str = "encode.json";

/// No path and no provenance is that long.
const MAX_BYTES: u64 = 1 << 20;

const VERSION: u32 = 1;

/// All that decides the rows of a store and how they lie in files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    version: u32,
    pub(crate) modality: Modality,
    pub(crate) provenance: Provenance,
    pub(crate) dtype: Dtype,
    source: String,
    /// How many records the source has, or the limit says.
    pub(crate) records: u64,
    settings: BTreeMap<String, String>,
    pub(crate) block: u64,
    pub(crate) rows_per_shard: usize,
    pub(crate) part: Part,
}

impl Job {
    pub(crate) fn new(
        modality: Modality,
        provenance: Provenance,
        records: u64,
        options: &ExtractOptions,
    ) -> Self {
        Self {
            version: VERSION,
            modality,
            provenance,
            dtype: options.dtype,
            source: options.source.clone(),
            records,
            settings: options.settings.clone(),
            block: options.block as u64,
            rows_per_shard: options.rows_per_shard,
            part: options.part,
        }
    }

    pub(crate) fn read(folder: &Path) -> Result<Self, ExtractError> {
        let path = folder.join(JOB);
        let damaged = |reason: String| ExtractError::Damaged { path: path.clone(), reason };
        let mut json = Vec::new();
        let file = File::open(&path).map_err(ExtractError::io(&path))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut json).map_err(ExtractError::io(&path))?;
        if json.len() as u64 > MAX_BYTES {
            return Err(damaged(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let job: Self = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if job.version != VERSION {
            return Err(damaged(format!("`version` is {}, expected {VERSION}", job.version)));
        }
        if job.block == 0 || job.rows_per_shard == 0 || !(1..=job.part.of).contains(&job.part.index) {
            return Err(damaged("`block`, `rows_per_shard` or `part` is out of its range".to_owned()));
        }
        Ok(job)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), ExtractError> {
        let path = folder.join(JOB);
        write_atomic(&path, |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            out.write_all(b"\n")
        })
        .map_err(ExtractError::io(&path))
    }

    /// The positions of the part.
    pub(crate) fn range(&self) -> std::ops::Range<u64> {
        self.part.range(self.records, self.block)
    }

    /// The fields in which another job differs: name, own value, its value.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(String, Value, Value)> {
        let [own, mut others] = [self, other].map(|job| match serde_json::to_value(job) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        });
        let pairs = own.into_iter().map(|(field, value)| {
            let other = others.remove(&field).unwrap_or_default();
            (field, value, other)
        });
        pairs.filter(|(_, own, other)| own != other).collect()
    }
}
