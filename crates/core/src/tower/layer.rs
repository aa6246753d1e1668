//! Encoders that return the states of an earlier layer.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::TowerError;
use crate::{
    DenseOptions, EncodeError, ImageEncoder, ImageFeatures, Layer, TextEncoder, TextFeatures, TokenBatch,
};

/// An encoder whose last layer is one of another encoder.
pub(super) struct AtLayer<E: ?Sized> {
    pub(super) encoder: Arc<E>,
    pub(super) layer: Layer,
}

impl<E: ?Sized> AtLayer<E> {
    fn within(&self, layer: Layer) -> Layer {
        if layer == Layer::Last { self.layer } else { layer }
    }

    fn all_within(&self, layers: &[Layer]) -> Vec<Layer> {
        layers.iter().map(|layer| self.within(*layer)).collect()
    }
}

impl ImageEncoder for AtLayer<dyn ImageEncoder> {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.encode_dense(pixels, DenseOptions::default())
    }

    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        let layer = self.within(options.layer);
        self.encoder.encode_dense(pixels, DenseOptions { layer, ..options })
    }

    fn encode_layers(&self, pixels: Tensor<4>, layers: &[Layer]) -> Result<Vec<ImageFeatures>, EncodeError> {
        self.encoder.encode_layers(pixels, &self.all_within(layers))
    }

    fn preferred_rows(&self) -> Option<usize> {
        self.encoder.preferred_rows()
    }
}

impl TextEncoder for AtLayer<dyn TextEncoder> {
    fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let features = self.encoder.encode_layers(tokens, &[self.layer])?.pop();
        features.ok_or_else(|| EncodeError::Layer { requested: self.layer, expected: "any".to_owned() })
    }

    fn encode_layers(&self, tokens: TokenBatch, layers: &[Layer]) -> Result<Vec<TextFeatures>, EncodeError> {
        self.encoder.encode_layers(tokens, &self.all_within(layers))
    }

    fn embed_layers(
        &self,
        batches: &[TokenBatch],
        layers: &[Layer],
        device: &Device,
        pool: &(dyn Fn(TextFeatures) -> Result<Tensor<2>, TowerError> + Sync),
    ) -> Result<Vec<Vec<Tensor<2>>>, TowerError> {
        self.encoder.embed_layers(batches, &self.all_within(layers), device, pool)
    }

    fn preferred_rows(&self) -> Option<usize> {
        self.encoder.preferred_rows()
    }
}
