//! Published checkpoints: their files, configuration and weights.

mod error;
mod files;
mod folder;
#[cfg(test)]
mod hostile_tests;
mod hub;
mod load;
mod pickle;
mod slots;
pub(crate) mod small_file;
mod spec;
mod torch_file;
mod weights;

pub use error::ModelError;
pub use folder::ModelFolder;
#[cfg(feature = "hub")]
pub use hub::fetch;
pub use hub::{FileProgress, HubError, HubOptions, ProgressFn, RepoKind, open_dataset};
pub use load::{TextOptions, VisionOptions, load_text, load_vision};
pub use spec::ModelSpec;
pub(crate) use weights::{Names, Weights};
