//! Pooling of token states.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};
use crate::{ImageFeatures, PatchTokens, TextFeatures, TokenLayout};

/// The pooling of an image, independent of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePooling {
    /// The class token, `[batch, hidden]`.
    Class,
    /// The mean of the patch tokens, `[batch, hidden]`.
    PatchMean,
    /// Class token and mean of the patch tokens, concatenated, `[batch, 2 * hidden]`: the default of SAIL for a ViT.
    Concat,
    /// The pooled output of the model.
    Pooled,
    /// No pooling: all token states, `[batch, tokens * hidden]`, as [`TokenLayout::Image`] describes. The features of heads
    /// that read tokens.
    Tokens,
}

/// The pooling of a text, independent of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextPooling {
    /// The mean of the unmasked tokens.
    Mean,
    /// The first unmasked token, with padding on either side.
    Class,
    /// The last unmasked token, with padding on either side.
    Last,
    /// The maximum of the unmasked tokens, per dimension.
    Max,
    /// The sum of the unmasked tokens, divided by the square root of their number.
    MeanSqrtLen,
    /// The mean of the unmasked tokens, weighted by their position, 1 for the first.
    WeightedMean,
    /// The sentence embedding as defined by the model.
    Pooled,
}

/// An error of a pooling that needs an output that the model does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pooling}` pooling needs {missing}, which the model does not return")]
pub struct PoolingError {
    /// Name of the pooling.
    pub pooling: &'static str,
    /// The missing output.
    pub missing: &'static str,
}

impl Named for ImagePooling {
    const ALL: &'static [Self] = &[Self::Class, Self::PatchMean, Self::Concat, Self::Pooled, Self::Tokens];

    fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::PatchMean => "patch-mean",
            Self::Concat => "concat",
            Self::Pooled => "pooled",
            Self::Tokens => "tokens",
        }
    }
}

display_and_parse_by_name!(ImagePooling, "pooling");

impl ImagePooling {
    /// Pools a batch.
    ///
    /// # Shapes
    /// - result: `[batch, dim]`, where `dim` depends on the variant
    ///
    /// # Errors
    /// Returns [`PoolingError`] if the model does not have the required output.
    pub fn pool(self, features: &ImageFeatures) -> Result<Tensor<2>, PoolingError> {
        let missing = |missing| PoolingError { pooling: self.name(), missing };
        let class = || features.class_token.clone().ok_or(missing("a class token"));
        let mean = || {
            let patches = features.patches.as_ref().ok_or(missing("patch tokens"))?;
            let [batch, _, hidden] = patches.tokens.dims();
            Ok(patches.tokens.clone().mean_dim(1).reshape([batch, hidden]))
        };
        match self {
            Self::Class => class(),
            Self::PatchMean => mean(),
            Self::Concat => Ok(Tensor::cat(vec![class()?, mean()?], 1)),
            Self::Pooled => features.pooled.clone().ok_or(missing("a pooled output")),
            Self::Tokens => Ok(self.dense(features)?.tokens.flatten(1, 2)),
        }
    }

    /// Returns a row per patch that is compatible with a head trained on this pooling (SAIL, arXiv 2412.04616).
    ///
    /// For `Concat`, this is `[class; patch]`; for `PatchMean`, the patch token. For `Pooled`, it is the patch token if the
    /// pooled output is the mean of the patch tokens, as in a convolutional network; this is checked. For `Tokens`, it is every
    /// token: a head that reads tokens gets the class token, if there is one, before the patches.
    ///
    /// # Shapes
    /// - tokens of the result: `[batch, rows * columns, dim]`, or `[batch, 1 + rows * columns, dim]` for `Tokens` with a class
    ///   token
    ///
    /// # Errors
    /// Returns [`PoolingError`] for `Class`, for a pooled output that is not the mean of the patch tokens, and if the model
    /// does not have the required output.
    pub fn dense(self, features: &ImageFeatures) -> Result<PatchTokens, PoolingError> {
        let missing = |missing| PoolingError { pooling: self.name(), missing };
        let PatchTokens { tokens, grid } = features.patches.clone().ok_or(missing("patch tokens"))?;
        let [batch, count, hidden] = tokens.dims();
        let tokens = match self {
            Self::Class => return Err(missing("a class token for every patch")),
            Self::PatchMean => tokens,
            Self::Tokens => match features.class_token.clone() {
                Some(class) => Tensor::cat(vec![class.unsqueeze_dim::<3>(1), tokens], 1),
                None => tokens,
            },
            Self::Concat => {
                let class = features.class_token.clone().ok_or(missing("a class token"))?;
                Tensor::cat(vec![class.unsqueeze_dim::<3>(1).expand([batch, count, hidden]), tokens], 2)
            }
            Self::Pooled => {
                let pooled = features.pooled.clone().filter(|pooled| pooled.dims() == [batch, hidden]);
                let mean = Self::PatchMean.pool(features)?;
                let is_mean = pooled.is_some_and(|pooled| pooled.all_close(mean, Some(1e-3), Some(1e-3)));
                is_mean.then_some(tokens).ok_or(missing("a pooled output that is the mean of its patches"))?
            }
        };
        Ok(PatchTokens { tokens, grid })
    }
}

