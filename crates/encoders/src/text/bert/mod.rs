//! BERT-style encoders: bidirectional attention, post-norm.

mod config;
mod network;
mod relative;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use sail_core::{EncodeError, TextEncoder, TextFeatures, TokenBatch};
use serde_json::Value;

use config::Config;
pub(crate) use config::Family;
use network::{Network, Tokens};

use crate::pretrained::{ModelError, Weights};

/// A BERT-style encoder.
///
/// Positions count unmasked tokens, so padding on either side has no effect. Transformers counts from the left edge, which is
/// equivalent for padding on the right.
#[derive(Debug)]
pub(crate) struct Bert {
    network: Network,
    config: Config,
    device: Device,
}

impl Bert {
    pub(crate) fn load(
        family: Family,
        config: &Value,
        weights: &Weights,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = Config::read(family, config)?;
        let mut network = Network::new(&config, device);
        weights.load_into(&mut network, &family.names())?;
        let network = network.no_grad().map(&mut Cast(DType::F32)).fold_token_types();
        let network = network.map(&mut Cast(dtype));
        Ok(Self { network, config, device: device.clone() })
    }

    /// Returns the width of the token states.
    pub(crate) fn width(&self) -> usize {
        self.config.hidden
    }

    /// Validates a batch and computes its positions.
    fn tokens(&self, batch: TokenBatch) -> Result<(Tokens, Tensor<2, Bool>), EncodeError> {
        let [rows, length] = batch.ids.dims();
        if batch.mask.dims() != [rows, length] {
            let found = batch.mask.dims().to_vec();
            let expected = format!("{:?}, the shape of the token ids", [rows, length]);
            return Err(EncodeError::Shape { what: "mask", found, expected });
        }
        let mask = batch.mask.clone().into_data();
        let ids = batch.ids.clone().into_data();
        let (first, vocabulary) =
            (self.config.padding.map_or(0, |padding| padding as i64 + 1), self.config.vocabulary);
        let mut positions = Vec::with_capacity(rows * length);
        let mut next = first;
        let mut all_real = true;
        for (index, (token, real)) in ids.iter::<i64>().zip(mask.iter::<bool>()).enumerate() {
            if index.is_multiple_of(length) {
                next = first;
            }
            if usize::try_from(token).is_ok_and(|token| token < vocabulary) {
                let counts = real && self.config.padding.is_none_or(|padding| token != padding as i64);
                positions.push(if counts { next } else { first.max(1) - 1 });
                next += i64::from(counts);
            } else {
                return Err(EncodeError::Token { token, vocabulary });
            }
            all_real &= real;
            if next > self.config.positions as i64 {
                let expected =
                    format!("at most {} tokens per text: truncate the texts", self.config.max_length());
                return Err(EncodeError::Shape { what: "token ids", found: vec![rows, length], expected });
            }
        }
        let positions = Tensor::from_data(TensorData::new(positions, [rows, length]), &self.device);
        let padding = (!all_real).then(|| batch.mask.clone().bool_not());
        Ok((Tokens { ids: batch.ids, positions, padding }, batch.mask))
    }
}

impl TextEncoder for Bert {
    fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let [rows, length] = tokens.ids.dims();
        if rows * length == 0 {
            let states = Tensor::zeros([rows, length, self.config.hidden], &self.device);
            return Ok(TextFeatures { tokens: states, mask: tokens.mask, pooled: None });
        }
        let (tokens, mask) = self.tokens(tokens)?;
        let states = self.network.forward(tokens, &self.config);
        Ok(TextFeatures { tokens: states.cast(DType::F32), mask, pooled: None })
    }
}

/// Casts every parameter.
struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
