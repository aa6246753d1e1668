//! Ids of repositories.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::HubError;

/// The id of a repository on the hub, with an optional revision: `org/name` or `org/name@revision`.
///
/// # Examples
/// ```
/// use sail_hub::RepoId;
///
/// let id: RepoId = "facebook/dinov2-base@main".parse()?;
/// assert_eq!(id.name(), "facebook/dinov2-base");
/// assert_eq!(id.revision(), Some("main"));
/// assert!("../secrets".parse::<RepoId>().is_err());
/// # Ok::<(), sail_hub::HubError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoId {
    name: String,
    revision: Option<String>,
}

impl RepoId {
    /// Returns `org/name`, or `name` for a repository without an organization.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of a model whose snapshot in a cache is `folder`, `models--org--name/snapshots/commit`.
    pub fn of_model_snapshot(folder: &Path) -> Option<Self> {
        let mut names = folder.iter().rev().map(|name| name.to_str());
        let (commit, snapshots, repository) = (names.next()??, names.next()??, names.next()??);
        let name = repository.strip_prefix("models--").filter(|_| snapshots == "snapshots")?;
        Some(Self { name: name.replacen("--", "/", 1), revision: Some(commit.to_owned()) })
    }

    /// Returns the branch, tag or commit, if given.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }
}

impl FromStr for RepoId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        if !is_name(name) || !revision.is_none_or(is_revision) {
            return Err(HubError::Id(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        match &self.revision {
            Some(revision) => write!(out, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// Returns whether a string is a valid repository id of the hub.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        part.chars().all(plain)
            && part.starts_with(inner)
            && part.ends_with(inner)
            && !part.contains("--")
            && !part.contains("..")
    };
    name.len() <= 96 && name.split('/').count() <= 2 && name.split('/').all(is_part)
}

/// Returns whether a string can be a branch, tag or commit: a relative path of plain names.
pub(crate) fn is_revision(revision: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    revision.len() <= 255 && !revision.contains("..") && revision.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_ids_and_revisions() {
        for text in [
            "bert-base-uncased",
            "facebook/dinov2_base",
            "a/b.c@v1.0",
            "a/b@refs/pr/1",
            "a/b@0123456789abcdef",
        ] {
            assert_eq!(text.parse::<RepoId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn recognizes_snapshots_of_models() {
        let id = |path: &str| RepoId::of_model_snapshot(Path::new(path)).map(|id| id.to_string());
        assert_eq!(id("/c/models--org--a-name/snapshots/0123").as_deref(), Some("org/a-name@0123"));
        assert_eq!(id("models--name/snapshots/0123").as_deref(), Some("name@0123"));
        assert_eq!(id("datasets--org--name/snapshots/0123"), None);
        assert_eq!(id("models--org--name/blobs/0123"), None);
        assert_eq!(id("0123"), None);
    }

    #[test]
    fn rejects_invalid_ids_and_revisions() {
        for text in [
            "",
            "a/",
            "/a",
            "a//b",
            "a/b/c",
            "../a",
            "a/..",
            "a/.b",
            ".a/b",
            "a--b/c",
            "a b",
            "a?b",
            "a%2fb",
            "a/b@",
            "@main",
            "a/b@../x",
            "a/b@/x",
            "a/b@x/",
            "a/b@x//y",
            "a/b@x/../y",
            "a/b@.x",
            "a/b@x@y",
            "a/b@x#y",
            "a\\b",
            "C:\\models\\x",
            "-a/b",
            "a/b-",
            "ä/b",
            "https://huggingface.co/a/b",
        ] {
            let error = text.parse::<RepoId>().unwrap_err();
            assert!(error.to_string().contains("neither a folder nor an id"), "{text}: {error}");
        }
        assert!("a".repeat(97).parse::<RepoId>().is_err());
    }
}
