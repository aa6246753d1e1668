//! A frozen backbone with all it takes to turn raw input into rows.

use std::sync::Arc;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use image::RgbImage;
use sail_support::length_batches;

use crate::{
    DenseOptions, EncodeError, ImageEncoder, ImagePooling, ImagePreprocessor, InputError, Named, Padding,
    PaddingSide, PatchTokens, Pixels, PoolingError, Provenance, TextEncoder, TextPooling, TokenBatch,
    TokenIds, Tokenizer,
};
use sail_support::cpu::{in_lanes, lanes};

/// Texts and padded tokens of one pass on the CPU: enough rows for the matrix products, few enough that
/// their states stay in its caches and a small number of captions still fills all lanes.
const CPU_BATCH: [usize; 2] = [32, 512];
/// The same on a GPU, which needs many rows at a time.
const GPU_BATCH: [usize; 2] = [512, 1 << 14];

/// A tower that cannot embed its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TowerError {
    /// An input that cannot be prepared.
    #[error("input {row} cannot be prepared")]
    Input {
        /// Which input of the batch, from 0.
        row: usize,
        /// Why.
        #[source]
        source: InputError,
    },
    /// Images of different sizes in one batch.
    #[error("input {row} is prepared to {found:?} pixels, the batch to {expected:?}: embed it on its own")]
    Sizes {
        /// Which input of the batch, from 0.
        row: usize,
        /// Its height and width.
        found: [usize; 2],
        /// The batch's.
        expected: [usize; 2],
    },
    /// The backbone refuses.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The pooling asks for what the backbone does not give.
    #[error(transparent)]
    Pooling(#[from] PoolingError),
}

/// A vision backbone, its preprocessing and a pooling: images in, rows out.
///
/// Every part can be replaced by your own type.
#[derive(Clone)]
pub struct VisionTower {
    /// The backbone.
    pub encoder: Arc<dyn ImageEncoder>,
    /// Its preprocessing.
    pub preprocessor: Arc<dyn ImagePreprocessor>,
    /// From token states to one row.
    pub pooling: ImagePooling,
    /// Which model this is; preprocessing and pooling are filled in by [`provenance`](Self::provenance).
    pub model: Provenance,
    /// Where the backbone's weights are.
    pub device: Device,
}

