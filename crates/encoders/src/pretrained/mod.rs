//! Published checkpoints: files, configuration and weights.

mod checkpoint;
mod configuration;
mod error;
mod fetch;
mod files;
mod folder;
mod hashes;
#[cfg(test)]
mod hostile_tests;
mod map;
mod modules;
mod problems;
pub(crate) mod small_file;
mod spec;
mod weights;

use sail_support::torch as torch_file;

pub(crate) use checkpoint::Checkpoint;
pub use error::ModelError;
pub use folder::ModelFolder;
pub(crate) use map::{Rule, WeightMap};
pub(crate) use modules::{Module, ModuleKind};
pub use problems::TensorProblems;
pub use spec::ModelSpec;
pub(crate) use weights::Weights;
