//! `encode.json`: the settings of an extraction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sail_core::{ConfigError, Contradiction, Modality, Provenance, StoreDtype};
use sail_support::{ReadError, read_bounded, resolve, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ExtractError;
use crate::options::{ExtractOptions, Part};

pub(crate) const JOB: &str = "encode.json";

/// Far more than any path and provenance need.
const MAX_BYTES: u64 = 1 << 20;

/// The newest version, that of the provenance. Version 1 had the precision among the settings.
const VERSION: u32 = 3;
/// The most bytes of a shard of token states.
const SHARD_BYTES: usize = 256 << 20;
/// The former setting.
const PRECISION: &str = "precision";

/// Between the path of a source and its settings, one of which may be the folder of its images.
const SEPARATOR: &str = ", ";
const IMAGES_IN: &str = ", images in ";

/// The description of a source with its paths resolved.
fn resolved(source: &str) -> (PathBuf, String) {
    // The path may have the separator in its name, so the longest one that exists is taken.
    let ends = source.match_indices(SEPARATOR).map(|(end, _)| end).chain([source.len()]);
    let exists = |end: &usize| Path::new(&source[..*end]).exists();
    let end = ends.filter(exists).last().or_else(|| source.find(SEPARATOR)).unwrap_or(source.len());
    let (path, settings) = source.split_at(end);
    let settings = match settings.rsplit_once(IMAGES_IN) {
        Some((others, root)) => format!("{others}{IMAGES_IN}{}", resolve(Path::new(root)).display()),
        None => settings.to_owned(),
    };
    (resolve(Path::new(path)), settings)
}

/// Everything that determines the rows and the files of a store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    version: u32,
    pub(crate) modality: Modality,
    pub(crate) provenance: Provenance,
    pub(crate) dtype: StoreDtype,
    source: String,
    /// Number of records in the source, or the limit.
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
        // A row of token states is hundreds of times as wide as an embedding, and a shard is kept in memory.
        let row_bytes =
            provenance.tokens.map(|layout| options.dtype.row_bytes(layout.row_values(), Some(layout)));
        let rows_of_tokens = row_bytes.map_or(usize::MAX, |bytes| (SHARD_BYTES / bytes.max(1)).max(1));
        Self {
            version: provenance.version(),
            modality,
            provenance,
            dtype: options.dtype,
            source: options.source.clone(),
            records,
            settings: options.settings.clone(),
            block: options.block as u64,
            rows_per_shard: options.rows_per_shard.min(rows_of_tokens),
            part: options.part,
        }
    }

    pub(crate) fn read(folder: &Path) -> Result<Self, ExtractError> {
        let path = folder.join(JOB);
        let damaged = |reason: String| ExtractError::Damaged { path: path.clone(), reason };
        let json = read_bounded(&path, MAX_BYTES).map_err(|error| match error {
            ReadError::Io(source) => ExtractError::Io { path: path.clone(), source },
            other => damaged(other.to_string()),
        })?;
        let mut job: Self = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if !(1..=VERSION).contains(&job.version) {
            return Err(damaged(format!("`version` is {}, expected 1 to {VERSION}", job.version)));
        }
        if job.version == 1
            && let Some(precision) = job.settings.remove(PRECISION)
        {
            let precision = precision.parse().map_err(|error: ConfigError| damaged(error.to_string()))?;
            job.provenance.precision = Some(precision);
        }
        job.version = job.provenance.version();
        if job.block == 0 || job.rows_per_shard == 0 || !(1..=job.part.of).contains(&job.part.index) {
            return Err(damaged("`block`, `rows_per_shard` or `part` is out of range".to_owned()));
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

    /// Returns the positions of the part.
    pub(crate) fn range(&self) -> std::ops::Range<u64> {
        self.part.range(self.records, self.block)
    }

    /// Returns whether two jobs have the same source, even if its path is spelled in another way.
    pub(crate) fn has_source_of(&self, other: &Self) -> bool {
        self.source == other.source || resolved(&self.source) == resolved(&other.source)
    }

    /// Returns the fields that differ from another job: name, own value, other value. The provenances must be compatible,
    /// and not equal: a model may have another name on another machine.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(String, Value, Value)> {
        let contradiction = other.provenance.contradiction(&self.provenance);
        let contradiction = contradiction.map(|Contradiction { field, found, expected, .. }| {
            (field.to_owned(), found.into(), expected.into())
        });
        let [own, mut others] = [self, other].map(|job| match serde_json::to_value(job) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        });
        let pairs = own.into_iter().map(|(field, value)| {
            let other = others.remove(&field).unwrap_or_default();
            (field, value, other)
        });
        let compared = |field: &str| !["version", "provenance"].contains(&field);
        let differs = pairs.filter(|(field, own, other)| compared(field) && own != other);
        contradiction.into_iter().chain(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sail_core::TokenLayout;

    #[test]
    fn shards_of_token_states_are_bounded_in_bytes() {
        let rows = |tokens, dtype, options: ExtractOptions| {
            let provenance = Provenance { tokens, ..Provenance::new("dinov2") };
            Job::new(Modality::Image, provenance, 9, &ExtractOptions { dtype, ..options }).rows_per_shard
        };
        let layout = |grid| Some(TokenLayout::Image { class_token: true, grid: [grid, grid], dim: 384 });
        let (many, few) =
            (ExtractOptions::images(), ExtractOptions { rows_per_shard: 9, ..ExtractOptions::images() });
        assert_eq!(rows(None, StoreDtype::F16, many.clone()), 1 << 14);
        assert_eq!(rows(layout(16), StoreDtype::F16, many.clone()), (256 << 20) / (257 * 384 * 2));
        assert_eq!(rows(layout(16), StoreDtype::Int8, many.clone()), (256 << 20) / (257 * 388));
        assert_eq!(rows(layout(16), StoreDtype::Int8, few), 9);
        assert_eq!(rows(layout(600), StoreDtype::F32, many), 1);
    }

    #[cfg(unix)]
    #[test]
    fn one_source_has_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("cats, dogs")).unwrap();
        std::os::unix::fs::symlink(at("cats, dogs"), at("link")).unwrap();
        let same = |a: &str, b: &str| resolved(a) == resolved(b);
        let (one, other) = (at("cats, dogs"), at("link"));
        assert!(same(&one, &other));
        std::fs::create_dir(at("tars")).unwrap();
        std::os::unix::fs::symlink(at("tars"), at("shards")).unwrap();
        assert!(same(&at("tars/*.tar"), &at("shards/*.tar")));
        assert!(same(&format!("{one}, key column id"), &format!("{other}, key column id")));
        assert!(same(&format!("a.csv, images in {one}"), &format!("a.csv, images in {other}/")));
        assert!(!same(&format!("{one}, key column id"), &format!("{other}, key column name")));
        assert!(!same(&format!("{one}, key column id"), &one));
        assert!(!same(&at("a.csv"), &at("b.csv")));
    }
}
