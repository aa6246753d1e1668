//! Kinds of repositories.

use std::fmt;

/// The kind of a repository on the hub. A model and a data set may have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepoKind {
    /// Returns the name of the repository's folder in the cache: `models--org--name` or `datasets--org--name`.
    pub(crate) fn cache_folder(self, id: &str) -> String {
        format!("{self}s--{}", id.replace('/', "--"))
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        })
    }
}
