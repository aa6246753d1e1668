//! Retrieval on the Karpathy splits of COCO captions and Flickr30k.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, RgbImage};
use sail_data::source::{ImageRoot, SourceOptions};
use sail_eval::{BlockSize, Retrieval, retrieval};
use serde::{Deserialize, Serialize};

use crate::answers::{Answer, Gallery, answers, image};
use crate::cache::FeatureCache;
use crate::error::TaskError;
use crate::files::read_json;
use crate::inputs::{Images, Texts};
use crate::model::TaskModel;
use crate::skips::Skips;

/// The published files.
pub(crate) const KARPATHY: [&str; 2] = ["dataset_coco.json", "dataset_flickr30k.json"];

/// A split of COCO captions or Flickr30k in the format of Karpathy and Fei-Fei (2015, arXiv 1412.2306):
/// `dataset_coco.json` or `dataset_flickr30k.json`.
///
/// Its `images` have `filename`, for COCO also `filepath` (the folder, such as `val2014`), `split`, and `sentences` with
/// the captions as `raw`. Of each image the first captions are used, usually five; some images have more.
pub struct CaptionData {
    images: Images,
    captions: Texts,
    captioned: Vec<Captioned>,
    skipped: Skips,
}

struct Captioned {
    name: String,
    captions: Vec<usize>,
}

#[derive(Deserialize)]
struct Dataset {
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    filename: String,
    #[serde(default)]
    filepath: Option<String>,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    /// Missing where Python wrote a number that is not one.
    raw: Option<String>,
}

impl CaptionData {
    /// Reads a split, usually `test`, with at most `per_image` captions per image. `images` is the folder with `val2014` (and
    /// `train2014`), or with the images of Flickr30k. Of the options, the limits and
    /// [`follow_links`](SourceOptions::follow_links) apply.
    ///
    /// # Errors
    /// [`TaskError::Io`], [`TaskError::TooLarge`] and [`TaskError::Malformed`] for the file; [`TaskError::NoSplit`] for an
    /// empty split; [`TaskError::Duplicate`] for a duplicate image.
    pub fn open(
        path: &Path,
        images: &Path,
        split: &str,
        per_image: usize,
        options: &SourceOptions,
    ) -> Result<Self, TaskError> {
        let dataset: Dataset = read_json(path, "Karpathy's dataset_coco.json or dataset_flickr30k.json")?;
        let mut splits = BTreeMap::new();
        dataset.images.iter().for_each(|image| *splits.entry(image.split.clone()).or_insert(0) += 1);
        if !splits.contains_key(split) {
            let splits: Vec<String> =
                splits.iter().map(|(name, count)| format!("{name} ({count})")).collect();
            let available = if splits.is_empty() { "none".to_owned() } else { splits.join(", ") };
            return Err(TaskError::NoSplit { path: path.to_owned(), split: split.to_owned(), available });
        }
        let (mut captions, mut captioned, mut skipped) = (Texts::default(), Vec::new(), Skips::default());
        let mut seen = HashSet::new();
        for image in dataset.images.into_iter().filter(|image| image.split == split) {
            let name = match image.filepath.filter(|folder| !folder.is_empty()) {
                Some(folder) => format!("{folder}/{}", image.filename),
                None => image.filename,
            };
            if !seen.insert(name.clone()) {
                return Err(TaskError::Duplicate { path: path.to_owned(), what: "image", name });
            }
            let mut texts = Vec::new();
            for sentence in image.sentences.iter().take(per_image) {
                match &sentence.raw {
                    Some(raw) => texts.push(captions.add(raw)),
                    None => skipped.add(&name, "a caption is null or not a number, expected text"),
                }
            }
            match texts.is_empty() {
                true => skipped.add(&name, "the image has no captions"),
                false => captioned.push(Captioned { name, captions: texts }),
            }
        }
        if captioned.is_empty() {
            return Err(skipped.nothing_left("images"));
        }
        let root = ImageRoot::new(images, options).map_err(TaskError::Images)?;
        let images = Images::named(&root, captioned.iter().map(|image| image.name.as_str()));
        Ok(Self { images, captions, captioned, skipped })
    }

