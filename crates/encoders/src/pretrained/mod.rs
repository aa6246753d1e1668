//! Published checkpoints: files, configuration and weights.

mod error;
mod fetch;
mod files;
mod folder;
#[cfg(test)]
mod hostile_tests;
mod pickle;
mod slots;
pub(crate) mod small_file;
mod spec;
mod torch_file;
mod weights;

pub use error::ModelError;
pub use folder::ModelFolder;
pub use spec::ModelSpec;
pub(crate) use weights::{Names, Weights};
