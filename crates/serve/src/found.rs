//! What the service finds.

use std::collections::BTreeMap;

use sail_search::{Hit, Index};
use serde::Serialize;

use crate::error::RequestError;

/// An entry that a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// Id of the entry: 32 hexadecimal digits.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Cosine similarity with the query, in -1 to 1 up to rounding.
    pub score: f32,
    /// Its captions.
    pub captions: Vec<String>,
    /// Its columns by name.
    pub columns: BTreeMap<String, String>,
}

/// A label and how well it describes an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Labeled {
    /// The label.
    pub label: String,
    /// Cosine similarity of the image and the label's prompts, in -1 to 1 up to rounding.
    pub score: f32,
    /// Softmax over the labels of the request of `exp(log_scale)` times the score: which of them it is, if it is one of them.
    pub probability: f32,
}

/// Reads what the index knows about a hit.
pub(crate) fn found(index: &Index, hit: Hit) -> Result<Found, RequestError> {
    let entry = index.entry(hit.row)?;
    Ok(Found {
        id: entry.id.to_string(),
        key: entry.key,
        score: hit.score,
        captions: entry.captions,
        columns: entry.columns,
    })
}