    /// Loads the image of an answer. Returns `None` if it no longer exists.
    ///
    /// # Errors
    /// [`TaskError::Images`] if the images cannot be read.
    pub fn image(&self, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
        image(&self.images, answer)
    }

    /// Returns the number of images with captions.
    pub fn len(&self) -> usize {
        self.captioned.len()
    }

    /// Returns `false`: [`open`](Self::open) rejects an empty split.
    pub fn is_empty(&self) -> bool {
        self.captioned.is_empty()
    }
}

/// The result of retrieval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionResult {
    /// The scores.
    #[serde(flatten)]
    pub retrieval: Retrieval,
    /// Skipped images with their captions, and skipped captions.
    pub skipped: Skips,
}

/// Scores a model on image-to-text and text-to-image retrieval: [`sail_eval::retrieval`].
///
/// # Errors
/// [`TaskError`] if the head does not match the towers, nothing can be embedded, or all images are skipped.
pub fn caption_retrieval<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &CaptionData,
    cache: &mut FeatureCache<'_>,
) -> Result<CaptionResult, TaskError> {
    embed(model, data, cache)?.score()
}

/// Returns the result of [`caption_retrieval`], and the `k` best captions for each image.
///
/// # Errors
/// Those of [`caption_retrieval`], and [`TaskError::Eval`] if `k` is 0.
pub fn caption_answers<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &CaptionData,
    cache: &mut FeatureCache<'_>,
    k: usize,
) -> Result<(CaptionResult, Vec<Answer>), TaskError> {
    let embedded = embed(model, data, cache)?;
    let mut correct = vec![Vec::new(); embedded.keys.len()];
    embedded.text_to_image.iter().enumerate().for_each(|(text, &image)| correct[image].push(text));
    let texts = embedded.captions.iter().map(|&caption| data.captions.text(caption)).collect();
    let gallery = Gallery { keys: embedded.keys.clone(), texts, correct };
    let answers = answers(embedded.images.clone(), embedded.texts.clone(), &gallery, k)?;
    Ok((embedded.score()?, answers))
}

/// The images and captions that can be scored.
struct Embedded<'a> {
    images: Tensor<2>,
    texts: Tensor<2>,
    text_to_image: Vec<usize>,
    /// Name and row in the store of every image.
    keys: Vec<(&'a str, usize)>,
    /// Index of every caption.
    captions: Vec<usize>,
    skipped: Skips,
}

impl Embedded<'_> {
    fn score(self) -> Result<CaptionResult, TaskError> {
        let Self { images, texts, text_to_image, skipped, .. } = self;
        Ok(CaptionResult {
            retrieval: retrieval(images, texts, &text_to_image, &BlockSize::default())?,
            skipped,
        })
    }
}

fn embed<'a, H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &'a CaptionData,
    cache: &mut FeatureCache<'_>,
) -> Result<Embedded<'a>, TaskError> {
    let images = model.images("captions", &data.images, cache)?;
    let texts = model.texts("captions", &data.captions, cache)?;
    let (mut keys, mut captions, mut text_rows, mut text_to_image) = (vec![], vec![], vec![], vec![]);
    let mut skipped = data.skipped.clone();
    for image in &data.captioned {
        let row = match images.features.row(&image.name) {
            Ok(row) => row,
            Err(reason) => {
                skipped.add(&image.name, reason);
                continue;
            }
        };
        for &caption in &image.captions {
            match texts.features.row(&Texts::key(caption)) {
                Ok(text) => {
                    text_rows.push(text);
                    captions.push(caption);
                }
                Err(reason) => {
                    let text = data.captions.text(caption);
                    skipped.add(&format!("{}: `{text}`", image.name), reason);
                }
            }
        }
        if text_rows.len() > text_to_image.len() {
            text_to_image.resize(text_rows.len(), keys.len());
            keys.push((image.name.as_str(), row));
        }
    }
    if keys.is_empty() {
        return Err(skipped.nothing_left("images"));
    }
    let image_rows: Vec<usize> = keys.iter().map(|(_, row)| *row).collect();
    let (images, texts) = (images.select(&image_rows), texts.select(&text_rows));
    Ok(Embedded { images, texts, text_to_image, keys, captions, skipped })
}