impl ImageFeatures {
    /// Returns the layout of the rows of [`ImagePooling::Tokens`].
    ///
    /// # Errors
    /// Returns [`PoolingError`] if the model returns no patch tokens.
    pub fn token_layout(&self) -> Result<TokenLayout, PoolingError> {
        let missing = PoolingError { pooling: ImagePooling::Tokens.name(), missing: "patch tokens" };
        let PatchTokens { tokens, grid } = self.patches.as_ref().ok_or(missing)?;
        let [_, _, dim] = tokens.dims();
        Ok(TokenLayout::Image { class_token: self.class_token.is_some(), grid: *grid, dim })
    }
}

impl Named for TextPooling {
    const ALL: &'static [Self] = &[
        Self::Mean,
        Self::Class,
        Self::Last,
        Self::Max,
        Self::MeanSqrtLen,
        Self::WeightedMean,
        Self::Pooled,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Class => "class",
            Self::Last => "last",
            Self::Max => "max",
            Self::MeanSqrtLen => "mean-sqrt-len",
            Self::WeightedMean => "weighted-mean",
            Self::Pooled => "pooled",
        }
    }
}

display_and_parse_by_name!(TextPooling, "pooling");

impl TextPooling {
    /// Pools a batch. If all tokens of a text are masked, the result is its first token for `Class` and `Last`, else zero.
    ///
    /// # Shapes
    /// - result: `[batch, hidden]`, or `[batch, dim]` for `Pooled`
    ///
    /// # Errors
    /// Returns [`PoolingError`] for `Pooled` if the model defines no sentence embedding.
    pub fn pool(self, features: &TextFeatures) -> Result<Tensor<2>, PoolingError> {
        self.pool_after(0, features)
    }

