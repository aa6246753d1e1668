//! What can be wrong with a recipe.

use std::path::PathBuf;

use sail_core::{ConfigError, FeatureError, HeadError, Modality};
use sail_data::DataError;

/// A recipe that cannot be read, or whose run cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A file is not a recipe.
    #[error("cannot use the recipe {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<RecipeError>,
    },
    /// The file cannot be read.
    #[error("cannot read the file")]
    Io(#[from] std::io::Error),
    /// The text is not a recipe.
    #[error("invalid recipe: {0}")]
    Format(String),
    /// A setting is out of its range.
    #[error("invalid recipe")]
    Config(#[from] ConfigError),
    /// A setting cannot be changed to a value.
    #[error("cannot set `{path}` to `{value}`: {reason}")]
    Setting {
        /// The path of the setting.
        path: String,
        /// The value.
        value: String,
        /// Why.
        reason: String,
    },
    /// Features cannot be opened.
    #[error("cannot open the features {spec}")]
    Open {
        /// As the recipe names them.
        spec: String,
        /// Why.
        #[source]
        source: DataError,
    },
    /// Features cannot be read, or a row cannot be used.
    #[error("cannot use the features {spec}")]
    Features {
        /// As the recipe names them.
        spec: String,
        /// Why.
        #[source]
        source: FeatureError,
    },
    /// Features of the other side.
    #[error("{spec} holds {found} features, expected {expected} features")]
    Modality {
        /// As the recipe names them.
        spec: String,
        /// What they are.
        found: Modality,
        /// What they should be.
        expected: Modality,
    },
    /// Two caption sets that were not made alike.
    #[error("{} has the {field} {}, expected {} as {} has", found.0, found.1, expected.1, expected.0)]
    CaptionSets {
        /// The set and its value.
        found: (String, String),
        /// The first set and its value.
        expected: (String, String),
        /// What differs.
        field: &'static str,
    },
    /// The features cannot be paired or split.
    #[error("cannot pair the features")]
    Pairs(#[source] DataError),
    /// The data are not those of the recipe.
    #[error(
        "the data have {found} pairs, expected {expected} as the recipe says: remove `rows` to use them anyway"
    )]
    Rows {
        /// Pairs of the data.
        found: usize,
        /// Pairs of the recipe.
        expected: usize,
    },
    /// The head does not fit the features.
    #[error("the head does not fit the features")]
    Head(#[from] HeadError),
    /// A head to go on from cannot be loaded.
    #[error("cannot load the head {path}")]
    HeadFile {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HeadError,
    },
}
