//! A cache of features.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Modality, Provenance, StoreDtype, TextTower, VisionTower};
use sail_data::{EmbeddingStore, Fingerprint};
use sail_extract::{ExtractOptions, Observer, Part, extract_images, extract_texts, read_skipped};

use crate::error::TaskError;
use crate::inputs::{Images, Texts};

/// A folder of embedding stores, so that the backbones run once per task and evaluating another head takes seconds.
///
/// The name of a store has the task, the modality and a [`Fingerprint`] of everything that determines its rows: model,
/// weights, preprocessing, pooling, settings, dtype, and the data. The data are the texts themselves, and the names, sizes
/// and modification times of images. A custom tower is identified by its provenance, so that should contain a hash of its
/// weights. An interrupted extraction is resumed, and two processes do not write to the same store. Nothing is removed.
///
/// # Examples
/// ```
/// use sail_tasks::FeatureCache;
/// let mut observer = |event: sail_extract::Event<'_>| println!("{event:?}");
/// let mut cache = FeatureCache::new("features", &mut observer);
/// cache.images.block = 64; // batch size of images
/// ```
pub struct FeatureCache<'a> {
    folder: PathBuf,
    /// Options for images. The cache overrides `source`, `limit`, `part`, `strict` and `resume`; unusable records are always
    /// skipped and counted.
    pub images: ExtractOptions,
    /// Options for texts, as for images.
    pub texts: ExtractOptions,
    observer: &'a mut dyn Observer,
}

impl<'a> FeatureCache<'a> {
    /// Creates a cache in a folder, which is created on demand. The default dtype is `f32`, so that features are not rounded.
    pub fn new(folder: impl Into<PathBuf>, observer: &'a mut dyn Observer) -> Self {
        Self {
            folder: folder.into(),
            images: ExtractOptions { dtype: StoreDtype::F32, ..ExtractOptions::images() },
            texts: ExtractOptions { dtype: StoreDtype::F32, ..ExtractOptions::texts() },
            observer,
        }
    }

    pub(crate) fn images(
        &mut self,
        task: &str,
        tower: &VisionTower,
        images: &Images,
    ) -> Result<Features, TaskError> {
        let job = (task, Modality::Image, &tower.provenance());
        let (out, options) = store_options(&self.folder, job, &self.images, &images.fingerprint);
        extract_images(tower, images.source.as_ref(), &out, &options, self.observer)?;
        Features::open(&out)
    }

    pub(crate) fn texts(
        &mut self,
        task: &str,
        tower: &TextTower,
        texts: &Texts,
    ) -> Result<Features, TaskError> {
        let job = (task, Modality::Text, &tower.provenance());
        let (out, options) = store_options(&self.folder, job, &self.texts, &texts.fingerprint());
        extract_texts(tower, &texts.source(), &out, &options, self.observer)?;
        Features::open(&out)
    }
}

/// Returns the folder of a store, and the options that create, resume or open it.
fn store_options(
    folder: &Path,
    (task, modality, provenance): (&str, Modality, &Provenance),
    options: &ExtractOptions,
    data: &str,
) -> (PathBuf, ExtractOptions) {
    let mut hash = Fingerprint::default();
    hash.add_provenance(provenance);
    for (name, value) in &options.settings {
        hash.add(name.as_bytes()).add(value.as_bytes());
    }
    let layout = format!("{} {} {}", options.dtype, options.block, options.rows_per_shard);
    hash.add(layout.as_bytes()).add(data.as_bytes());
    let out = folder.join(format!("{task}-{modality}s-{}", &hash.finish()[..16]));
    let resume = out.exists();
    let options = ExtractOptions {
        source: format!("{task} {data}"),
        limit: None,
        part: Part::WHOLE,
        strict: false,
        resume,
        ..options.clone()
    };
    (out, options)
}

/// A store with an index of its keys.
pub(crate) struct Features {
    pub(crate) store: EmbeddingStore,
    rows: HashMap<String, usize>,
    skipped: BTreeMap<String, String>,
}

impl Features {
    fn open(path: &Path) -> Result<Self, TaskError> {
        let cache = |source| TaskError::Cache { path: path.to_owned(), source };
        let store = EmbeddingStore::open(path).map_err(cache)?;
        let all: Vec<usize> = (0..store.rows()).collect();
        let keys = store.keys(&all).map_err(|error| cache(error.into()))?;
        let rows = keys.into_iter().zip(all).collect();
        let skipped = read_skipped(path)?.into_iter().map(|skipped| (skipped.key, skipped.reason)).collect();
        Ok(Self { store, rows, skipped })
    }

    /// Returns the row of a key, or the reason why there is none.
    pub(crate) fn row(&self, key: &str) -> Result<usize, String> {
        self.rows.get(key).copied().ok_or_else(|| {
            let reason = self.skipped.get(key).cloned();
            reason.unwrap_or_else(|| format!("the image or text `{key}` is missing"))
        })
    }

    /// Returns the keys in the order of the rows.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let mut keys = vec![""; self.rows.len()];
        self.rows.iter().for_each(|(key, &row)| keys[row] = key);
        keys
    }

    /// Iterates over the keys of skipped records with their reasons, sorted by key.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.skipped.iter().map(|(key, reason)| (key.as_str(), reason.as_str()))
    }
}
