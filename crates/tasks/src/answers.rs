//! Predictions for single images, for reports.

use burn::tensor::Tensor;
use sail_core::RgbImage;
use sail_data::source::ImageData;
use sail_data::{DecodeLimits, decode_image};
use sail_eval::{BlockSize, Match, top_k};
use sail_support::read_bounded;
use serde::Serialize;

use crate::error::TaskError;
use crate::inputs::Images;

/// The best-scoring texts for an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Key of the image.
    pub key: String,
    /// The correct texts: the class name, or the captions.
    pub truth: Vec<String>,
    /// The texts with the highest cosines, best first; ties in the order of the data.
    pub candidates: Vec<Candidate>,
    /// Row of the image in the store, for finding it again.
    #[serde(skip)]
    row: usize,
}

/// A text with its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Class name or caption.
    pub label: String,
    /// Cosine similarity.
    pub score: f32,
    /// Whether it is correct.
    pub correct: bool,
}

impl Answer {
    /// Returns whether the first candidate is correct.
    pub fn is_correct(&self) -> bool {
        self.candidates.first().is_some_and(|candidate| candidate.correct)
    }
}

/// The images and texts of [`answers`].
pub(crate) struct Gallery<'a> {
    /// Key and row in the store of every image.
    pub(crate) keys: Vec<(&'a str, usize)>,
    /// The texts.
    pub(crate) texts: Vec<&'a str>,
    /// The indices of the correct texts of every image.
    pub(crate) correct: Vec<Vec<usize>>,
}

/// Returns the `k` texts with the highest cosines for every image.
pub(crate) fn answers(
    images: Tensor<2>,
    texts: Tensor<2>,
    gallery: &Gallery<'_>,
    k: usize,
) -> Result<Vec<Answer>, TaskError> {
    let found = top_k(images, texts, k, &BlockSize::SEARCH)?;
    let candidate = |correct: &[usize], found: &Match| Candidate {
        label: gallery.texts[found.index].to_owned(),
        score: found.score,
        correct: correct.contains(&found.index),
    };
    let images = gallery.keys.iter().zip(&gallery.correct).zip(found);
    let answers = images.map(|((&(key, row), correct), matches)| Answer {
        key: key.to_owned(),
        truth: correct.iter().map(|&text| gallery.texts[text].to_owned()).collect(),
        candidates: matches.iter().map(|found| candidate(correct, found)).collect(),
        row,
    });
    Ok(answers.collect())
}

/// Loads the image of an answer. Returns `None` if it no longer exists.
pub(crate) fn image(images: &Images, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
    // Rows are in the order of the records, some of which were skipped.
    let records = images.source.records(answer.row as u64..u64::MAX).map_err(TaskError::Images)?;
    for record in records {
        let record = record.map_err(TaskError::Images)?;
        if record.key == answer.key {
            let bytes = match record.value {
                Ok(ImageData::Bytes(bytes)) => Some(bytes),
                Ok(ImageData::File(path)) => read_bounded(&path, DecodeLimits::default().max_bytes).ok(),
                Ok(ImageData::Url(_)) => None,
                Err(_) => None,
            };
            return Ok(bytes.and_then(|bytes| decode_image(&bytes, &DecodeLimits::default()).ok()));
        }
    }
    Ok(None)
}
