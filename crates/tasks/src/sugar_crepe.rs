//! SugarCrepe.

use std::collections::BTreeMap;
use std::path::Path;

use sail_core::AlignmentHead;
use sail_data::source::{ImageRoot, SourceOptions};
use sail_eval::{cosines, group_accuracy, prefers_true_caption};
use serde::{Deserialize, Serialize};

use crate::cache::FeatureCache;
use crate::error::TaskError;
use crate::files::read_json;
use crate::inputs::{Images, Texts};
use crate::model::TaskModel;
use crate::named_accuracy::{NamedAccuracy, named};
use crate::skips::Skips;

/// The files, and the subsets of the published table.
pub(crate) const SUBSETS: [&str; 7] =
    ["replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att"];

/// SugarCrepe (Hsieh et al., 2023, arXiv 2306.14610) as published in `RAIVNLab/sugar-crepe`.
///
/// The folder has `replace_obj.json`, `replace_att.json`, `replace_rel.json`, `swap_obj.json`, `swap_att.json`,
/// `add_obj.json` and `add_att.json`, each an object of items with `filename`, `caption` and `negative_caption`. The images
/// are those of COCO's `val2017`, in another folder.
pub struct SugarCrepeData {
    images: Images,
    captions: Texts,
    items: Vec<Item>,
}

struct Item {
    subset: usize,
    name: String,
    image: String,
    /// The true and the negative caption.
    captions: [usize; 2],
}

#[derive(Deserialize)]
struct Entry {
    filename: String,
    caption: String,
    negative_caption: String,
}

impl SugarCrepeData {
    /// Reads the seven files in a folder; `images` is the folder `val2017`. Of the options, the limits and
    /// [`follow_links`](SourceOptions::follow_links) apply.
    ///
    /// # Errors
    /// [`TaskError::Io`] for a missing file; [`TaskError::TooLarge`], [`TaskError::Malformed`]; [`TaskError::Empty`] for a
    /// file without items.
    pub fn open(folder: &Path, images: &Path, options: &SourceOptions) -> Result<Self, TaskError> {
        let (mut captions, mut items) = (Texts::default(), Vec::new());
        for (subset, name) in SUBSETS.iter().enumerate() {
            let path = folder.join(format!("{name}.json"));
            let entries: BTreeMap<String, Entry> = read_json(&path, "a subset of SugarCrepe")?;
            if entries.is_empty() {
                return Err(TaskError::Empty { path, what: "item" });
            }
            let mut entries: Vec<_> = entries.into_iter().collect();
            // The keys are integers without leading zeros.
            entries.sort_by_key(|(key, _)| key.len());
            items.extend(entries.into_iter().map(|(key, entry)| Item {
                subset,
                name: format!("{name} {key}"),
                image: entry.filename,
                captions: [captions.add(&entry.caption), captions.add(&entry.negative_caption)],
            }));
        }
        let root = ImageRoot::new(images, options).map_err(TaskError::Images)?;
        let images = Images::named(&root, items.iter().map(|item| item.image.as_str()));
        Ok(Self { images, captions, items })
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns `false`: [`open`](Self::open) rejects an empty file.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// The result of SugarCrepe, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SugarCrepeResult {
    /// Mean accuracy over the subsets.
    pub mean: f64,
    /// Accuracy over all items.
    pub overall: f64,
    /// Accuracy of each subset.
    pub subsets: Vec<NamedAccuracy>,
    /// Number of scored items.
    pub n_items: usize,
    /// Items that were skipped because the image or a caption is unusable.
    pub skipped: Skips,
}

/// Scores a model on SugarCrepe: an item is correct if the cosine of the image with the true caption is above that with the
/// negative one ([`sail_eval::prefers_true_caption`]).
///
/// # Errors
/// [`TaskError`] if the head does not match the towers, nothing can be embedded, or all items are skipped.
pub fn sugar_crepe<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &SugarCrepeData,
    cache: &mut FeatureCache<'_>,
) -> Result<SugarCrepeResult, TaskError> {
    let images = model.images("sugarcrepe", &data.images, cache)?;
    let captions = model.texts("sugarcrepe", &data.captions, cache)?;
    let rows = |item: &Item| -> Result<[[usize; 2]; 2], String> {
        let image = images.features.row(&item.image)?;
        let row = |text| captions.features.row(&Texts::key(text));
        Ok([[image, row(item.captions[0])?], [image, row(item.captions[1])?]])
    };
    let (mut groups, mut wanted, mut skipped) = (Vec::new(), Vec::new(), Skips::default());
    for item in &data.items {
        match rows(item) {
            Ok(two) => {
                groups.push(item.subset);
                wanted.extend(two);
            }
            Err(reason) => skipped.add(&item.name, reason),
        }
    }
    if groups.is_empty() {
        return Err(skipped.nothing_left("items"));
    }
    let cosines = cosines(images.embeddings, captions.embeddings, &wanted)?;
    let correct: Vec<bool> =
        cosines.chunks_exact(2).map(|two| prefers_true_caption(two[0], two[1])).collect();
    let accuracy = group_accuracy(&correct, &groups, SUBSETS.len())?;
    Ok(SugarCrepeResult {
        mean: accuracy.mean,
        overall: accuracy.overall,
        subsets: named(&SUBSETS.map(str::to_owned), &accuracy),
        n_items: correct.len(),
        skipped,
    })
}
