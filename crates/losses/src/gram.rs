//! The Gram loss of patches.

use burn::tensor::Tensor;
use sail_core::{
    AuxiliaryBatch, AuxiliaryError, AuxiliaryGradients, AuxiliaryLoss, AuxiliaryRows, Check, ConfigError,
    FeatureSizes, TokenLayout, ensure, l2_normalize,
};
use sail_support::ranges;

use crate::tiles::TILE_SIZE;

/// Keeps how similar the patches of an image are to each other: the mean squared difference of the cosines of all pairs of
/// patches before and after the head,
///
/// ```text
/// L = mean over images of 1 / P^2 * sum_ij (cos(x_i, x_j) - cos(y_i, y_j))^2
/// ```
///
/// for the patch tokens `x` of the encoder and the same patches `y` as the head projects them. A head that pools tokens is
/// trained on the mean of its patches only, which may lose what a single patch shows; dense tasks need it.
///
/// The optional loss of dino.txt (Jose et al. 2025, arXiv 2412.16334). It is computed on [patches](AuxiliaryRows::Patches),
/// with the gradient in closed form, for as many images at a time as have cosines in 16 MiB.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::{AuxiliaryBatch, AuxiliaryLoss, TokenLayout};
/// use sail_losses::Gram;
///
/// let gram = Gram::new(TokenLayout::Image { class_token: true, grid: [1, 2], dim: 2 })?;
/// // A class token and two patches, which are orthogonal; the head makes them equal.
/// let batch = AuxiliaryBatch {
///     image_features: Tensor::from_floats([[9.0, 9.0, 1.0, 0.0, 0.0, 1.0]], &Device::flex()),
///     text_features: vec![],
///     images: Tensor::from_floats([[1.0, 0.0], [1.0, 0.0]], &Device::flex()),
///     texts: vec![],
/// };
/// assert_eq!(gram.gradients(&batch)?.value.into_scalar::<f32>(), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gram {
    layout: TokenLayout,
    class_tokens: usize,
}

impl Gram {
    /// Creates the loss of images whose features have this layout.
    ///
    /// # Errors
    /// [`ConfigError`] if the layout is invalid or that of texts.
    pub fn new(layout: TokenLayout) -> Result<Self, ConfigError> {
        layout.check()?;
        let class_tokens = match layout {
            TokenLayout::Image { class_token, .. } => usize::from(class_token),
            TokenLayout::Text { .. } => {
                ensure(false, "gram", layout, "the tokens of images")?;
                0
            }
        };
        Ok(Self { layout, class_tokens })
    }

    fn patches(&self) -> usize {
        self.layout.tokens() - self.class_tokens
    }
}

impl AuxiliaryLoss for Gram {
    fn name(&self) -> &str {
        "gram"
    }

    fn rows(&self) -> AuxiliaryRows {
        AuxiliaryRows::Patches(self.layout)
    }

    fn gradients(&self, batch: &AuxiliaryBatch) -> Result<AuxiliaryGradients, AuxiliaryError> {
        let ([images, values], [rows, dim]) = (batch.image_features.dims(), batch.images.dims());
        let count = self.patches();
        if values != self.layout.row_values() {
            return Err(AuxiliaryError::Layout { found: values, layout: self.layout });
        }
        if rows != images * count {
            return Err(AuxiliaryError::Rows { found: images * count, expected: rows });
        }
        let mut value = Tensor::zeros([1], &batch.images.device());
        let mut gradients = Vec::new();
        let pairs = count * count;
        let at_a_time = TILE_SIZE.get() * TILE_SIZE.get() / pairs;
        for range in ranges(images, at_a_time) {
            let some = range.len();
            let tokens = batch.image_features.clone().slice(range.clone());
            let x = tokens.reshape([some, self.layout.tokens(), self.layout.dim()]);
            let x = l2_normalize(
                x.narrow(1, self.class_tokens, count).reshape([some * count, self.layout.dim()]),
            );
            let x = x.reshape([some, count, self.layout.dim()]);
            let y = batch.images.clone().slice(range.start * count..range.end * count);
            let y = y.reshape([some, count, dim]);
            let difference = y.clone().matmul(y.clone().transpose()) - x.clone().matmul(x.transpose());
            // The difference is symmetric, so both factors of a cosine have the same derivative.
            let gradient = difference.clone().matmul(y) * (4.0 / (images * pairs) as f64);
            gradients.push(gradient.reshape([some * count, dim]));
            value = value + difference.square().sum() / (images * pairs) as f64;
        }
        Ok(AuxiliaryGradients { value, images: Tensor::cat(gradients, 0), texts: Vec::new() })
    }

    fn workspace(&self, rows: usize, dim: usize, _: FeatureSizes) -> Option<usize> {
        // Per image its cosines, their difference and its square, the normalized patches, and the gradient.
        let values = 4 * self.patches() * self.patches() + self.patches() * (3 * self.layout.dim() + 4 * dim);
        Some((rows / self.patches()).max(1).saturating_mul(values))
    }

    fn describe(&self) -> String {
        format!("{self:?}")
    }
}
