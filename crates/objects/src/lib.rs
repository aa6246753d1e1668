//! Data sets and embedding stores in object stores: Amazon S3 and its relatives, Google Cloud Storage, Azure Blob Storage.
//!
//! `Bucket` brings the objects below a URL into a folder of the local cache, which is then read like any other, and
//! uploads a finished folder. An object that is in the cache is not fetched again unless it has changed.
//!
//! Without the feature `cloud`, the crate is empty.
#![cfg(feature = "cloud")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bucket;
mod cache;
mod error;
mod upload;

pub use bucket::{Bucket, is_object_url};
pub use cache::{FetchOptions, ProgressFn};
pub use error::ObjectError;
pub use sail_support::Progress;
