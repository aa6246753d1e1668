//! Models and data sets from the Hugging Face Hub.
//!
//! Turns an id and a revision into a local folder of files, in the cache that `huggingface_hub` and its relatives share.
//! Every file is verified against the checksum of the hub before it appears under its name, interrupted downloads are
//! resumed, and complete snapshots are used without a connection.
//!
//! [`open_dataset`] fetches the files of a data set that match a predicate. [`Repository`] lists the files of a revision
//! and fetches them individually; `sail-encoders` uses it to fetch models.
//!
//! Without the feature `download`, only folders and complete snapshots in the cache can be opened.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
#[cfg_attr(not(feature = "download"), path = "no_client.rs")]
mod client;
mod dataset;
#[cfg(feature = "download")]
mod download;
mod error;
mod id;
mod kind;
mod options;
mod repository;

pub use dataset::open_dataset;
pub use error::HubError;
pub use id::RepoId;
pub use kind::RepoKind;
pub use options::{FileProgress, HubOptions, ProgressFn, StopFn};
pub use repository::{Listing, Repository};
pub use sail_support::Progress;
