//! Models by path or id.

use std::path::PathBuf;
use std::str::FromStr;

use sail_hub::{HubError, HubOptions, RepoId};

use super::fetch::fetch;
use super::{ModelError, ModelFolder};

/// A model in a local folder or on the hub.
///
/// # Examples
/// ```
/// use sail_encoders::ModelSpec;
///
/// let spec: ModelSpec = "facebook/dinov2-base@main".parse()?;
/// assert!(matches!(spec, ModelSpec::Hub(id) if id.name() == "facebook/dinov2-base"));
/// assert!(matches!(".".parse()?, ModelSpec::Folder(_)));
/// assert!("../no-such-folder".parse::<ModelSpec>().is_err());
/// # Ok::<(), sail_hub::HubError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSpec {
    /// A folder with the files of a model, as in a snapshot of the hub.
    Folder(PathBuf),
    /// A model on the hub.
    Hub(RepoId),
}

impl FromStr for ModelSpec {
    type Err = HubError;

    /// Parses the path of an existing folder, else `org/name` or `org/name@revision`.
    fn from_str(text: &str) -> Result<Self, HubError> {
        if std::path::Path::new(text).is_dir() {
            return Ok(Self::Folder(text.into()));
        }
        text.parse().map(Self::Hub)
    }
}

impl ModelSpec {
    /// Opens the folder, or fetches the model unless the cache has it.
    ///
    /// Configuration, preprocessing, tokenizer and weights are fetched, but no code. A complete snapshot in the cache is
    /// used without a connection, even if the branch has moved since: pin a commit, or set
    /// [`refresh`](HubOptions::refresh).
    ///
    /// # Errors
    /// As [`ModelFolder::open`]; [`ModelError::Hub`] if the model cannot be fetched; [`ModelError::Missing`] if it has no
    /// configuration or no weights in a supported format.
    ///
    /// # Examples
    /// ```no_run
    /// use sail_encoders::ModelSpec;
    /// use sail_hub::HubOptions;
    ///
    /// let spec: ModelSpec = "sentence-transformers/all-MiniLM-L6-v2@main".parse()?;
    /// let folder = spec.open(&HubOptions::from_env()?)?;
    /// assert_eq!(folder.name(), "sentence-transformers/all-MiniLM-L6-v2");
    /// # Ok::<(), sail_encoders::ModelError>(())
    /// ```
    pub fn open(&self, options: &HubOptions) -> Result<ModelFolder, ModelError> {
        match self {
            Self::Folder(path) => ModelFolder::open(path),
            Self::Hub(id) => fetch(id, options),
        }
    }
}
