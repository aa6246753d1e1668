//! Frozen backbones and their outputs.

use burn::tensor::{Bool, Device, Int, Tensor};
use sail_support::cpu::concurrent_map;

use crate::{DenseOptions, EncodeError, Layer, TowerError};

/// Patch tokens of a batch of images with their grid.
#[derive(Debug, Clone)]
pub struct PatchTokens {
    /// The tokens in row-major order of the grid, `[batch, rows * columns, hidden]`. A class token precedes them where
    /// [`ImagePooling::dense`](crate::ImagePooling::dense) says so.
    pub tokens: Tensor<3>,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
}

/// All outputs of a vision backbone, from which a pooling selects.
///
/// An output is `None` if the architecture does not have it: I-JEPA has no class token, a plain ViT no pooled output.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    /// The class token after the last layer, `[batch, hidden]`.
    pub class_token: Option<Tensor<2>>,
    /// The patch tokens after the last layer.
    pub patches: Option<PatchTokens>,
    /// The pooled output of the model, `[batch, dim]`.
    pub pooled: Option<Tensor<2>>,
}

/// A batch of tokenized texts, padded to one length.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// Token ids, `[batch, length]`.
    pub ids: Tensor<2, Int>,
    /// Attention mask: true for tokens, false for padding, `[batch, length]`.
    pub mask: Tensor<2, Bool>,
}

/// All outputs of a text backbone, from which a pooling selects.
#[derive(Debug, Clone)]
pub struct TextFeatures {
    /// Token states after the last layer, `[batch, length, hidden]`.
    pub tokens: Tensor<3>,
    /// True for tokens that take part in pooling, `[batch, length]`.
    pub mask: Tensor<2, Bool>,
    /// The sentence embedding as defined by the model, `[batch, dim]`, if it defines one.
    pub pooled: Option<Tensor<2>>,
}

/// A frozen vision backbone.
///
/// Any implementation can be paired with any [`TextEncoder`]. It may compute in any precision, but takes and returns
/// `f32`.
pub trait ImageEncoder: Send + Sync {
    /// Encodes preprocessed images.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, height, width]`, normalized as the preprocessing of the model defines
    ///
    /// # Errors
    /// Returns [`EncodeError`] if the model does not support this shape.
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError>;

    /// Encodes preprocessed images and returns class token and patch tokens of the selected layer.
    ///
    /// With the default options, the result is that of [`encode_images`](Self::encode_images). With other options, there
    /// is no pooled output. The default implementation supports the default options only.
    ///
    /// # Shapes
    /// - pixels: as for [`encode_images`](Self::encode_images)
    ///
    /// # Errors
    /// Returns [`EncodeError::Dense`] for an unsupported layer or attention, and the errors of
    /// [`encode_images`](Self::encode_images).
    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        if options == DenseOptions::default() {
            return self.encode_images(pixels);
        }
        let expected = DenseOptions::default().to_string();
        Err(EncodeError::Dense { requested: options, expected })
    }

    /// Encodes preprocessed images and returns the features of several layers: those of
    /// [`encode_dense`](Self::encode_dense) for each. The blocks are run once if the implementation supports it.
    ///
    /// # Shapes
    /// - pixels: as for [`encode_images`](Self::encode_images)
    /// - result: as many as `layers`, in that order
    ///
    /// # Errors
    /// As [`encode_dense`](Self::encode_dense).
    fn encode_layers(&self, pixels: Tensor<4>, layers: &[Layer]) -> Result<Vec<ImageFeatures>, EncodeError> {
        let options = |layer: &Layer| DenseOptions { layer: *layer, ..DenseOptions::default() };
        layers.iter().map(|layer| self.encode_dense(pixels.clone(), options(layer))).collect()
    }

    /// Returns how many images the encoder should be given at once, if more than a usual batch: an encoder that reads its
    /// weights for every call is faster with many.
    fn preferred_rows(&self) -> Option<usize> {
        None
    }
}

/// A frozen text backbone. It may compute in any precision, but returns `f32`.
pub trait TextEncoder: Send + Sync {
    /// Encodes tokenized texts. The features of a text do not depend on the other texts of the batch or on the padding.
    ///
    /// # Shapes
    /// - ids and mask: `[batch, length]`
    ///
    /// # Errors
    /// Returns [`EncodeError`] if a text is longer than the model supports.
    fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError>;

    /// Encodes tokenized texts and returns the features of several layers. Layers other than the last have no pooled output
    /// of the model's own.
    ///
    /// The default implementation supports the last layer only.
    ///
    /// # Shapes
    /// - result: as many as `layers`, in that order
    ///
    /// # Errors
    /// Returns [`EncodeError::Layer`] for an unsupported layer, and the errors of [`encode_texts`](Self::encode_texts).
    fn encode_layers(&self, tokens: TokenBatch, layers: &[Layer]) -> Result<Vec<TextFeatures>, EncodeError> {
        let of_layer = |layer: &Layer| match layer {
            Layer::Last => self.encode_texts(tokens.clone()),
            requested => Err(EncodeError::Layer { requested: *requested, expected: Layer::Last.to_string() }),
        };
        layers.iter().map(of_layer).collect()
    }

    /// Encodes several batches and reduces the features of each layer with `pool`.
    ///
    /// The default implementation calls [`encode_layers`](Self::encode_layers) for every batch, for several at a time if
    /// `device` is the CPU. An encoder whose weights do not fit into memory reads each part of them once for all batches.
    ///
    /// # Shapes
    /// - result: for each batch, one matrix per layer
    ///
    /// # Errors
    /// As [`encode_layers`](Self::encode_layers), and those of `pool`.
    fn embed_layers(
        &self,
        batches: &[TokenBatch],
        layers: &[Layer],
        device: &Device,
        pool: &(dyn Fn(TextFeatures) -> Result<Tensor<2>, TowerError> + Sync),
    ) -> Result<Vec<Vec<Tensor<2>>>, TowerError> {
        concurrent_map(device, batches, |batch| {
            let features = self.encode_layers(batch.clone(), layers)?;
            features.into_iter().map(pool).collect()
        })
    }

    /// Returns how many texts the encoder should be given at once, if more than a usual batch: an encoder that reads its
    /// weights for every call is faster with many.
    fn preferred_rows(&self) -> Option<usize> {
        None
    }
}
