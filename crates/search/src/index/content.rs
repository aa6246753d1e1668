//! What the rows of an index were made of.

use std::path::{Component, Path, PathBuf};

/// Bytes of a SHA-256.
pub(crate) const HASH: usize = 32;

/// What the content of an image is, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) sha256: [u8; HASH],
    pub(crate) stamp: Stamp,
    pub(crate) place: Place,
}

/// Size and time of a file, by which a change is noticed without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Length in bytes.
    pub(crate) bytes: u64,
    /// Modification time in nanoseconds since 1970; 0 if there is none, as in an archive.
    pub(crate) modified: u64,
}

/// Where the bytes of an image are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// In an archive or a table.
    Inside,
    /// In the file that the key names below the root.
    Key,
    /// In another file below the root.
    Below(String),
    /// In a file elsewhere.
    File(String),
    /// At an address.
    Url(String),
}

impl Place {
    /// The number and the text that are stored.
    pub(crate) fn parts(&self) -> (u8, &str) {
        match self {
            Self::Inside => (0, ""),
            Self::Key => (1, ""),
            Self::Below(path) => (2, path),
            Self::File(path) => (3, path),
            Self::Url(url) => (4, url),
        }
    }

    /// Returns `None` for an unknown number.
    pub(crate) fn from_parts(kind: u8, text: String) -> Option<Self> {
        Some(match kind {
            0 => Self::Inside,
            1 => Self::Key,
            2 => Self::Below(text),
            3 => Self::File(text),
            4 => Self::Url(text),
            _ => return None,
        })
    }

    /// The file, if the bytes are in one.
    pub(crate) fn file(&self, root: Option<&str>, key: &str) -> Option<PathBuf> {
        match self {
            Self::Inside | Self::Url(_) => None,
            Self::Key => below(root?, key),
            Self::Below(path) => below(root?, path),
            Self::File(path) => Some(PathBuf::from(path)),
        }
    }
}

/// A path below the root. An index from elsewhere may have others.
fn below(root: &str, path: &str) -> Option<PathBuf> {
    let is_inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    is_inside.then(|| Path::new(root).join(path))
}
