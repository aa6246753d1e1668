//! What the hub has.

use std::fmt;

/// What an id of the hub can be of. A model and a data set may have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl fmt::Display for RepoKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        })
    }
}

#[cfg(feature = "hub")]
impl From<RepoKind> for hf_hub::RepoType {
    fn from(kind: RepoKind) -> Self {
        match kind {
            RepoKind::Model => Self::Model,
            RepoKind::Dataset => Self::Dataset,
        }
    }
}
