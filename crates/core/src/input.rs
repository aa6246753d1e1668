//! Inputs of frozen backbones, and the preprocessing that creates them.

use image::RgbImage;

use crate::Processor;

/// A preprocessed image, the input of a vision backbone.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Height and width.
    pub size: [usize; 2],
    /// Normalized values in channel, row, column order, `3 * height * width` of them.
    pub values: Vec<f32>,
}

/// A tokenized text, the input of a text backbone: token ids with special tokens, without padding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenIds(pub Vec<u32>);

/// An error of an input that cannot be preprocessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InputError(
    /// The cause, in lower case.
    pub String,
);

/// The preprocessing of a vision backbone.
pub trait ImagePreprocessor: Send + Sync {
    /// Resizes, crops and normalizes an image.
    ///
    /// # Errors
    /// Returns [`InputError`] for an unsupported image, such as one without pixels.
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError>;

    /// Normalizes an image without resizing or cropping it: for windows of a larger image, and for dense features at
    /// another resolution.
    ///
    /// # Errors
    /// As [`preprocess`](Self::preprocess). The default implementation always returns an error.
    fn normalize(&self, _image: &RgbImage) -> Result<Pixels, InputError> {
        Err(InputError(
            "the preprocessor does not support `normalize`, which keeps the size of an image".to_owned(),
        ))
    }

    /// Describes the preprocessing in one line: equal lines mean equal pixels.
    fn describe(&self) -> String;

    /// Returns what [`Provenance`](crate::Provenance) records of the preprocessing, by default its description.
    fn processor(&self) -> Processor {
        Processor::Description(self.describe())
    }
}

/// The tokenizer of a text backbone.
pub trait Tokenizer: Send + Sync {
    /// Tokenizes a text with special tokens, truncated to the maximum length of the model.
    ///
    /// # Errors
    /// Returns [`InputError`] for an unsupported text.
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError>;

    /// Returns how batches are padded.
    fn padding(&self) -> Padding;

    /// Describes the tokenizer in one line: equal lines mean equal tokens.
    fn describe(&self) -> String;

    /// Returns what [`Provenance`](crate::Provenance) records of the tokenizer, by default its description.
    fn processor(&self) -> Processor {
        Processor::Description(self.describe())
    }
}

/// Padding of texts of different lengths to one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Id of the padding token.
    pub id: u32,
    /// Side of the padding.
    pub side: PaddingSide,
}

/// The side on which a text is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaddingSide {
    /// Before the text, as for decoders with last-token pooling.
    Left,
    /// After the text.
    #[default]
    Right,
}
