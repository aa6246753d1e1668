//! `manifest.json`: what a store holds, and the list of its shards.

use std::path::Path;

use sail_core::{Modality, Provenance, StoreDtype, TokenLayout};
use sail_support::{read_bounded, stand_in, write_atomic};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::codec::Codec;
use crate::error::ensure_file;

/// Present only in a finished store.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The manifest of a store that is being written.
pub(crate) const PARTIAL: &str = "partial.json";

/// The largest backbones have about ten thousand dimensions, and thousands of tokens.
pub(crate) const MAX_DIM: usize = TokenLayout::MAX_ROW_VALUES;

const FORMAT: &str = "sail-embeddings";
/// The newest version. In version 1, the provenance has a line of text in the place of the settings; version 3
/// is written for token states and `int8` only.
const VERSION: u32 = 3;
/// Enough for a hundred thousand shards.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    pub(crate) modality: Modality,
    pub(crate) provenance: Provenance,
    pub(crate) dim: usize,
    pub(crate) dtype: StoreDtype,
    pub(crate) rows: usize,
    pub(crate) shards: Vec<ShardEntry>,
    /// In `partial.json` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unfinished: Option<Unfinished>,
}

/// The state of an unfinished store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unfinished {
    /// Position in the writer's input at which it continues.
    pub(crate) position: u64,
    /// Rows after those of the shards.
    pub(crate) tail: TailEntry,
}

/// The valid part of a tail file. A killed process may have written more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TailEntry {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardEntry {
    pub(crate) file: String,
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// The fields of every version. Parsed first, so that a newer version is reported as such.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// The name of a shard. A manifest with other names is rejected, so it cannot refer to other files.
pub(crate) fn shard_name(index: usize) -> String {
    format!("shard-{index:05}.safetensors")
}

/// The version that can hold a store.
fn version(provenance: &Provenance, dtype: StoreDtype) -> u32 {
    if dtype == StoreDtype::Int8 { VERSION } else { provenance.version() }
}

impl Manifest {
    pub(crate) fn new(modality: Modality, provenance: Provenance, dim: usize, dtype: StoreDtype) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: version(&provenance, dtype),
            modality,
            provenance,
            dim,
            dtype,
            rows: 0,
            shards: Vec::new(),
            unfinished: None,
        }
    }

    /// Reads and validates a manifest, without looking at the files of the shards.
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let json = read_bounded(path, MAX_BYTES).map_err(DataError::read(path))?;
        if let Some(found) = stand_in(&json) {
            return Err(DataError::StandIn { path: path.to_owned(), found });
        }
        let invalid = |source| DataError::Manifest { path: path.to_owned(), source };
        let Preamble { format, version } = serde_json::from_slice(&json).map_err(invalid)?;
        ensure_file(format == FORMAT, path, "`format`", format!("`{format}`"), format!("`{FORMAT}`"))?;
        let expected = format!("1 to {VERSION}: use a newer release");
        ensure_file((1..=VERSION).contains(&version), path, "`version`", version, expected)?;
        let mut manifest: Self = serde_json::from_slice(&json).map_err(invalid)?;
        // That in which it would be written again.
        manifest.version = self::version(&manifest.provenance, manifest.dtype);
        manifest.check(path)?;
        Ok(manifest)
    }

    /// How rows become bytes.
    pub(crate) fn codec(&self) -> Codec {
        Codec::new(self.dtype, self.dim, self.provenance.tokens)
    }

    fn check(&self, path: &Path) -> Result<(), DataError> {
        let dim = self.dim;
        ensure_file((1..=MAX_DIM).contains(&dim), path, "`dim`", dim, format!("1 to {MAX_DIM}"))?;
        if let Some(tokens) = self.provenance.tokens {
            let expected = format!("{} for {tokens}", tokens.row_values());
            ensure_file(tokens.row_values() == dim, path, "`dim`", dim, expected)?;
        }
        let mut rows = 0usize;
        for (index, shard) in self.shards.iter().enumerate() {
            let ShardEntry { file, sha256, .. } = shard;
            let name = shard_name(index);
            ensure_file(
                *file == name,
                path,
                format!("the file of shard {index}"),
                format!("`{file}`"),
                name,
            )?;
            ensure_file(shard.rows > 0, path, format!("`rows` of {file}"), 0, "at least 1")?;
            let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            ensure_file(
                sha256.len() == 64 && sha256.bytes().all(hexadecimal),
                path,
                format!("`sha256` of {file}"),
                format!("`{sha256}`"),
                "64 lower-case hexadecimal digits",
            )?;
            rows = rows.saturating_add(shard.rows);
        }
        ensure_file(self.rows == rows, path, "`rows`", self.rows, format!("{rows}, the sum over the shards"))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), DataError> {
        write_atomic(path, |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            out.write_all(b"\n")
        })
        .map_err(DataError::io(path))
    }
}
