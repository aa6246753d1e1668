//! Models and data sets by id from the hub, through the cache that the hub's own tools use.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod client;
mod dataset;
mod error;
#[cfg(feature = "hub")]
mod fetch;
mod kind;
mod options;

pub use dataset::open_dataset;
pub use error::HubError;
#[cfg(feature = "hub")]
pub use fetch::fetch;
pub use kind::RepoKind;
pub use options::{FileProgress, HubOptions, ProgressFn};
