//! Published checkpoints: files, configuration and weights.

mod error;
mod fetch;
mod files;
mod folder;
#[cfg(test)]
mod hostile_tests;
mod modules;
mod pickle;
mod problems;
mod slots;
pub(crate) mod small_file;
mod spec;
mod torch_file;
mod weights;

pub use error::ModelError;
pub use folder::ModelFolder;
pub(crate) use modules::{Module, ModuleKind};
pub use problems::TensorProblems;
pub use spec::ModelSpec;
pub(crate) use weights::{Names, Weights};
