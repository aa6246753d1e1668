//! A model as a user names it.

use std::path::PathBuf;
use std::str::FromStr;

use super::{HubError, HubOptions, ModelError, ModelFolder};

#[cfg(feature = "hub")]
use super::fetch;

/// A local folder, or a model on the hub.
///
/// # Examples
/// ```
/// use sail_encoders::ModelSpec;
///
/// let spec: ModelSpec = "facebook/dinov2-base@main".parse()?;
/// assert_eq!(spec, ModelSpec::Hub { id: "facebook/dinov2-base".into(), revision: Some("main".into()) });
/// assert!(matches!(".".parse()?, ModelSpec::Folder(_)));
/// assert!("../no-such-folder".parse::<ModelSpec>().is_err());
/// # Ok::<(), sail_encoders::HubError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSpec {
    /// A folder in the layout of a snapshot of the hub.
    Folder(PathBuf),
    /// A model on the hub.
    Hub {
        /// `organisation/name`, or `name`.
        id: String,
        /// A branch, tag or commit; the default is the branch `main`.
        revision: Option<String>,
    },
}

impl FromStr for ModelSpec {
    type Err = HubError;

    /// Reads the path of an existing folder, or else `organisation/name` or `organisation/name@revision`.
    fn from_str(text: &str) -> Result<Self, HubError> {
        if std::path::Path::new(text).is_dir() {
            return Ok(Self::Folder(text.into()));
        }
        let (id, revision) = parse_id(text)?;
        Ok(Self::Hub { id: id.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl ModelSpec {
    /// Opens the folder, or fetches the model unless the cache has it. The revision of the options counts where
    /// the specification has none.
    ///
    /// # Errors
    /// As [`ModelFolder::open`] and `fetch`; [`HubError::Disabled`] for a model on the hub where this crate is built
    /// without the feature `hub`.
    pub fn open(&self, options: &HubOptions) -> Result<ModelFolder, ModelError> {
        match self {
            Self::Folder(path) => ModelFolder::open(path),
            Self::Hub { id, revision } => {
                let revision = revision.clone().or_else(|| options.revision.clone());
                fetch(id, &HubOptions { revision, ..options.clone() })
            }
        }
    }
}

#[cfg(not(feature = "hub"))]
fn fetch(id: &str, _: &HubOptions) -> Result<ModelFolder, ModelError> {
    Err(HubError::Disabled(id.to_owned()).into())
}

/// Splits `organisation/name@revision`.
pub(super) fn parse_id(text: &str) -> Result<(&str, Option<&str>), HubError> {
    let (id, revision) = match text.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (text, None),
    };
    match is_id(id) && revision.is_none_or(is_revision) {
        true => Ok((id, revision)),
        false => Err(HubError::Id(text.to_owned())),
    }
}

/// Whether a string is an id as the hub defines it.
pub(super) fn is_id(id: &str) -> bool {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.chars().all(plain)
            && name.starts_with(inner)
            && name.ends_with(inner)
            && !name.contains("--")
            && !name.contains("..")
    };
    id.len() <= 96 && id.split('/').count() <= 2 && id.split('/').all(is_name)
}

/// Whether a string can be a branch, tag or commit: a relative path of plain names.
pub(super) fn is_revision(revision: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    revision.len() <= 255 && !revision.contains("..") && revision.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_revisions() {
        for text in [
            "bert-base-uncased",
            "facebook/dinov2_base",
            "a/b.c@v1.0",
            "a/b@refs/pr/1",
            "a/b@0123456789abcdef",
        ] {
            assert!(matches!(text.parse(), Ok(ModelSpec::Hub { .. })), "{text}");
        }
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
            let error = text.parse::<ModelSpec>().unwrap_err();
            assert!(error.to_string().contains("neither a folder nor an id"), "{text}: {error}");
        }
        assert!("a".repeat(97).parse::<ModelSpec>().is_err());
    }
}
