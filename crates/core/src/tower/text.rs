//! The text tower.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use sail_support::cpu::is_cpu;
use sail_support::length_batches;

use super::TowerError;
use super::layer::AtLayer;
use super::padding::pad;
use crate::{
    EncodeError, Layer, Named, Provenance, TextEncoder, TextFeatures, TextPooling, TokenBatch, TokenIds,
    Tokenizer,
};

/// Maximum texts and padded tokens of a micro-batch on the CPU: enough rows for the matrix products, few enough that the
/// states stay in the caches and a few captions occupy all cores.
const CPU_BATCH: [usize; 2] = [32, 512];
/// Maximum texts and padded tokens of a batch on a GPU.
const GPU_BATCH: [usize; 2] = [512, 1 << 14];

/// A text backbone with its tokenizer and a pooling: texts to embeddings.
///
/// Every part can be replaced by a custom type.
#[derive(Clone)]
pub struct TextTower {
    /// The backbone.
    pub encoder: Arc<dyn TextEncoder>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// The pooling of token states.
    pub pooling: TextPooling,
    /// The model, its precision and prompt, and the pooling and modules of its sentence embedding;
    /// [`provenance`](Self::provenance) adds the tokenizer.
    pub model: Provenance,
    /// The device of the backbone's weights.
    pub device: Device,
}

impl TextTower {
    /// Returns the provenance of the embeddings, as recorded in stores and heads.
    pub fn provenance(&self) -> Provenance {
        let mut provenance = Provenance { processor: Some(self.tokenizer.processor()), ..self.model.clone() };
        if self.pooling != TextPooling::Pooled || provenance.pooling.is_none() {
            provenance.pooling = Some(self.pooling.name().to_owned());
            provenance.modules.clear();
            if let Some(prompt) = &mut provenance.prompt {
                prompt.pooled = true;
            }
        }
        provenance
    }

    /// Embeds any number of tokenized texts.
    ///
    /// The texts are sorted by length into batches of bounded size; on the CPU, several batches run concurrently. The
    /// batches depend on the texts alone, so the number of threads does not change the result. Rows are in the order of
    /// the texts.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, `f32`
    ///
    /// # Errors
    /// Returns [`TowerError`] if the backbone rejects a text.
    pub fn embed(&self, texts: &[TokenIds]) -> Result<Tensor<2>, TowerError> {
        self.embed_bounded(texts, usize::MAX)
    }

    /// Embeds tokenized texts as [`embed`](Self::embed), with at most `max_rows` texts in a batch (at least one).
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, `f32`
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub fn embed_bounded(&self, texts: &[TokenIds], max_rows: usize) -> Result<Tensor<2>, TowerError> {
        let mut rows = self.embed_layers(texts, &[Layer::Last], max_rows)?;
        rows.pop().ok_or_else(|| no_features(Layer::Last))
    }

