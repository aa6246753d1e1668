//! The approximate tier: a graph of nearest neighbours over codes.

mod config;
mod edges;
mod engine;
mod error;
mod file;
mod graph;
mod points;
mod search;

pub use config::GraphConfig;
pub use error::GraphError;
pub use search::ApproximateSearch;