    /// Pools as [`pool`](Self::pool), without the first `skipped` unmasked tokens of every text: those of a prompt. The
    /// positions of the other tokens stay as they are. It has no effect on `Pooled`.
    ///
    /// # Shapes
    /// - result: as for [`pool`](Self::pool)
    ///
    /// # Errors
    /// As [`pool`](Self::pool).
    pub fn pool_after(self, skipped: usize, features: &TextFeatures) -> Result<Tensor<2>, PoolingError> {
        let tokens = features.tokens.clone();
        let [batch, length, hidden] = tokens.dims();
        let mask = features.mask.clone();
        // Counts unmasked tokens, so padding on either side has no effect.
        let positions = || mask.clone().float().cumsum(1);
        let mask = match skipped {
            0 => mask.clone(),
            _ => mask.clone().bool_and(positions().greater_elem(skipped as f32)),
        };
        let weighted = |weights: Tensor<2>, divisor: fn(Tensor<2>) -> Tensor<2>| {
            let total = weights.clone().sum_dim(1).clamp_min(1.0);
            let sum = (tokens.clone() * weights.unsqueeze_dim::<3>(2)).sum_dim(1);
            sum.reshape([batch, hidden]) / divisor(total)
        };
        Ok(match self {
            Self::Mean => weighted(mask.float(), |total| total),
            Self::MeanSqrtLen => weighted(mask.float(), Tensor::sqrt),
            Self::WeightedMean => weighted(mask.float() * positions(), |total| total),
            Self::Max => {
                let hidden_tokens =
                    mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([batch, length, hidden]);
                let max =
                    tokens.mask_fill(hidden_tokens, f32::NEG_INFINITY).max_dim(1).reshape([batch, hidden]);
                let empty = mask.float().sum_dim(1).equal_elem(0.0).expand([batch, hidden]);
                max.mask_fill(empty, 0.0)
            }
            // The argmax of falling weights finds the first unmasked token, that of rising weights the last.
            Self::Class | Self::Last => {
                let rising = Tensor::<1, Int>::arange(1..length as i64 + 1, &tokens.device());
                let weights = if self == Self::Last { rising } else { rising.flip([0]) };
                let index = (mask.int() * weights.unsqueeze::<2>()).argmax(1);
                let index = index.unsqueeze_dim::<3>(2).repeat_dim(2, hidden);
                tokens.gather(1, index).reshape([batch, hidden])
            }
            Self::Pooled => features
                .pooled
                .clone()
                .ok_or(PoolingError { pooling: self.name(), missing: "a sentence embedding" })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PatchTokens;
    use burn::tensor::{Bool, Device};

    fn rows(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn pools_images() {
        let device = Device::flex();
        let features = ImageFeatures {
            class_token: Some(Tensor::from_floats([[9.0, 8.0]], &device)),
            patches: Some(PatchTokens {
                tokens: Tensor::from_floats([[[1.0, 2.0], [3.0, 6.0]]], &device),
                grid: [1, 2],
            }),
            pooled: None,
        };
        assert_eq!(rows(ImagePooling::Concat.pool(&features).unwrap()), [9.0, 8.0, 2.0, 4.0]);
        assert_eq!(rows(ImagePooling::PatchMean.pool(&features).unwrap()), [2.0, 4.0]);
        let error = ImagePooling::Pooled.pool(&features).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`pooled` pooling needs a pooled output, which the model does not return"
        );
    }

    #[test]
    fn dense_rows_match_the_pooling() {
        let device = Device::flex();
        let patches =
            PatchTokens { tokens: Tensor::from_floats([[[1.0, 2.0], [3.0, 6.0]]], &device), grid: [1, 2] };
        let class_token = Some(Tensor::from_floats([[9.0, 8.0]], &device));
        let features = ImageFeatures { class_token, patches: Some(patches), pooled: None };
        let values = |pooling: ImagePooling, features: &ImageFeatures| {
            pooling.dense(features).map(|patches| patches.tokens.into_data().try_to_vec::<f32>().unwrap())
        };
        let concat = values(ImagePooling::Concat, &features).unwrap();
        assert_eq!(concat, [9.0, 8.0, 1.0, 2.0, 9.0, 8.0, 3.0, 6.0]);
        let tokens = values(ImagePooling::Tokens, &features).unwrap();
        assert_eq!(tokens, [9.0, 8.0, 1.0, 2.0, 3.0, 6.0]);
        assert_eq!(rows(ImagePooling::Tokens.pool(&features).unwrap()), tokens);
        let layout = TokenLayout::Image { class_token: true, grid: [1, 2], dim: 2 };
        assert_eq!(features.token_layout(), Ok(layout));
        let alone = values(ImagePooling::PatchMean, &features).unwrap();
        assert_eq!(alone, [1.0, 2.0, 3.0, 6.0]);
        let mean = Some(Tensor::from_floats([[2.0, 4.0]], &device));
        let pooled = ImageFeatures { pooled: mean, ..features.clone() };
        assert_eq!(values(ImagePooling::Pooled, &pooled).unwrap(), alone);

        let other = Some(Tensor::from_floats([[2.0, 4.1]], &device));
        let other = ImageFeatures { pooled: other, ..features.clone() };
        for (pooling, features) in [
            (ImagePooling::Class, &features),
            (ImagePooling::Pooled, &features),
            (ImagePooling::Pooled, &other),
            (ImagePooling::Concat, &ImageFeatures { class_token: None, ..features.clone() }),
            (ImagePooling::PatchMean, &ImageFeatures { patches: None, ..features.clone() }),
            (ImagePooling::Tokens, &ImageFeatures { patches: None, ..features.clone() }),
        ] {
            let error = values(pooling, features).unwrap_err();
            assert_eq!(error.pooling, pooling.name());
        }
    }

    #[test]
    fn texts_without_tokens_pool_to_zero_or_their_first_token() {
        let device = Device::flex();
        let features = TextFeatures {
            tokens: Tensor::from_floats([[[-1.0], [-3.0]]], &device),
            mask: Tensor::<2, Bool>::from_data([[true, false]], &device),
            pooled: None,
        };
        for pooling in TextPooling::ALL.iter().filter(|pooling| **pooling != TextPooling::Pooled) {
            let expected = if matches!(pooling, TextPooling::Class | TextPooling::Last) { -1.0 } else { 0.0 };
            assert_eq!(rows(pooling.pool_after(1, &features).unwrap()), [expected], "{pooling}");
        }
    }

    #[test]
    fn text_poolings_ignore_padding_on_either_side() {
        let device = Device::flex();
        let features = TextFeatures {
            tokens: Tensor::from_floats([[[1.0], [3.0], [50.0]], [[50.0], [4.0], [8.0]]], &device),
            mask: Tensor::<2, Bool>::from_data([[true, true, false], [false, true, true]], &device),
            pooled: None,
        };
        assert_eq!(rows(TextPooling::Mean.pool(&features).unwrap()), [2.0, 6.0]);
        assert_eq!(rows(TextPooling::Last.pool(&features).unwrap()), [3.0, 8.0]);
        assert_eq!(rows(TextPooling::Class.pool(&features).unwrap()), [1.0, 4.0]);
        assert_eq!(rows(TextPooling::Max.pool(&features).unwrap()), [3.0, 8.0]);
        assert_eq!(rows(TextPooling::WeightedMean.pool(&features).unwrap()), [7.0 / 3.0, 20.0 / 3.0]);
        let root = 2.0_f32.sqrt();
        assert_eq!(rows(TextPooling::MeanSqrtLen.pool(&features).unwrap()), [4.0 / root, 12.0 / root]);
        for pooling in TextPooling::ALL.iter().filter(|pooling| **pooling != TextPooling::Pooled) {
            assert_eq!(rows(pooling.pool_after(1, &features).unwrap()), [3.0, 8.0], "{pooling}");
        }
    }
}