    /// Embeds tokenized texts by the states of several layers, as [`embed_bounded`](Self::embed_bounded) does by those of
    /// the last. The model runs once.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, `f32`, for each layer
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Encode`] for a layer that the model does not have.
    pub fn embed_layers(
        &self,
        texts: &[TokenIds],
        layers: &[Layer],
        max_rows: usize,
    ) -> Result<Vec<Tensor<2>>, TowerError> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.0.len()).collect();
        let [rows, tokens] = if is_cpu(&self.device) { CPU_BATCH } else { GPU_BATCH };
        let mut batches = length_batches(&lengths, rows.min(max_rows), tokens);
        if batches.is_empty() {
            batches.push(Vec::new());
        }
        let tokens: Vec<_> = batches.iter().map(|batch| self.batch(texts, batch)).collect();
        let pool = |features: TextFeatures| Ok(self.pooling.pool(&features)?);
        let rows = self.encoder.embed_layers(&tokens, layers, &self.device, &pool)?;
        let mut by_layer = vec![Vec::with_capacity(rows.len()); layers.len()];
        for batch in rows {
            by_layer.iter_mut().zip(batch).for_each(|(layer, rows)| layer.push(rows));
        }
        let mut order = vec![0_i64; texts.len()];
        for (row, index) in batches.concat().into_iter().enumerate() {
            order[index] = row as i64;
        }
        let order = TensorData::new(order, [texts.len()]);
        let order = Tensor::<1, Int>::from_data(order, &self.device);
        Ok(by_layer.into_iter().map(|rows| Tensor::cat(rows, 0).select(0, order.clone())).collect())
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

    /// Returns the texts with these indices as one batch, padded to the longest.
    fn batch(&self, texts: &[TokenIds], indices: &[usize]) -> TokenBatch {
        let texts: Vec<&TokenIds> = indices.iter().map(|&index| &texts[index]).collect();
        pad(&texts, self.tokenizer.padding(), &self.device)
    }

    /// Tokenizes and embeds any number of texts.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, `f32`
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and [`TowerError::Input`] if a text cannot be tokenized.
    pub fn embed_texts(&self, texts: &[impl AsRef<str>]) -> Result<Tensor<2>, TowerError> {
        let tokenize = |text: &str| self.tokenizer.tokenize(text);
        let tokens = texts
            .iter()
            .enumerate()
            .map(|(row, text)| tokenize(text.as_ref()).map_err(|source| TowerError::Input { row, source }));
        self.embed(&tokens.collect::<Result<Vec<_>, _>>()?)
    }
}

/// The error of an encoder that returns no features for a layer.
pub(super) fn no_features(requested: Layer) -> TowerError {
    EncodeError::Layer { requested, expected: "features for each layer".to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputError, Padding, PaddingSide};

    /// Embeds a text as the sum of its token ids and their count; rejects batches above the limit.
    struct SumAndCount(PaddingSide);

    impl TextEncoder for SumAndCount {
        fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError> {
            let [rows, length] = tokens.ids.dims();
            if rows * length > CPU_BATCH[1] && rows > 1 {
                let (found, expected) = (vec![rows, length], "fewer tokens".into());
                return Err(EncodeError::Shape { what: "texts", found, expected });
            }
            let mask = tokens.mask.clone().float();
            let sum = (tokens.ids.float() * mask.clone()).sum_dim(1);
            let pooled = Tensor::cat(vec![sum, mask.clone().sum_dim(1)], 1);
            Ok(TextFeatures { tokens: mask.unsqueeze_dim(2), mask: tokens.mask, pooled: Some(pooled) })
        }
    }

    impl Tokenizer for SumAndCount {
        fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
            if text.contains('!') {
                return Err(InputError("`!` is not supported".into()));
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
            encoder: Arc::new(SumAndCount(side)),
            tokenizer: Arc::new(SumAndCount(side)),
            pooling: TextPooling::Pooled,
            model: Provenance::new("sums"),
            device: Device::flex(),
        }
    }

    #[test]
    fn rows_keep_the_order_of_the_texts() {
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
    fn embeds_no_text_and_texts_above_the_limit() {
        assert_eq!(tower(PaddingSide::Right).embed(&[]).unwrap().dims(), [0, 2]);
        let texts = [TokenIds(vec![1; 100_000]), TokenIds(vec![]), TokenIds(vec![5])];
        let rows = tower(PaddingSide::Right).embed(&texts).unwrap();
        assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), [1e5, 1e5, 0.0, 0.0, 5.0, 1.0]);
    }

    #[test]
    fn provenance_has_the_pooling_and_modules_of_the_model_where_they_apply() {
        let mut tower = tower(PaddingSide::Right);
        assert_eq!(tower.provenance().pooling.as_deref(), Some("pooled"));
        tower.model.pooling = Some("class+mean".into());
        tower.model.modules = vec!["normalize".into()];
        let own = tower.provenance();
        assert_eq!((own.pooling.as_deref(), own.modules.len()), (Some("class+mean"), 1));
        tower.pooling = TextPooling::Mean;
        let other = tower.provenance();
        assert_eq!((other.pooling.as_deref(), other.modules.len()), (Some("mean"), 0));
    }

    #[test]
    fn names_a_text_that_cannot_be_tokenized() {
        let error = tower(PaddingSide::Right).embed_texts(&["a", "b!"]).unwrap_err();
        assert_eq!(error.to_string(), "cannot preprocess input 1");
    }
}