impl VisionTower {
    /// What its rows are made by, for a store and for a head.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            preprocessing: Some(self.preprocessor.describe()),
            pooling: Some(self.pooling.name().to_owned()),
            ..self.model.clone()
        }
    }

    /// Embeds prepared images as one batch.
    ///
    /// # Shapes
    /// - result: `[pixels.len(), dim]`, in 32-bit floats
    ///
    /// # Errors
    /// [`TowerError`] for images of different sizes, whose values are not as many as their size says, or that the
    /// backbone cannot take.
    pub fn embed(&self, pixels: &[Pixels]) -> Result<Tensor<2>, TowerError> {
        let features = self.encoder.encode_images(self.batch(pixels)?)?;
        Ok(self.pooling.pool(&features)?)
    }

    /// Embeds every patch of prepared images as one batch: for each the row that the tower's pooling stands for, as
    /// [`ImagePooling::dense`] defines it.
    ///
    /// # Shapes
    /// - tokens of the result: `[pixels.len(), rows * columns, dim]`, in 32-bit floats
    ///
    /// # Errors
    /// As [`embed`](Self::embed); [`TowerError::Encode`] too for options that the backbone does not have.
    pub fn embed_patches(&self, pixels: &[Pixels], options: DenseOptions) -> Result<PatchTokens, TowerError> {
        let features = self.encoder.encode_dense(self.batch(pixels)?, options)?;
        Ok(self.pooling.dense(&features)?)
    }

    /// Images of one size as one tensor, `[pixels.len(), 3, height, width]`.
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

    /// Prepares and embeds images as one batch.
    ///
    /// # Shapes
    /// - result: `[images.len(), dim]`, in 32-bit floats
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Input`].
    pub fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor<2>, TowerError> {
        let prepare = |(row, image)| {
            self.preprocessor.preprocess(image).map_err(|source| TowerError::Input { row, source })
        };
        let pixels = images.iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>()?;
        self.embed(&pixels)
    }
}

/// A text backbone, its tokenizer and a pooling: texts in, rows out.
///
/// Every part can be replaced by your own type.
#[derive(Clone)]
pub struct TextTower {
    /// The backbone.
    pub encoder: Arc<dyn TextEncoder>,
    /// Its tokenizer.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// From token states to one row.
    pub pooling: TextPooling,
    /// Which model this is; preprocessing and pooling are filled in by [`provenance`](Self::provenance).
    pub model: Provenance,
    /// Where the backbone's weights are.
    pub device: Device,
}

impl TextTower {
    /// What its rows are made by, for a store and for a head.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            preprocessing: Some(self.tokenizer.describe()),
            pooling: Some(self.pooling.name().to_owned()),
            ..self.model.clone()
        }
    }

    /// Embeds tokenised texts, any number of them.
    ///
    /// They are sorted by length into batches of bounded size, which pass through the backbone several at a time
    /// where the device gains by it. Batches depend on the texts alone, so that neither threads nor cores change
    /// a result; the rows come back in the order of the texts.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, in 32-bit floats
    ///
    /// # Errors
    /// [`TowerError`] for texts that the backbone cannot take.
    pub fn embed(&self, texts: &[TokenIds]) -> Result<Tensor<2>, TowerError> {
        self.embed_bounded(texts, usize::MAX)
    }

    /// As [`embed`](Self::embed), with at most `rows` texts in a batch, and one at least.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, in 32-bit floats
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub fn embed_bounded(&self, texts: &[TokenIds], rows: usize) -> Result<Tensor<2>, TowerError> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.0.len()).collect();
        let on_cpu = self.device == Device::flex();
        let [max_rows, max_tokens] = if on_cpu { CPU_BATCH } else { GPU_BATCH };
        let mut batches = length_batches(&lengths, max_rows.min(rows), max_tokens);
        if batches.is_empty() {
            batches.push(Vec::new());
        }
        let rows = in_lanes(&batches, lanes(&self.device), |batch| self.embed_batch(texts, batch))?;
        let mut places = vec![0_i64; texts.len()];
        for (row, place) in batches.concat().into_iter().enumerate() {
            places[place] = row as i64;
        }
        let order = TensorData::new(places, [texts.len()]);
        Ok(Tensor::cat(rows, 0).select(0, Tensor::<1, Int>::from_data(order, &self.device)))
    }

    /// Embeds the texts at these places as one batch, padded to its longest.
    fn embed_batch(&self, texts: &[TokenIds], places: &[usize]) -> Result<Tensor<2>, TowerError> {
        let texts: Vec<&TokenIds> = places.iter().map(|&place| &texts[place]).collect();
        let batch = pad(&texts, self.tokenizer.padding(), &self.device);
        Ok(self.pooling.pool(&self.encoder.encode_texts(batch)?)?)
    }

    /// Tokenises and embeds texts, any number of them.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, in 32-bit floats
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Input`].
    pub fn embed_texts(&self, texts: &[impl AsRef<str>]) -> Result<Tensor<2>, TowerError> {
        let tokenize = |text: &str| self.tokenizer.tokenize(text);
        let tokens = texts
            .iter()
            .enumerate()
            .map(|(row, text)| tokenize(text.as_ref()).map_err(|source| TowerError::Input { row, source }));
        self.embed(&tokens.collect::<Result<Vec<_>, _>>()?)
    }
}

