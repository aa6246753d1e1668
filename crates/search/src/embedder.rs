//! The model behind a search.

use std::error::Error;

use sail_core::{InputError, Pixels, Provenance, RgbImage};
use serde::{Deserialize, Serialize};

/// Embeds images and texts as vectors of unit length in one space.
///
/// Indexing preprocesses images on many threads ahead of the model, so the two are separate methods.
pub trait Embedder: Send + Sync {
    /// Describes the model. Embeddings of models with different identities are not comparable.
    ///
    /// # Errors
    /// [`EmbedError`] if the head cannot be serialized for its hash.
    fn identity(&self) -> Result<ModelIdentity, EmbedError>;

    /// Converts an image to the input of the model.
    ///
    /// # Errors
    /// [`InputError`] if the image cannot be preprocessed, for instance because a side has no pixels.
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError>;

    /// Embeds preprocessed images. They may differ in size.
    ///
    /// # Shapes
    /// - result: one row of `dim` values per image, of unit length
    ///
    /// # Errors
    /// [`EmbedError`] if the model does not accept an input or an embedding has no direction.
    fn embed_images(&self, images: &[Pixels]) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// Embeds texts.
    ///
    /// # Shapes
    /// - result: one row of `dim` values per text, of unit length
    ///
    /// # Errors
    /// As [`embed_images`](Self::embed_images).
    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// Returns the number of tokens of a text, special tokens included and after truncation, or `None` for a model without
    /// tokens.
    ///
    /// # Errors
    /// [`EmbedError`] if the text cannot be tokenized.
    fn count_tokens(&self, _text: &str) -> Result<Option<usize>, EmbedError> {
        Ok(None)
    }
}

/// What distinguishes the embeddings of one model from those of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelIdentity {
    /// The vision encoder and its preprocessing.
    pub vision: Provenance,
    /// The text encoder and its preprocessing.
    pub text: Provenance,
    /// SHA-256 of the head's file, in hexadecimal digits.
    pub head_sha256: String,
}

impl ModelIdentity {
    /// Creates an identity.
    #[must_use]
    pub fn new(vision: Provenance, text: Provenance, head_sha256: String) -> Self {
        Self { vision, text, head_sha256 }
    }
}

/// A model that cannot embed its input.
#[derive(Debug, thiserror::Error)]
#[error("the model cannot embed its input")]
pub struct EmbedError(#[source] Box<dyn Error + Send + Sync>);

impl EmbedError {
    /// Wraps the error of a model.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}
