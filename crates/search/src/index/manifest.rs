//! `index.json`: what an index holds.

use std::io::ErrorKind;
use std::path::Path;

use sail_support::{ReadError, read_bounded, write_atomic};
use serde::{Deserialize, Serialize};

use super::error::{IndexError, ensure};
use crate::{CodeKind, ModelIdentity};

/// The only file that says which others belong to the index. Replacing it is what commits an update.
pub(crate) const MANIFEST: &str = "index.json";
/// The head, with which texts and images are embedded for a search.
pub(crate) const HEAD: &str = "head.safetensors";
/// Locked by the process that updates the index.
pub(crate) const LOCK: &str = "lock";
/// The unusable images of the last update.
pub(crate) const SKIPPED: &str = "skipped.jsonl";
/// The folder of the segments.
pub(crate) const SEGMENTS: &str = "segments";
/// The kind of file that says which rows are removed.
pub(crate) const REMOVED: &str = "removed";
/// The kind of file that has captions and columns.
pub(crate) const NOTES: &str = "notes";

const FORMAT: &str = "sail-index";
/// The newest version.
const VERSION: u32 = 1;
/// Enough for ten thousand segments.
const MAX_BYTES: u64 = 16 << 20;
/// Rows of an index: row numbers are stored in 32 bits.
pub(crate) const MAX_ROWS: usize = u32::MAX as usize;
/// The dimension of a store.
const MAX_DIM: usize = 1 << 20;

/// What an index holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    format: String,
    version: u32,
    /// Number of changes so far. It differs between any two states of an index.
    pub generation: u64,
    /// Whether the last update has finished. Otherwise the index can be searched, and the next update continues it.
    pub complete: bool,
    /// The model of the embeddings.
    pub identity: ModelIdentity,
    /// Where its encoders were found.
    #[serde(default, skip_serializing_if = "Encoders::is_empty")]
    pub encoders: Encoders,
    /// Dimension of the embeddings.
    pub dim: usize,
    /// Logarithm of the factor of similarities in the head's logits.
    pub log_scale: f32,
    /// Bias of the head's logits.
    pub bias: f32,
    /// The folder that the files of the images are in, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Longer side of the thumbnails in pixels, or `None` without thumbnails.
    pub thumbnails: Option<u32>,
    /// How the embeddings are quantized for searches, or `None` if they are not.
    pub codes: Option<CodeKind>,
    /// The columns that images have values of, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Number of the next segment.
    pub(crate) next_segment: u64,
    /// The segments, in the order of their rows.
    pub segments: Vec<SegmentEntry>,
    /// The rows that are no longer part of the index, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<RemovedEntry>,
    /// Files that the last update has replaced. The next one removes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) superseded: Vec<String>,
}

/// Where the encoders of an index were found when it was last updated: a folder, or an id on the hub. `None` for the name that the
/// [identity](ModelIdentity) records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoders {
    /// The vision encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision: Option<String>,
    /// The text encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Encoders {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A segment in `index.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SegmentEntry {
    /// Number of the segment, which is the name of its folder.
    pub number: u64,
    /// Number of rows.
    pub rows: usize,
    /// Length of all files in bytes.
    pub bytes: u64,
    /// SHA-256 of the manifest of the embeddings, which has the hashes of their files.
    pub embeddings_sha256: String,
    /// SHA-256 of `rows.safetensors`.
    pub rows_sha256: String,
    /// Captions and columns, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<NotesEntry>,
}

/// Captions and columns of a segment in `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NotesEntry {
    /// The generation that they are from, which is in the name of the file.
    pub generation: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// The removed rows in `index.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RemovedEntry {
    /// The generation that they are from, which is in the name of the file.
    pub generation: u64,
    /// Number of removed rows.
    pub rows: usize,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// The fields of every version. Parsed first, so that a newer version is reported as such.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// The folder of a segment, below that of the index.
pub(crate) fn segment_folder(number: u64) -> String {
    format!("{SEGMENTS}/{number:06}")
}

/// The name of a file that another generation has in another version.
pub(crate) fn of_generation(kind: &str, generation: u64) -> String {
    format!("{kind}-{generation:06}.safetensors")
}

impl RemovedEntry {
    /// The name of the file in the folder of the index.
    pub(crate) fn file(&self) -> String {
        of_generation(REMOVED, self.generation)
    }
}

impl SegmentEntry {
    /// The folder, below that of the index.
    pub(crate) fn folder(&self) -> String {
        segment_folder(self.number)
    }

    /// The file with captions and columns, below the folder of the index.
    pub(crate) fn notes_file(&self) -> Option<String> {
        let generation = self.notes.as_ref()?.generation;
        Some(format!("{}/{}", self.folder(), of_generation(NOTES, generation)))
    }
}

