//! Image-text data for alignment: frozen features on disk, paired by key, split and sampled in batches.
//!
//! Backbones run once and write an [`EmbeddingStore`]. Everything after that reads rows through
//! [`sail_core::FeatureSource`]. The main design decisions:
//!
//! - **Rows pair by key.** [`Pairs`] joins an image source with its caption sources by the keys of their rows, counts the
//!   rows without a partner, and drops them or returns an error, as [`Unmatched`] says. Rows pair by position only if a source has no keys: a bare matrix
//!   ([`SafetensorsFeatures`], [`MatrixFeatures`]).
//! - **Memory holds indices, not features.** Rows and keys of a store are read from its shards on demand; [`Pairs`]
//!   stores 4 to 12 bytes per row; a shuffled epoch is a computed [`Permutation`].
//! - **Everything is random access and deterministic across machines.** The rows of step `s` of epoch `e`, the caption
//!   sampled for an image in it, and the held-out keys are pure functions of the seed, so a run can resume in the middle
//!   of an epoch.
//! - **Files are not trusted.** Opening a store validates what gathering relies on, and reading keys validates them; a file
//!   cannot execute code, refer to a file outside its folder, or cause an allocation larger than its own size justifies.
//!   Checksums, keys and values are verified in one pass on request ([`Features::verify`]), values again whenever a batch
//!   is read.
//!
//! Out of scope: tensors and devices (rows are `f32` slices), image resizing and tokenization, memory maps (truncating a
//! mapped file would end the process), threads other than rayon's pool and those that wait for a disk.
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

mod arrays;
mod caption_set;
mod codec;
mod compatible;
mod decode;
mod error;
mod export;
mod features;
mod file;
mod fingerprint;
mod gather;
mod hashing;
mod header;
mod key_list;
mod key_rewrite;
mod key_sample;
mod keys;
mod matrix;
mod open;
mod pairing;
mod pairs;
mod pairs_fingerprint;
mod permutation;
mod refusal;
mod safetensors_file;
mod sampler;
mod samples;
mod scan;
mod selected;
pub mod source;
mod statistics;
mod store;
mod stored_matrix;
mod subset;
mod thumbnail;
mod verify;

pub use arrays::{Array, ArrayFile, write_arrays};
pub use decode::{DecodeError, DecodeLimits, StoredImage, decode_image, decode_stored};
pub use error::DataError;
pub use export::{ExportFormat, Exported, export};
pub use features::{ConcatFeatures, Features};
pub use fingerprint::Fingerprint;
pub use key_list::KeyList;
pub use key_rewrite::KeyRewrite;
pub use key_sample::KeySample;
pub use matrix::MatrixFeatures;
pub use open::{open_features, same_features, split_tensor_spec};
pub use pairing::{Matched, Pairing, Unmatched};
pub use pairs::{PairBatch, Pairs, Split};
pub use permutation::Permutation;
pub use safetensors_file::{SafetensorsFeatures, read_indices};
pub use sampler::BatchSampler;
pub use samples::{CaptionSampling, Samples};
pub use scan::scan;
pub use selected::SelectedFeatures;
pub use statistics::{FeatureStatistics, Norms, statistics, unusable_rows};
pub use store::{EmbeddingStore, StoreConfig, StoreWriter, write_rows};
pub use subset::{subset_by_count, subset_by_fraction};
pub use thumbnail::{encode_thumbnail, thumbnail};
