//! The vision tower.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

use super::TowerError;
use super::layer::AtLayer;
use crate::{
    DenseOptions, ImageEncoder, ImageFeatures, ImagePooling, ImagePreprocessor, InputError, Layer, Named,
    PatchTokens, Pixels, Provenance, TokenLayout,
};

/// Width and height of the blank images that show how many tokens images have.
const BLANK: [[u32; 2]; 2] = [[256, 64], [64, 256]];

/// A vision backbone with its preprocessing and a pooling: images to embeddings.
///
/// Every part can be replaced by a custom type.
#[derive(Clone)]
pub struct VisionTower {
    /// The backbone.
    pub encoder: Arc<dyn ImageEncoder>,
    /// The preprocessing of the backbone.
    pub preprocessor: Arc<dyn ImagePreprocessor>,
    /// The pooling of token states.
    pub pooling: ImagePooling,
    /// The model and its precision; [`provenance`](Self::provenance) adds preprocessing and pooling.
    pub model: Provenance,
    /// The device of the backbone's weights.
    pub device: Device,
}

impl VisionTower {
    /// Returns the provenance of the embeddings, as recorded in stores and heads.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            processor: Some(self.preprocessor.processor()),
            pooling: Some(self.pooling.name().to_owned()),
            tokens: self.model.tokens.filter(|_| self.pooling == ImagePooling::Tokens),
            ..self.model.clone()
        }
    }

    /// Embeds preprocessed images as one batch.
    ///
    /// # Shapes
    /// - result: `[pixels.len(), dim]`, `f32`
    ///
    /// # Errors
    /// Returns [`TowerError`] if the images have different sizes, the number of values does not match the size, or the
    /// backbone rejects the batch.
    pub fn embed(&self, pixels: &[Pixels]) -> Result<Tensor<2>, TowerError> {
        self.pool(&self.encoder.encode_images(self.batch(pixels)?)?)
    }

    /// Embeds preprocessed images as one batch, by the states of several layers. The model runs once, if it supports it.
    ///
    /// # Shapes
    /// - result: `[pixels.len(), dim]`, `f32`, for each layer
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Encode`] for a layer that the model does not have.
    pub fn embed_layers(&self, pixels: &[Pixels], layers: &[Layer]) -> Result<Vec<Tensor<2>>, TowerError> {
        let features = self.encoder.encode_layers(self.batch(pixels)?, layers)?;
        features.iter().map(|features| self.pool(features)).collect()
    }

    fn pool(&self, features: &ImageFeatures) -> Result<Tensor<2>, TowerError> {
        if self.pooling == ImagePooling::Tokens {
            let found = features.token_layout()?;
            if self.model.tokens != Some(found) {
                let expected = self.model.tokens.map_or("a known layout".to_owned(), |own| own.to_string());
                let remedy = "set the pooling with `VisionTower::with_tokens`, and use images of one size";
                return Err(TowerError::Tokens { found: found.into(), expected, remedy });
            }
        }
        Ok(self.pooling.pool(features)?)
    }

    /// Returns the tower whose rows are all token states of an image, [`ImagePooling::Tokens`]. Their layout, part of the
    /// provenance, is that of blank images, which the model encodes.
    ///
    /// # Errors
    /// Returns [`TowerError::Tokens`] if the number of tokens depends on the image, [`TowerError::Pooling`] if the model
    /// returns no patch tokens, and the errors of [`embed_images`](Self::embed_images).
    pub fn with_tokens(self) -> Result<Self, TowerError> {
        let input = |source| TowerError::Input { row: 0, source };
        let blank = |[width, height]: [u32; 2]| self.preprocessor.preprocess(&RgbImage::new(width, height));
        let [wide, tall] = [blank(BLANK[0]).map_err(input)?, blank(BLANK[1]).map_err(input)?];
        let layout = |pixels| -> Result<TokenLayout, TowerError> {
            let features = self.encoder.encode_images(self.batch(std::slice::from_ref(pixels))?)?;
            Ok(features.token_layout()?)
        };
        let expected = layout(&wide)?;
        let found = if tall.size == wide.size { expected } else { layout(&tall)? };
        if found != expected {
            let remedy = "token states need as many tokens for every image, so preprocess all to one size";
            return Err(TowerError::Tokens { found: found.into(), expected: expected.to_string(), remedy });
        }
        let model = Provenance { tokens: Some(expected), ..self.model };
        Ok(Self { pooling: ImagePooling::Tokens, model, ..self })
    }

    /// Returns the tower whose embeddings are of the states of a layer.
    pub fn at_layer(&self, layer: Layer) -> Self {
        let mut tower = self.clone();
        if layer != Layer::Last {
            tower.model.layer = Some(layer);
            tower.encoder = Arc::new(AtLayer { encoder: tower.encoder, layer });
        }
        tower
    }

    /// Embeds every patch of preprocessed images as one batch, see [`ImagePooling::dense`].
    ///
    /// # Shapes
    /// - tokens of the result: `[pixels.len(), rows * columns, dim]`, `f32`
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Encode`] if the backbone does not support the options.
    pub fn embed_patches(&self, pixels: &[Pixels], options: DenseOptions) -> Result<PatchTokens, TowerError> {
        let features = self.encoder.encode_dense(self.batch(pixels)?, options)?;
        Ok(self.pooling.dense(&features)?)
    }

    /// Preprocesses and embeds images as one batch.
    ///
    /// # Shapes
    /// - result: `[images.len(), dim]`, `f32`
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Input`] if an image cannot be preprocessed.
    pub fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor<2>, TowerError> {
        let preprocess = |(row, image)| {
            self.preprocessor.preprocess(image).map_err(|source| TowerError::Input { row, source })
        };
        let pixels = images.iter().enumerate().map(preprocess).collect::<Result<Vec<_>, _>>()?;
        self.embed(&pixels)
    }

    /// Stacks images of one size to `[pixels.len(), 3, height, width]`.
    fn batch(&self, pixels: &[Pixels]) -> Result<Tensor<4>, TowerError> {
        let [height, width] = pixels.first().map_or([0, 0], |pixels| pixels.size);
        let count = height.saturating_mul(width).saturating_mul(3);
        let mut values = Vec::with_capacity(pixels.iter().map(|pixels| pixels.values.len()).sum());
        for (row, Pixels { size, values: image }) in pixels.iter().enumerate() {
            if *size != [height, width] {
                return Err(TowerError::Sizes { row, found: *size, expected: [height, width] });
            }
            if image.len() != count {
                let found = image.len();
                let source = InputError(format!("{found} values, expected 3 * {height} * {width}"));
                return Err(TowerError::Input { row, source });
            }
            values.extend_from_slice(image);
        }
        let batch = TensorData::new(values, [pixels.len(), 3, height, width]);
        Ok(Tensor::from_data(batch, &self.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncodeError, ImageFeatures, Processor};

    /// Returns the first value of every image as its class token.
    struct FirstValue;

    impl ImageEncoder for FirstValue {
        fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
            let [batch, channels, height, width] = pixels.dims();
            let rows = pixels.reshape([batch, channels * height * width]).narrow(1, 0, 1);
            Ok(ImageFeatures { class_token: Some(rows), patches: None, pooled: None })
        }
    }

    impl ImagePreprocessor for FirstValue {
        fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
            if image.width() == 0 {
                return Err(InputError("no pixels".into()));
            }
            let values = image.as_raw().iter().map(|&value| f32::from(value)).collect();
            Ok(Pixels { size: [image.height() as usize, image.width() as usize], values })
        }

        fn describe(&self) -> String {
            "raw values".into()
        }
    }

    fn tower() -> VisionTower {
        VisionTower {
            encoder: Arc::new(FirstValue),
            preprocessor: Arc::new(FirstValue),
            pooling: ImagePooling::Class,
            model: Provenance::new("first"),
            device: Device::flex(),
        }
    }

    #[test]
    fn embeds_images_of_one_size() {
        let pixels = |first| Pixels { size: [1, 2], values: vec![first; 6] };
        let rows = tower().embed(&[pixels(5.0), pixels(7.0)]).unwrap();
        assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), [5.0, 7.0]);
        let images = [RgbImage::from_pixel(1, 2, [8; 3].into()), RgbImage::from_pixel(1, 2, [9; 3].into())];
        let rows = tower().embed_images(&images).unwrap();
        assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), [8.0, 9.0]);
        let provenance = tower().provenance();
        assert_eq!(provenance.processor, Some(Processor::Description("raw values".into())));
        assert_eq!(provenance.pooling.as_deref(), Some("class"));
    }

    /// Returns every value of the red channel as a patch, and the first value as class token.
    struct RedPatches;

    impl ImageEncoder for RedPatches {
        fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
            let [batch, _, height, width] = pixels.dims();
            let tokens = pixels.narrow(1, 0, 1).reshape([batch, height * width, 1]);
            let class_token = Some(tokens.clone().narrow(1, 0, 1).reshape([batch, 1]));
            let patches = Some(PatchTokens { tokens, grid: [height, width] });
            Ok(ImageFeatures { class_token, patches, pooled: None })
        }
    }

    #[test]
    fn token_states_are_rows_of_one_layout() {
        /// Images of any size as 1x2 pixels.
        struct OneSize;
        impl ImagePreprocessor for OneSize {
            fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
                let first = f32::from(image.as_raw()[0]);
                Ok(Pixels { size: [1, 2], values: vec![first, first + 1.0, 0.0, 0.0, 0.0, 0.0] })
            }
            fn describe(&self) -> String {
                "the first value and the next".into()
            }
        }
        let tower = VisionTower { encoder: Arc::new(RedPatches), preprocessor: Arc::new(OneSize), ..tower() };
        let tokens = tower.clone().with_tokens().unwrap();
        let layout = TokenLayout::Image { class_token: true, grid: [1, 2], dim: 1 };
        let provenance = tokens.provenance();
        assert_eq!((provenance.tokens, provenance.pooling.as_deref()), (Some(layout), Some("tokens")));
        let rows = tokens.embed_images(&[RgbImage::from_pixel(9, 9, [7; 3].into())]).unwrap();
        assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), [7.0, 7.0, 8.0]);
        let pixels = Pixels { size: [1, 3], values: vec![0.0; 9] };
        let error = tokens.embed(std::slice::from_ref(&pixels)).unwrap_err().to_string();
        assert!(error.contains("1x3 patches of 1 values, expected a class token and 1x2 patches"), "{error}");
        // The layout belongs to the pooling.
        let pooled = VisionTower { pooling: ImagePooling::Class, ..tokens };
        assert_eq!(pooled.provenance().tokens, None);
        let unknown = VisionTower { pooling: ImagePooling::Tokens, ..tower };
        assert!(matches!(unknown.embed(&[pixels]), Err(TowerError::Tokens { .. })));

        let varying = VisionTower { encoder: Arc::new(RedPatches), ..self::tower() };
        let error = varying.with_tokens().err().unwrap().to_string();
        assert!(error.contains("256x64 patches of 1 values, expected a class token and 64x256"), "{error}");
        assert!(matches!(self::tower().with_tokens(), Err(TowerError::Pooling(_))));
    }

    #[test]
    fn rejects_pixels_that_form_no_batch() {
        let pixels = |size, count| Pixels { size, values: vec![0.0; count] };
        let error = tower().embed(&[pixels([1, 2], 6), pixels([2, 1], 6)]).unwrap_err();
        assert!(matches!(error, TowerError::Sizes { row: 1, .. }));
        for size in [[1, 2], [usize::MAX, usize::MAX]] {
            let error = tower().embed(&[pixels(size, 5)]).unwrap_err();
            assert!(matches!(error, TowerError::Input { row: 0, .. }), "{error}");
        }
        let error = tower().embed_images(&[RgbImage::new(1, 1), RgbImage::new(0, 1)]).unwrap_err();
        assert_eq!(error, TowerError::Input { row: 1, source: InputError("no pixels".into()) });
    }
}
