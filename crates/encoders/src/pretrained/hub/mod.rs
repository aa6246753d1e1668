//! Models by id from the hub, through the cache that the hub's own tools use.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod client;
mod error;
#[cfg(feature = "hub")]
mod fetch;
mod options;

pub use error::HubError;
#[cfg(feature = "hub")]
pub use fetch::fetch;
pub use options::{FileProgress, HubOptions, ProgressFn};
