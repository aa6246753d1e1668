//! What a frozen backbone gives.

use burn::tensor::{Bool, Int, Tensor};

use crate::DenseOptions;

/// The patch tokens of a batch of images and the grid they lie on.
#[derive(Debug, Clone)]
pub struct PatchTokens {
    /// Tokens in row-major order of the grid, `[batch, rows * columns, hidden]`.
    pub tokens: Tensor<3>,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
}

/// Everything a vision backbone says about a batch of images; pooling chooses from it.
///
/// A part is `None` where the architecture has none: I-JEPA has no class token, a plain ViT no pooled output.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    /// The class token after the last layer, `[batch, hidden]`.
    pub class_token: Option<Tensor<2>>,
    /// The patch tokens after the last layer.
    pub patches: Option<PatchTokens>,
    /// The model's own pooled output, `[batch, dim]`.
    pub pooled: Option<Tensor<2>>,
}

/// A batch of tokenised texts, padded to one length.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// Token ids, `[batch, length]`.
    pub ids: Tensor<2, Int>,
    /// True where a token is real and false where it is padding, `[batch, length]`.
    pub mask: Tensor<2, Bool>,
}

/// Everything a text backbone says about a batch of texts; pooling chooses from it.
#[derive(Debug, Clone)]
pub struct TextFeatures {
    /// Token states after the last layer, `[batch, length, hidden]`.
    pub tokens: Tensor<3>,
    /// True where a token takes part in pooling, `[batch, length]`.
    pub mask: Tensor<2, Bool>,
    /// The sentence embedding as the model itself defines it, `[batch, dim]`, where it does.
    pub pooled: Option<Tensor<2>>,
}

/// An encoder that cannot take its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The input has another shape than the model takes.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The input's name.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shapes the model takes, in words.
        expected: String,
    },
    /// A token that the model has no embedding for: the tokenizer belongs to another model.
    #[error(
        "token {token} is not in the model's vocabulary of {vocabulary}, is the tokenizer the model's own?"
    )]
    Token {
        /// Its id.
        token: i64,
        /// The number of tokens that the model knows.
        vocabulary: usize,
    },
    /// Dense features that the architecture does not have.
    #[error("the model has no dense features of {asked}, expected {expected}")]
    Dense {
        /// What was asked for.
        asked: DenseOptions,
        /// What the model has, in words.
        expected: String,
    },
}

/// A frozen vision backbone.
///
/// Any type that implements this can be paired with any [`TextEncoder`]; the workspace needs nothing else of it.
/// It may compute in any precision: it takes and gives 32-bit floats.
pub trait ImageEncoder: Send + Sync {
    /// Encodes preprocessed images.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, height, width]`, normalised as the model's preprocessing defines
    ///
    /// # Errors
    /// [`EncodeError`] when the model cannot take this shape.
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError>;

    /// Encodes preprocessed images into the class token and patches of a layer of choice.
    ///
    /// The default options give what [`encode_images`](Self::encode_images) gives, and so does this method where an
    /// architecture does not implement it. Under others there is no pooled output.
    ///
    /// # Shapes
    /// - pixels: as for [`encode_images`](Self::encode_images)
    ///
    /// # Errors
    /// [`EncodeError::Dense`] for a layer or an attention that the architecture does not have, and those of
    /// [`encode_images`](Self::encode_images).
    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        if options == DenseOptions::default() {
            return self.encode_images(pixels);
        }
        let expected = format!("{} alone", DenseOptions::default());
        Err(EncodeError::Dense { asked: options, expected })
    }
}

/// A frozen text backbone. It may compute in any precision: it gives 32-bit floats.
pub trait TextEncoder: Send + Sync {
    /// Encodes tokenised texts. A row gives the same result alone as in a batch with longer ones.
    ///
    /// # Shapes
    /// - ids and mask: `[batch, length]`
    ///
    /// # Errors
    /// [`EncodeError`] when the texts are longer than the model's positions reach.
    fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError>;
}