impl Manifest {
    pub(crate) fn new(identity: ModelIdentity, dim: usize, log_scale: f32, bias: f32) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            generation: 0,
            complete: false,
            identity,
            encoders: Encoders::default(),
            dim,
            log_scale,
            bias,
            root: None,
            thumbnails: None,
            codes: None,
            columns: Vec::new(),
            next_segment: 0,
            segments: Vec::new(),
            removed: None,
            superseded: Vec::new(),
        }
    }

    /// Returns the number of rows of all segments, removed or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.segments.iter().map(|segment| segment.rows).sum()
    }

    /// Returns the number of images that can be found.
    #[must_use]
    pub fn images(&self) -> usize {
        self.rows() - self.removed.as_ref().map_or(0, |removed| removed.rows)
    }

    /// Reads and validates the manifest of an index, without looking at other files.
    pub(crate) fn read(index: &Path) -> Result<Self, IndexError> {
        let path = index.join(MANIFEST);
        let json = read_bounded(&path, MAX_BYTES).map_err(|error| match error {
            ReadError::Io(error) if error.kind() == ErrorKind::NotFound => {
                IndexError::NotAnIndex { path: index.to_owned() }
            }
            error => IndexError::io(&path)(error.into()),
        })?;
        let invalid = |source| IndexError::Manifest { path: path.clone(), source };
        let Preamble { format, version } = serde_json::from_slice(&json).map_err(invalid)?;
        ensure(format == FORMAT, &path, "`format`", format!("`{format}`"), format!("`{FORMAT}`"))?;
        let expected = format!("1 to {VERSION}: use a newer release of this program");
        ensure((1..=VERSION).contains(&version), &path, "`version`", version, expected)?;
        let manifest: Self = serde_json::from_slice(&json).map_err(invalid)?;
        manifest.check(&path)?;
        Ok(manifest)
    }

    pub(crate) fn check(&self, path: &Path) -> Result<(), IndexError> {
        ensure((1..=MAX_DIM).contains(&self.dim), path, "`dim`", self.dim, format!("1 to {MAX_DIM}"))?;
        let numbers = [("`log_scale`", self.log_scale), ("`bias`", self.bias)];
        for (name, value) in numbers {
            ensure(value.is_finite(), path, name, value, "a finite number")?;
        }
        let mut rows = 0usize;
        let mut numbers = std::collections::BTreeSet::new();
        for segment in &self.segments {
            let number = segment.number;
            let what = format!("the number of segment {number}");
            let is_new = number < self.next_segment && numbers.insert(number);
            ensure(is_new, path, what, number, format!("one below {}, once", self.next_segment))?;
            ensure(segment.rows > 0, path, format!("`rows` of segment {number}"), 0, "at least 1")?;
            rows = rows.saturating_add(segment.rows);
            let hashes = [&segment.embeddings_sha256, &segment.rows_sha256].into_iter();
            for sha256 in hashes.chain(segment.notes.as_ref().map(|notes| &notes.sha256)) {
                check_hash(sha256, path)?;
            }
        }
        ensure(rows <= MAX_ROWS, path, "the number of rows", rows, format!("at most {MAX_ROWS}"))?;
        for name in &self.superseded {
            let found = format!("`{name}`");
            ensure(
                is_replaceable(name),
                path,
                "a name in `superseded`",
                found,
                "a segment, notes or removed rows",
            )?;
        }
        if let Some(removed) = &self.removed {
            check_hash(&removed.sha256, path)?;
            let expected = format!("1 to {rows}");
            ensure((1..=rows).contains(&removed.rows), path, "`rows` of `removed`", removed.rows, expected)?;
        }
        Ok(())
    }

    pub(crate) fn write(&self, index: &Path) -> Result<(), IndexError> {
        let path = index.join(MANIFEST);
        write_atomic(&path, |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            out.write_all(b"\n")
        })
        .map_err(IndexError::io(&path))
    }
}

/// Returns whether a name is that of a file or folder that an update replaces. Others are not removed, whatever an index says.
pub(crate) fn is_replaceable(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_kind = |name: &str, kind: &str| {
        let generation = name.strip_prefix(kind).and_then(|name| name.strip_prefix('-'));
        generation.and_then(|name| name.strip_suffix(".safetensors")).is_some_and(is_number)
    };
    match name.split('/').collect::<Vec<_>>()[..] {
        [file] => of_kind(file, REMOVED),
        [SEGMENTS, number] => is_number(number),
        [SEGMENTS, number, file] => is_number(number) && of_kind(file, NOTES),
        _ => false,
    }
}

fn check_hash(sha256: &str, path: &Path) -> Result<(), IndexError> {
    let is_hex = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure(is_hex, path, "a SHA-256", format!("`{sha256}`"), "64 lower-case hexadecimal digits")
}
