//! What a model says of single pictures, for reports.

use std::fs;

use burn::tensor::Tensor;
use sail_core::RgbImage;
use sail_data::source::ImageData;
use sail_data::{DecodeLimits, decode_image};
use sail_eval::{BlockSize, Match, top_k};
use serde::Serialize;

use crate::TaskError;
use crate::inputs::Pictures;

/// What a model ranks first for a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The picture.
    pub key: String,
    /// What would be right: the class, or the captions.
    pub truth: Vec<String>,
    /// The texts with the highest cosines, best first; equal ones in the order of the data.
    pub candidates: Vec<Candidate>,
    /// The row of the picture in the store, so that it is found again.
    #[serde(skip)]
    row: usize,
}

/// One of the texts that a picture found.
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

/// What is known of the pictures and texts of [`answers`].
pub(crate) struct Known<'a> {
    /// The key of every picture, and its row in the store.
    pub(crate) keys: Vec<(&'a str, usize)>,
    /// Every text.
    pub(crate) texts: Vec<&'a str>,
    /// The texts that are right for a picture.
    pub(crate) right: Vec<Vec<usize>>,
}

/// The `k` texts with the highest cosines for every picture.
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
    let pictures = known.keys.iter().zip(&known.right).zip(found);
    let answers = pictures.map(|((&(key, row), right), matches)| Answer {
        key: key.to_owned(),
        truth: right.iter().map(|&text| known.texts[text].to_owned()).collect(),
        candidates: matches.iter().map(|found| candidate(right, found)).collect(),
        row,
    });
    Ok(answers.collect())
}

/// The picture of an answer; nothing where the data no longer has it.
pub(crate) fn picture(pictures: &Pictures, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
    // Rows keep the order of the records, some of which have no row.
    let records = pictures.source.records(answer.row as u64..u64::MAX).map_err(TaskError::Pictures)?;
    for record in records {
        let record = record.map_err(TaskError::Pictures)?;
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
