//! Features that are computed once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Modality, Provenance, TextTower, VisionTower};
use sail_data::{Dtype, EmbeddingStore};
use sail_extract::{ExtractOptions, Observer, Part, extract_images, extract_texts, read_skipped};

use crate::TaskError;
use crate::inputs::{Fingerprint, Images, Texts};

/// A folder of embedding stores: what a task needs of the encoders is computed once, and the next head costs seconds.
///
/// Each store is called by its task, its modality and a hash of all that decides its rows: model, weights,
/// preprocessing, pooling, settings, number type, and the data. The data are the texts themselves, and of images the
/// names, the sizes and the times of the last change. A tower of your own is known by what its provenance states, so
/// it should state its weights. An embedding that was cut off continues where it stopped, and two processes do not
/// write into one store. Nothing is ever removed.
///
/// # Examples
/// ```
/// use sail_tasks::FeatureCache;
/// let mut observer = |event: sail_extract::Event<'_>| println!("{event:?}");
/// let mut cache = FeatureCache::new("features", &mut observer);
/// cache.images.block = 64; // images embedded at a time
/// ```
pub struct FeatureCache<'a> {
    folder: PathBuf,
    /// How images are embedded. The cache itself sets which records, and whether to resume; a record that cannot be
    /// used is always skipped and counted.
    pub images: ExtractOptions,
    /// How texts are embedded.
    pub texts: ExtractOptions,
    observer: &'a mut dyn Observer,
}

impl<'a> FeatureCache<'a> {
    /// A cache in a folder, which is made when it is needed. Features are kept in f32, so that no rounding lies between
    /// the model and the score.
    pub fn new(folder: impl Into<PathBuf>, observer: &'a mut dyn Observer) -> Self {
        Self {
            folder: folder.into(),
            images: ExtractOptions { dtype: Dtype::F32, ..ExtractOptions::images() },
            texts: ExtractOptions { dtype: Dtype::F32, ..ExtractOptions::texts() },
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
        let (out, options) = place(&self.folder, job, &self.images, &images.fingerprint);
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
        let (out, options) = place(&self.folder, job, &self.texts, &texts.fingerprint());
        extract_texts(tower, &texts.source(), &out, &options, self.observer)?;
        Features::open(&out)
    }
}

/// The folder of a store, and the options that begin, continue or find it.
fn place(
    folder: &Path,
    (task, modality, provenance): (&str, Modality, &Provenance),
    options: &ExtractOptions,
    data: &str,
) -> (PathBuf, ExtractOptions) {
    let mut hash = Fingerprint::default();
    let Provenance { model, revision, weights_sha256, preprocessing, pooling } = provenance;
    hash.add(model.as_bytes());
    for field in [revision, weights_sha256, preprocessing, pooling] {
        hash.add(&[u8::from(field.is_some())]);
        hash.add(field.as_deref().unwrap_or_default().as_bytes());
    }
    for (name, value) in &options.settings {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    let layout = format!("{} {} {}", options.dtype, options.block, options.rows_per_shard);
    hash.add(layout.as_bytes());
    hash.add(data.as_bytes());
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

/// The rows of a store by their keys.
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

    /// The row of a key, or why there is none.
    pub(crate) fn row(&self, key: &str) -> Result<usize, String> {
        self.rows.get(key).copied().ok_or_else(|| {
            let reason = self.skipped.get(key).cloned();
            reason.unwrap_or_else(|| format!("there is no image or text `{key}`"))
        })
    }

    /// The keys of the rows, in the order of the rows.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let mut keys = vec![""; self.rows.len()];
        self.rows.iter().for_each(|(key, &row)| keys[row] = key);
        keys
    }

    /// The records without a row, with the reason, in the order of their keys.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.skipped.iter().map(|(key, reason)| (key.as_str(), reason.as_str()))
    }
}
