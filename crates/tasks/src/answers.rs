//! What a model says of single images, for reports.

use std::fs;

use burn::tensor::Tensor;
use sail_core::RgbImage;
use sail_data::source::ImageData;
use sail_data::{DecodeLimits, decode_image};
use sail_eval::{BlockSize, Match, top_k};
use serde::Serialize;

use crate::TaskError;
use crate::inputs::Images;

/// What a model ranks first for an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The image.
    pub key: String,
    /// What would be right: the class, or the captions.
    pub truth: Vec<String>,
    /// The texts with the highest cosines, best first; equal ones in the order of the data.
    pub candidates: Vec<Candidate>,
    /// The row of the image in the store, so that it is found again.
    #[serde(skip)]
    row: usize,
}

/// One of the texts that an image found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The name of the class, or the caption.
    pub label: String,
    /// The cosine.
    pub score: f32,
    /// Whether it is right.
    pub correct: bool,
}

impl Answer {
    /// Whether the first candidate is right.
    pub fn is_right(&self) -> bool {
        self.candidates.first().is_some_and(|candidate| candidate.correct)
    }
}

/// What is known of the images and texts of [`answers`].
pub(crate) struct Known<'a> {
    /// The key of every image, and its row in the store.
    pub(crate) keys: Vec<(&'a str, usize)>,
    /// Every text.
    pub(crate) texts: Vec<&'a str>,
    /// The texts that are right for an image.
    pub(crate) right: Vec<Vec<usize>>,
}

/// The `k` texts with the highest cosines for every image.
pub(crate) fn answers(
    images: Tensor<2>,
    texts: Tensor<2>,
    known: &Known<'_>,
    k: usize,
) -> Result<Vec<Answer>, TaskError> {
    let found = top_k(images, texts, k, &BlockSize::SEARCH)?;
    let candidate = |right: &[usize], found: &Match| Candidate {
        label: known.texts[found.index].to_owned(),
        score: found.score,
        correct: right.contains(&found.index),
    };
    let images = known.keys.iter().zip(&known.right).zip(found);
    let answers = images.map(|((&(key, row), right), matches)| Answer {
        key: key.to_owned(),
        truth: right.iter().map(|&text| known.texts[text].to_owned()).collect(),
        candidates: matches.iter().map(|found| candidate(right, found)).collect(),
        row,
    });
    Ok(answers.collect())
}

/// The image of an answer; nothing where the data no longer has it.
pub(crate) fn image(images: &Images, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
    // Rows keep the order of the records, some of which have no row.
    let records = images.source.records(answer.row as u64..u64::MAX).map_err(TaskError::Images)?;
    for record in records {
        let record = record.map_err(TaskError::Images)?;
        if record.key == answer.key {
            let bytes = match record.value {
                Ok(ImageData::Bytes(bytes)) => Some(bytes),
                Ok(ImageData::File(path)) => fs::read(path).ok(),
                Err(_) => None,
            };
            return Ok(bytes.and_then(|bytes| decode_image(&bytes, &DecodeLimits::default()).ok()));
        }
    }
    Ok(None)
}
