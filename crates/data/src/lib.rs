//! Image-text data for alignment: frozen features on disk, paired by key, split and drawn in batches.
//!
//! The expensive backbones run once and leave an [`EmbeddingStore`]; everything after that reads rows
//! through [`sail_core::FeatureSource`]. Four decisions shape the crate:
//!
//! - **Rows pair by key, never by luck.** [`Pairs`] joins an image source with its caption sources by the
//!   keys of their rows and refuses, naming the first keys, what does not match. Position counts only where
//!   a source has no keys: a bare matrix ([`SafetensorsFeatures`], [`MatrixFeatures`]).
//! - **Memory holds indices, not features.** Rows and keys of a store are read from its shards when they are
//!   needed; [`Pairs`] keeps 4 to 12 bytes a row; a shuffled epoch is a [`Permutation`] that is computed, not
//!   stored.
//! - **Everything is random access and the same on every machine.** Which rows make up step `s` of epoch
//!   `e`, which caption stands for an image in it, and which keys are held out are pure functions of the
//!   seed, so a run can resume in the middle of an epoch.
//! - **Files are not trusted.** Opening a store checks every number that gathering relies on; a file cannot
//!   execute anything, name a file outside its folder, or ask for more memory than its own size warrants.
//!   Checksums are verified on request ([`EmbeddingStore::verify`]), values whenever a batch is drawn.
//!
//! Deliberate absences: no tensors and no device (rows are `f32` slices), no resizing of images and no
//! tokenising of texts, no memory maps (a file that is cut short under one ends the process), no threads of its own
//! beyond rayon's pool and those that wait for a disk.
//!
//! # Examples
//! ```
//! use std::sync::Arc;
//!
//! use sail_core::{Modality, Provenance};
//! use sail_data::{BatchSampler, Pairs, StoreConfig, StoreWriter, open_features};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("images");
//! let config = StoreConfig::new(Modality::Image, Provenance::new("dinov2-small"), 2);
//! let mut writer = StoreWriter::create(&path, config)?;
//! writer.push("cat.png", &[1.0, 0.0])?;
//! writer.push("dog.png", &[0.0, 1.0])?;
//! let images = writer.finish()?;
//!
//! let config = StoreConfig::new(Modality::Text, Provenance::new("all-MiniLM-L6-v2"), 1);
//! let mut writer = StoreWriter::create(folder.path().join("texts"), config)?;
//! writer.extend([("dog.png", [3.0]), ("cat.png", [1.0]), ("cat.png", [2.0])])?;
//! writer.finish()?;
//! let captions = open_features(folder.path().join("texts").to_str().ok_or("not UTF-8")?)?;
//!
//! let pairs = Pairs::new(Arc::new(images), vec![Arc::new(captions)])?;
//! assert_eq!(pairs.caption_rows(0, 0), [1, 2]); // both captions of cat.png
//!
//! let sampler = BatchSampler::new(pairs.len(), 2, 42)?;
//! let batch = pairs.batch(&sampler.indices(0, 0), 0, 42)?;
//! assert_eq!((batch.rows, batch.images.len(), batch.texts[0].len()), (2, 4, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod concat;
mod decode;
mod dtype;
mod error;
mod file;
mod fingerprint;
mod gather;
mod header;
mod key_index;
mod keys;
mod matrix;
mod open;
mod pairs;
mod permutation;
mod safetensors_file;
mod sampler;
mod scan;
pub mod source;
mod store;
mod stored_matrix;

pub use concat::ConcatFeatures;
pub use decode::{DecodeError, DecodeLimits, decode_image};
pub use dtype::Dtype;
pub use error::{DataError, KeySample};
pub use matrix::MatrixFeatures;
pub use open::{Features, open_features, split_tensor_spec};
pub use pairs::{PairBatch, Pairs, Split};
pub use permutation::Permutation;
pub use safetensors_file::{SafetensorsFeatures, read_indices};
pub use sampler::BatchSampler;
pub use scan::scan;
pub use store::{EmbeddingStore, StoreConfig, StoreWriter};
