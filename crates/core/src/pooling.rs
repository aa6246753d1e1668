//! From token states to one row: a choice of its own, independent of the model.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};
use crate::{ImageFeatures, PatchTokens, TextFeatures};

/// How an image becomes one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePooling {
    /// The class token, `[batch, hidden]`.
    Class,
    /// The mean of the patch tokens, `[batch, hidden]`.
    PatchMean,
    /// `[class ; mean of patches]`, `[batch, 2 * hidden]`: the paper's default for a ViT.
    Concat,
    /// The model's own pooled output.
    Pooled,
}

/// How a text becomes one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextPooling {
    /// The mean of the tokens that the mask marks.
    Mean,
    /// The first token that the mask marks, wherever the padding is.
    Class,
    /// The last token that the mask marks, wherever the padding is.
    Last,
    /// The sentence embedding as the model defines it.
    Pooled,
}

/// A pooling that the features cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pooling}` pooling needs {missing}, which this model does not give")]
pub struct PoolingError {
    /// The pooling as it is spelled in a configuration.
    pub pooling: &'static str,
    /// The absent part.
    pub missing: &'static str,
}

impl Named for ImagePooling {
    const ALL: &'static [Self] = &[Self::Class, Self::PatchMean, Self::Concat, Self::Pooled];

    fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::PatchMean => "patch-mean",
            Self::Concat => "concat",
            Self::Pooled => "pooled",
        }
    }
}

display_and_parse_by_name!(ImagePooling, "pooling");

impl ImagePooling {
    /// Pools a batch.
    ///
    /// # Shapes
    /// - result: `[batch, dim]`, `dim` as the variants say
    ///
    /// # Errors
    /// [`PoolingError`] when the model does not give the part that this pooling needs.
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
        }
    }

    /// What stands for one patch where a head was trained on this pooling: a row of the same size and meaning for
    /// every patch (SAIL, arXiv 2412.04616).
    ///
    /// Under `Concat` that is `[class ; patch]`, under `PatchMean` the patch alone. Under `Pooled` it is the patch
    /// alone too, if the pooled output is the mean of the patches, as that of a convolutional network is; this is
    /// checked.
    ///
    /// # Shapes
    /// - tokens of the result: `[batch, rows * columns, dim]`
    ///
    /// # Errors
    /// [`PoolingError`] for `Class`, for a pooled output that is not the mean of the patches, and for a part that the
    /// model does not give.
    pub fn dense(self, features: &ImageFeatures) -> Result<PatchTokens, PoolingError> {
        let missing = |missing| PoolingError { pooling: self.name(), missing };
        let PatchTokens { tokens, grid } = features.patches.clone().ok_or(missing("patch tokens"))?;
        let [batch, count, hidden] = tokens.dims();
        let tokens = match self {
            Self::Class => return Err(missing("a class token for every patch")),
            Self::PatchMean => tokens,
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

impl Named for TextPooling {
    const ALL: &'static [Self] = &[Self::Mean, Self::Class, Self::Last, Self::Pooled];

    fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Class => "class",
            Self::Last => "last",
            Self::Pooled => "pooled",
        }
    }
}

display_and_parse_by_name!(TextPooling, "pooling");

impl TextPooling {
    /// Pools a batch. A text whose mask marks no token gives a row of zeros under `Mean` and its first token
    /// under `Class` and `Last`.
    ///
    /// # Shapes
    /// - result: `[batch, hidden]`, or `[batch, dim]` for `Pooled`
    ///
    /// # Errors
    /// [`PoolingError`] for `Pooled` when the model defines no sentence embedding.
    pub fn pool(self, features: &TextFeatures) -> Result<Tensor<2>, PoolingError> {
        let tokens = features.tokens.clone();
        let [batch, length, hidden] = tokens.dims();
        match self {
            Self::Mean => {
                let weights = features.mask.clone().float();
                let count = weights.clone().sum_dim(1).clamp_min(1.0);
                let sum = (tokens * weights.unsqueeze_dim::<3>(2)).sum_dim(1);
                Ok(sum.reshape([batch, hidden]) / count)
            }
            // The marked token with the highest weight: weights that fall find the first, that rise the last.
            Self::Class | Self::Last => {
                let rising = Tensor::<1, Int>::arange(1..length as i64 + 1, &tokens.device());
                let weights = if self == Self::Last { rising } else { rising.flip([0]) };
                let index = (features.mask.clone().int() * weights.unsqueeze::<2>()).argmax(1);
                let index = index.unsqueeze_dim::<3>(2).repeat_dim(2, hidden);
                Ok(tokens.gather(1, index).reshape([batch, hidden]))
            }
            Self::Pooled => features
                .pooled
                .clone()
                .ok_or(PoolingError { pooling: self.name(), missing: "a sentence embedding" }),
        }
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
    fn image_poolings() {
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
            "`pooled` pooling needs a pooled output, which this model does not give"
        );
    }

    #[test]
    fn patches_become_what_a_head_was_trained_on() {
        let device = Device::flex();
        let patches =
            PatchTokens { tokens: Tensor::from_floats([[[1.0, 2.0], [3.0, 6.0]]], &device), grid: [1, 2] };
        let class_token = Some(Tensor::from_floats([[9.0, 8.0]], &device));
        let features = ImageFeatures { class_token, patches: Some(patches), pooled: None };
        let numbers = |pooling: ImagePooling, features: &ImageFeatures| {
            pooling.dense(features).map(|patches| patches.tokens.into_data().try_to_vec::<f32>().unwrap())
        };
        let concat = numbers(ImagePooling::Concat, &features).unwrap();
        assert_eq!(concat, [9.0, 8.0, 1.0, 2.0, 9.0, 8.0, 3.0, 6.0]);
        let alone = numbers(ImagePooling::PatchMean, &features).unwrap();
        assert_eq!(alone, [1.0, 2.0, 3.0, 6.0]);
        let mean = Some(Tensor::from_floats([[2.0, 4.0]], &device));
        let pooled = ImageFeatures { pooled: mean, ..features.clone() };
        assert_eq!(numbers(ImagePooling::Pooled, &pooled).unwrap(), alone);

        let other = Some(Tensor::from_floats([[2.0, 4.1]], &device));
        let other = ImageFeatures { pooled: other, ..features.clone() };
        for (pooling, features) in [
            (ImagePooling::Class, &features),
            (ImagePooling::Pooled, &features),
            (ImagePooling::Pooled, &other),
            (ImagePooling::Concat, &ImageFeatures { class_token: None, ..features.clone() }),
            (ImagePooling::PatchMean, &ImageFeatures { patches: None, ..features.clone() }),
        ] {
            let error = numbers(pooling, features).unwrap_err();
            assert_eq!(error.pooling, pooling.name());
        }
    }

    #[test]
    fn text_poolings_honour_padding_on_either_side() {
        let device = Device::flex();
        let features = TextFeatures {
            tokens: Tensor::from_floats([[[1.0], [3.0], [50.0]], [[50.0], [4.0], [8.0]]], &device),
            mask: Tensor::<2, Bool>::from_data([[true, true, false], [false, true, true]], &device),
            pooled: None,
        };
        assert_eq!(rows(TextPooling::Mean.pool(&features).unwrap()), [2.0, 6.0]);
        assert_eq!(rows(TextPooling::Last.pool(&features).unwrap()), [3.0, 8.0]);
        assert_eq!(rows(TextPooling::Class.pool(&features).unwrap()), [1.0, 4.0]);
    }
}
