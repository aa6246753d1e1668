//! The error type of recipes.

use std::path::PathBuf;

use sail_core::{ConfigError, FeatureError, HeadError, Modality, Side};
use sail_data::DataError;
use sail_fit::FitError;
use sail_hub::HubError;
use sail_layers::Holdout;
use sail_train::TrainError;

use crate::SailError;

/// An error from reading a recipe or preparing its run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A recipe file cannot be read or parsed.
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
    /// The text cannot be parsed as a recipe.
    #[error("invalid recipe: {0}")]
    Format(String),
    /// A setting is out of range.
    #[error("invalid recipe")]
    Config(#[from] ConfigError),
    /// A setting does not exist or does not accept the value.
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
        /// The features, as specified in the recipe.
        spec: String,
        /// Why.
        #[source]
        source: DataError,
    },
    /// Features cannot be read, or a row is invalid.
    #[error("cannot use the features {spec}")]
    Features {
        /// The features, as specified in the recipe.
        spec: String,
        /// Why.
        #[source]
        source: FeatureError,
    },
    /// The features have the wrong modality.
    #[error("{spec} holds {found} features, expected {expected} features")]
    Modality {
        /// The features, as specified in the recipe.
        spec: String,
        /// The modality of the features.
        found: Modality,
        /// The expected modality.
        expected: Modality,
    },
    /// Two caption sets are incompatible.
    #[error("{} has the {field} {}, expected {} as {} has", found.0, found.1, expected.1, expected.0)]
    CaptionSets {
        /// The caption set and its value.
        found: (String, String),
        /// The first caption set and its value.
        expected: (String, String),
        /// The field that differs.
        field: &'static str,
    },
    /// The features cannot be paired or split.
    #[error("cannot pair the features")]
    Pairs(#[source] DataError),
    /// The list of the keys to train on cannot be read.
    #[error("cannot read the keys in {spec}")]
    Keys {
        /// The list, as specified in the recipe.
        spec: String,
        /// Why.
        #[source]
        source: DataError,
    },
    /// None of the training pairs is in the list of keys.
    #[error(
        "none of the {keys} keys in {spec} is that of one of the {pairs} training pairs: `sail store show` prints some of their keys"
    )]
    NoneListed {
        /// The list, as specified in the recipe.
        spec: String,
        /// Number of keys in it.
        keys: usize,
        /// Number of training pairs.
        pairs: usize,
    },
    /// The number of pairs differs from that in the recipe.
    #[error(
        "found {found} pairs, expected {expected} (`rows` in the recipe): remove `rows` to use the data anyway"
    )]
    Rows {
        /// Number of pairs found.
        found: usize,
        /// Number of pairs in the recipe.
        expected: usize,
    },
    /// The head does not fit the features.
    #[error("the head does not fit the features")]
    Head(#[from] HeadError),
    /// The head to start from cannot be loaded.
    #[error("cannot load the head {path}")]
    HeadFile {
        /// The head file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HeadError,
    },
    /// The encoder whose blocks are adapted cannot be loaded, or is not that of the token states.
    #[error("cannot adapt the {side} encoder")]
    Blocks {
        /// The side.
        side: Side,
        /// Why.
        #[source]
        source: Box<SailError>,
    },
    /// The settings of the hub are invalid.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The unpaired features are not those of the encoders of the pairs.
    #[error("cannot use the unpaired features {spec} with the pairs")]
    Unpaired {
        /// The features, as specified in the recipe.
        spec: String,
        /// Why.
        #[source]
        source: HeadError,
    },
    /// The unpaired rows cannot be used.
    #[error("cannot use the unpaired features")]
    UnpairedRows(#[from] TrainError),
    /// The teacher is for features of other encoders.
    #[error("the teacher does not fit the features of the pairs")]
    Teacher(#[source] HeadError),
    /// The teacher cannot be fitted to the pairs.
    #[error("cannot fit the teacher to the training pairs")]
    Fit(#[from] FitError),
    /// The teacher may have been fitted to pairs that this run holds out.
    #[error(
        "the teacher {path} holds out {}, expected the {} pairs that this run holds out: what it learned from these pairs would \
         show in their scores; fit it to the same pairs with `--holdout {} --seed {}`, or name a method as the teacher",
        found.as_ref().map_or("no pairs".to_owned(), |found| format!("other pairs ({} of seed {})", found.rows, found.seed)),
        expected.rows, expected.rows, expected.seed
    )]
    TeacherHoldout {
        /// The head file.
        path: PathBuf,
        /// The holdout of the teacher, if its file has one.
        found: Option<Holdout>,
        /// The holdout of the run.
        expected: Holdout,
    },
}
