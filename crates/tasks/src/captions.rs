//! Retrieval on COCO captions and Flickr30k, in Karpathy's splits.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, RgbImage};
use sail_data::source::{ImageRoot, SourceOptions};
use sail_eval::{BlockSize, Retrieval, retrieval};
use serde::{Deserialize, Serialize};

use crate::answers::{Known, answers, image};
use crate::files::read_json;
use crate::inputs::{Images, Texts};
use crate::{Answer, FeatureCache, Skips, TaskError, TaskModel};

/// The files, as they are published.
pub(crate) const KARPATHY: [&str; 2] = ["dataset_coco.json", "dataset_flickr30k.json"];

/// A split of COCO captions or Flickr30k in the form of Karpathy and Fei-Fei (2015, arXiv 1412.2306):
/// `dataset_coco.json` or `dataset_flickr30k.json`.
///
/// Its `images` have `filename`, for COCO also `filepath` (the folder, such as `val2014`), `split`, and `sentences`, whose
/// `raw` are the captions. Of each image the first captions count, five as a rule; some images have more.
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
    raw: String,
}

impl CaptionData {
    /// Reads a split, `test` as a rule, with at most `per_image` captions of an image. `images` is the folder that holds
    /// `val2014` and the like, or the images of Flickr30k.
    ///
    /// # Errors
    /// [`TaskError::Io`], [`TaskError::TooLarge`] and [`TaskError::Malformed`] for the file; [`TaskError::NoSplit`] for a
    /// split without an image; [`TaskError::Duplicate`] for an image that is there twice.
    pub fn open(path: &Path, images: &Path, split: &str, per_image: usize) -> Result<Self, TaskError> {
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
            let texts: Vec<usize> =
                image.sentences.iter().take(per_image).map(|sentence| captions.add(&sentence.raw)).collect();
            match texts.is_empty() {
                true => skipped.add(&name, "it has no caption"),
                false => captioned.push(Captioned { name, captions: texts }),
            }
        }
        if captioned.is_empty() {
            return Err(skipped.nothing_left("images"));
        }
        let root = ImageRoot::new(images, &SourceOptions::default()).map_err(TaskError::Images)?;
        let images = Images::named(&root, captioned.iter().map(|image| image.name.as_str()));
        Ok(Self { images, captions, captioned, skipped })
    }

    /// The image of an answer; nothing where it is no longer there.
    ///
    /// # Errors
    /// [`TaskError::Images`] where the images cannot be read at all.
    pub fn image(&self, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
        image(&self.images, answer)
    }

    /// How many images the split has that have captions.
    pub fn len(&self) -> usize {
        self.captioned.len()
    }

    /// Whether there is none, which [`open`](Self::open) refuses.
    pub fn is_empty(&self) -> bool {
        self.captioned.is_empty()
    }
}

/// What retrieval came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionResult {
    /// The scores.
    #[serde(flatten)]
    pub retrieval: Retrieval,
    /// Images left out with their captions, and captions left out alone.
    pub skipped: Skips,
}

/// Scores a model on the retrieval of captions and images, both ways: [`sail_eval::retrieval`].
///
/// # Errors
/// [`TaskError`] where the head does not go with the towers, nothing can be embedded, or no image with a caption is
/// left.
pub fn caption_retrieval<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &CaptionData,
    cache: &mut FeatureCache<'_>,
) -> Result<CaptionResult, TaskError> {
    embed(model, data, cache)?.score()
}

/// [`caption_retrieval`], and the first `k` captions that each image finds.
///
/// # Errors
/// Those of [`caption_retrieval`], and [`TaskError::Eval`] for a `k` of 0.
pub fn caption_answers<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &CaptionData,
    cache: &mut FeatureCache<'_>,
    k: usize,
) -> Result<(CaptionResult, Vec<Answer>), TaskError> {
    let embedded = embed(model, data, cache)?;
    let mut right = vec![Vec::new(); embedded.keys.len()];
    embedded.text_to_image.iter().enumerate().for_each(|(text, &image)| right[image].push(text));
    let texts = embedded.captions.iter().map(|&caption| data.captions.text(caption)).collect();
    let known = Known { keys: embedded.keys.clone(), texts, right };
    let answers = answers(embedded.images.clone(), embedded.texts.clone(), &known, k)?;
    Ok((embedded.score()?, answers))
}

/// The images and captions that can be scored.
struct Embedded<'a> {
    images: Tensor<2>,
    texts: Tensor<2>,
    text_to_image: Vec<usize>,
    /// The name of every image and its row in the store.
    keys: Vec<(&'a str, usize)>,
    /// The number of every caption.
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
