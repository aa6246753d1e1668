//! What an index is made with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sail_core::{Check, ConfigError, ensure};
use sail_data::source::{ImageData, RecordSource};
use sail_extract::UrlFetch;

use super::manifest::Encoders;
use super::segment_writer::SEGMENT_ROWS;
use crate::{CodeKind, Embedder};

/// Longer side of thumbnails by default.
pub(crate) const THUMBNAIL: u32 = 256;
/// The longest side of thumbnails.
const MAX_THUMBNAIL: u32 = 1024;

/// The model of an index.
pub struct IndexModel<'a> {
    /// Embeds images and texts.
    pub embedder: &'a dyn Embedder,
    /// The head's file, which is copied into the index. Its SHA-256 is that of the identity.
    pub head: Vec<u8>,
    /// Where the encoders are, for those who open the index.
    pub encoders: Encoders,
    /// Logarithm of the factor of similarities in the head's logits.
    pub log_scale: f32,
    /// Bias of the head's logits.
    pub bias: f32,
}

/// What an index is made of.
pub struct IndexSource<'a> {
    /// The images.
    pub images: &'a dyn RecordSource<ImageData>,
    /// Captions of images with the same key. `None` keeps those that the index has.
    pub captions: Option<&'a dyn RecordSource<String>>,
    /// Columns by name: a value for every image, by its key. Empty keeps those that the index has.
    pub columns: BTreeMap<String, &'a dyn RecordSource<String>>,
}

impl<'a> From<&'a dyn RecordSource<ImageData>> for IndexSource<'a> {
    /// Images alone.
    fn from(images: &'a dyn RecordSource<ImageData>) -> Self {
        Self { images, captions: None, columns: BTreeMap::new() }
    }
}

/// The options of an update.
#[derive(Debug, Clone)]
pub struct UpdateOptions {
    /// Images that are embedded at once, at least 1.
    pub block: usize,
    /// Rows of a segment, at least 1.
    pub segment_rows: usize,
    /// Longer side of the thumbnails in pixels, 0 for none, at most 1,024. `None` for that of the index, in a new one 256.
    pub thumbnails: Option<u32>,
    /// How the embeddings are quantized for searches, `Some(None)` for not at all. `None` for that of the index, in a new one
    /// [`CodeKind::Bit`].
    pub codes: Option<Option<CodeKind>>,
    /// The folder that the files of the source are in, if there is one. Paths are recorded relative to it.
    pub root: Option<PathBuf>,
    /// Read all files again, even those whose size and modification time are unchanged.
    pub reread: bool,
    /// Allow an update that removes more than half of the images.
    pub prune: bool,
    /// Rewrite all segments that are not full or have removed rows.
    pub compact: bool,
    /// Interval between checkpoints, the most work that a kill can lose.
    pub checkpoint_every: Duration,
    /// Number of threads that read and preprocess images, at least 1.
    pub threads: usize,
    /// How images are fetched whose source has URLs. `None` skips them.
    pub urls: Option<UrlFetch>,
    /// Set to `true` to stop the update after the current block.
    pub stop: Arc<AtomicBool>,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self {
            block: 32,
            segment_rows: SEGMENT_ROWS,
            thumbnails: None,
            codes: None,
            root: None,
            reread: false,
            prune: false,
            compact: false,
            checkpoint_every: Duration::from_secs(30),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            urls: None,
            stop: Arc::default(),
        }
    }
}

impl Check for UpdateOptions {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.block > 0, "block", self.block, "at least 1")?;
        ensure(self.segment_rows > 0, "segment_rows", self.segment_rows, "at least 1")?;
        let side = self.thumbnails.unwrap_or_default();
        ensure(side <= MAX_THUMBNAIL, "thumbnails", side, format!("at most {MAX_THUMBNAIL} pixels"))?;
        ensure(self.threads > 0, "threads", self.threads, "at least 1")?;
        let at_once = self.urls.as_ref().map_or(1, |urls| urls.at_once);
        ensure(at_once > 0, "urls.at_once", at_once, "at least 1")
    }
}

/// The result of an update.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Updated {
    /// Images of the index now.
    pub images: usize,
    /// Images that were in the index before, with the same key and content.
    pub unchanged: u64,
    /// New images.
    pub added: u64,
    /// Images whose content has changed under the same key.
    pub changed: u64,
    /// Images whose content was in the index under another key, which is gone.
    pub moved: u64,
    /// Images that are no longer in the source.
    pub removed: u64,
    /// Images of the source that cannot be used.
    pub skipped: u64,
    /// Images with captions or columns, if any were given.
    pub noted: u64,
    /// Images that this call embedded.
    pub embedded: u64,
    /// Duration of this call in seconds.
    pub seconds: f64,
}
