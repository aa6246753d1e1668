//! What a frozen backbone takes, and how images and texts become it.

use image::RgbImage;

/// One image as a vision backbone takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Height and width.
    pub size: [usize; 2],
    /// Normalised values, channel by channel, row by row: `3 * height * width` of them.
    pub values: Vec<f32>,
}

/// One text as a text backbone takes it: its token ids with the model's special tokens, without padding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenIds(pub Vec<u32>);

/// An input that cannot be prepared for a backbone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InputError(
    /// What is wrong, in lower case.
    pub String,
);

/// Turns images into the pixels that one vision backbone was trained on.
pub trait ImagePreprocessor: Send + Sync {
    /// Resizes, crops and normalises an image.
    ///
    /// # Errors
    /// [`InputError`] for an image that the rules cannot serve, such as one without pixels.
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError>;

    /// Normalises an image at the size it has, without resizing or cropping: for windows of a larger image, and for
    /// dense features at another resolution.
    ///
    /// # Errors
    /// [`InputError`] as [`preprocess`](Self::preprocess), and always where it is not implemented.
    fn normalize(&self, _image: &RgbImage) -> Result<Pixels, InputError> {
        Err(InputError("this preprocessor does not keep an image's size: implement `normalize`".to_owned()))
    }

    /// The rules in one line, for a [`Provenance`](crate::Provenance): equal lines mean equal pixels.
    fn describe(&self) -> String;
}

/// Turns texts into the tokens that one text backbone was trained on.
pub trait Tokenizer: Send + Sync {
    /// Tokenises a text, truncated to what the model takes, with its special tokens.
    ///
    /// # Errors
    /// [`InputError`] for a text that the tokenizer cannot serve.
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError>;

    /// How the model's batches are padded.
    fn padding(&self) -> Padding;

    /// The rules in one line, for a [`Provenance`](crate::Provenance): equal lines mean equal tokens.
    fn describe(&self) -> String;
}

/// How texts of different lengths become one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// The token that fills.
    pub id: u32,
    /// Where it goes.
    pub side: PaddingSide,
}

/// The side of a text that is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaddingSide {
    /// Before the text, as decoders that pool the last token do.
    Left,
    /// After the text.
    #[default]
    Right,
}