/// One batch of these texts, padded to the longest and to one token at least.
fn pad(texts: &[&TokenIds], padding: Padding, device: &Device) -> TokenBatch {
    let length = texts.iter().map(|text| text.0.len()).max().unwrap_or(0).max(1);
    let mut ids = Vec::with_capacity(texts.len() * length);
    let mut mask = Vec::with_capacity(texts.len() * length);
    for TokenIds(text) in texts {
        let fill = length - text.len();
        let before = if padding.side == PaddingSide::Left { fill } else { 0 };
        ids.resize(ids.len() + before, i64::from(padding.id));
        ids.extend(text.iter().map(|&id| i64::from(id)));
        ids.resize(ids.len() + fill - before, i64::from(padding.id));
        mask.extend((0..length).map(|place| (before..before + text.len()).contains(&place)));
    }
    let shape = [texts.len(), length];
    TokenBatch {
        ids: Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device),
        mask: Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageFeatures, TextFeatures};

    /// A text's row is the sum of its token ids and their number; it knows how large its batches were.
    struct Sums(PaddingSide);

    impl TextEncoder for Sums {
        fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError> {
            let [rows, length] = tokens.ids.dims();
            if rows * length > CPU_BATCH[1] && rows > 1 {
                return Err(EncodeError::Shape {
                    what: "texts",
                    found: vec![rows, length],
                    expected: "less".into(),
                });
            }
            let mask = tokens.mask.clone().float();
            let sum = (tokens.ids.float() * mask.clone()).sum_dim(1);
            let pooled = Tensor::cat(vec![sum, mask.clone().sum_dim(1)], 1);
            Ok(TextFeatures { tokens: mask.unsqueeze_dim(2), mask: tokens.mask, pooled: Some(pooled) })
        }
    }

    impl Tokenizer for Sums {
        fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
            if text.contains('!') {
                return Err(InputError("loud".into()));
            }
            Ok(TokenIds(text.bytes().map(u32::from).collect()))
        }
        fn padding(&self) -> Padding {
            Padding { id: 7, side: self.0 }
        }
        fn describe(&self) -> String {
            "bytes".into()
        }
    }

    fn tower(side: PaddingSide) -> TextTower {
        TextTower {
            encoder: Arc::new(Sums(side)),
            tokenizer: Arc::new(Sums(side)),
            pooling: TextPooling::Pooled,
            model: Provenance::new("sums"),
            device: Device::flex(),
        }
    }

    #[test]
    fn rows_come_back_in_the_order_of_the_texts() {
        let texts: Vec<TokenIds> =
            (0..300_u32).map(|i| TokenIds((0..(i * 37) % 53).map(|k| k + i).collect())).collect();
        let expected: Vec<f32> =
            texts.iter().flat_map(|text| [text.0.iter().sum::<u32>() as f32, text.0.len() as f32]).collect();
        for side in [PaddingSide::Left, PaddingSide::Right] {
            let rows = tower(side).embed(&texts).unwrap();
            assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), expected);
        }
    }

    #[test]
    fn no_text_gives_no_row_and_a_huge_one_its_own_batch() {
        assert_eq!(tower(PaddingSide::Right).embed(&[]).unwrap().dims(), [0, 2]);
        let texts = [TokenIds(vec![1; 100_000]), TokenIds(vec![]), TokenIds(vec![5])];
        let rows = tower(PaddingSide::Right).embed(&texts).unwrap();
        assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), [1e5, 1e5, 0.0, 0.0, 5.0, 1.0]);
    }

    #[test]
    fn a_text_that_cannot_be_prepared_is_named() {
        let error = tower(PaddingSide::Right).embed_texts(&["a", "b!"]).unwrap_err();
        assert_eq!(error.to_string(), "input 1 cannot be prepared");
    }

    #[test]
    fn padding_goes_to_its_side() {
        let texts = [TokenIds(vec![1, 2, 3]), TokenIds(vec![4])];
        let texts: Vec<&TokenIds> = texts.iter().collect();
        for (side, expected) in
            [(PaddingSide::Left, [1, 2, 3, 9, 9, 4]), (PaddingSide::Right, [1, 2, 3, 4, 9, 9])]
        {
            let batch = pad(&texts, Padding { id: 9, side }, &Device::flex());
            assert_eq!(batch.ids.into_data().iter::<i64>().collect::<Vec<_>>(), expected);
            let real = expected.map(|id| id != 9);
            assert_eq!(batch.mask.into_data().iter::<bool>().collect::<Vec<_>>(), real);
        }
    }

    /// Gives the number of each image's first value back.
    struct First;

    impl ImageEncoder for First {
        fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
            let [batch, channels, height, width] = pixels.dims();
            let rows = pixels.reshape([batch, channels * height * width]).narrow(1, 0, 1);
            Ok(ImageFeatures { class_token: Some(rows), patches: None, pooled: None })
        }
    }

    impl ImagePreprocessor for First {
        fn preprocess(&self, _: &RgbImage) -> Result<Pixels, InputError> {
            Err(InputError("no image is good enough".into()))
        }

        fn describe(&self) -> String {
            "none".into()
        }
    }

    #[test]
    fn pixels_that_make_no_batch_are_errors() {
        let tower = VisionTower {
            encoder: Arc::new(First),
            preprocessor: Arc::new(First),
            pooling: ImagePooling::Class,
            model: Provenance::new("first"),
            device: Device::flex(),
        };
        let pixels = |size, first, count| Pixels { size, values: vec![first; count] };
        let rows = tower.embed(&[pixels([1, 2], 5.0, 6), pixels([1, 2], 7.0, 6)]).unwrap();
        assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), [5.0, 7.0]);
        let error = tower.embed(&[pixels([1, 2], 0.0, 6), pixels([2, 1], 0.0, 6)]).unwrap_err();
        assert!(matches!(error, TowerError::Sizes { row: 1, .. }));
        for size in [[1, 2], [usize::MAX, usize::MAX]] {
            let error = tower.embed(&[pixels(size, 0.0, 5)]).unwrap_err();
            assert!(matches!(error, TowerError::Input { row: 0, .. }), "{error}");
        }
    }
}
