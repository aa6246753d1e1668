//! Losses that training adds to the contrastive loss.

use burn::tensor::Tensor;

use crate::{HeadError, LossError, TokenLayout};

/// The rows that an [`AuxiliaryLoss`] is computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuxiliaryRows {
    /// The pairs of the step.
    Pairs,
    /// A batch of as many images and texts that do not belong together, which the step projects in addition.
    Unpaired,
    /// The patches of each image by itself, for image features with this layout. The loss is a mean over images. It is
    /// computed for the images of a micro-batch at a time, so that patches of a whole batch are never in memory.
    ///
    /// `image_features` then has a row per image, `images` a row per patch as the head projects it
    /// ([`project_patches`](crate::AlignmentHead::project_patches)), one image after the other, and there are no texts.
    Patches(TokenLayout),
}

/// The input of an auxiliary loss. No tensor has an autodiff graph.
#[derive(Debug, Clone)]
pub struct AuxiliaryBatch {
    /// Frozen features of the images, `[batch, image_dim]`.
    pub image_features: Tensor<2>,
    /// Frozen features of the texts per caption set, `[batch, text_dim]` each; a single set without pairs.
    pub text_features: Vec<Tensor<2>>,
    /// L2-normalized embeddings of the images, `[batch, dim]`, or of their [patches](AuxiliaryRows::Patches),
    /// `[batch * patches, dim]`.
    pub images: Tensor<2>,
    /// L2-normalized embeddings of the texts per caption set, `[batch, dim]` each.
    pub texts: Vec<Tensor<2>>,
}

/// The value of an auxiliary loss and its gradients with respect to the embeddings, without an autodiff graph.
#[derive(Debug, Clone)]
pub struct AuxiliaryGradients {
    /// The loss, `[1]`.
    pub value: Tensor<1>,
    /// `d value / d images`, `[batch, dim]`.
    pub images: Tensor<2>,
    /// `d value / d texts`, `[batch, dim]` per caption set.
    pub texts: Vec<Tensor<2>>,
}

/// An error of an auxiliary loss that cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuxiliaryError {
    /// The batch has the wrong shape.
    #[error("the batch does not fit the loss")]
    Batch(#[from] LossError),
    /// The features and the embeddings have different numbers of rows.
    #[error("the features have {found} rows, expected {expected}, the rows of the embeddings")]
    Rows {
        /// Rows of the features.
        found: usize,
        /// Rows of the embeddings.
        expected: usize,
    },
    /// The features do not have the layout of tokens that the loss is for.
    #[error("the features have {found} values, expected {} in {layout}", layout.row_values())]
    Layout {
        /// Dimension of the features.
        found: usize,
        /// The layout.
        layout: TokenLayout,
    },
    /// The teacher does not accept the features.
    #[error("the teacher does not fit the features")]
    Teacher(#[source] HeadError),
    /// The iterations for a transport plan ended before its marginals were close to one.
    #[error(
        "the transport plan with epsilon {epsilon} has not converged after {iterations} iterations: its marginals are off \
         by {deviation:.2e} on average, expected at most {tolerance:.2e}; choose a larger epsilon or more iterations"
    )]
    NotConverged {
        /// The entropic regularisation.
        epsilon: f64,
        /// The number of iterations.
        iterations: usize,
        /// Mean absolute deviation of the marginals from one.
        deviation: f64,
        /// The largest deviation that is accepted.
        tolerance: f64,
    },
    /// The device failed.
    #[error("the device failed")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A loss that training adds to a [`ContrastiveLoss`](crate::ContrastiveLoss), with a weight: a regularizer of the pairs, or
/// a loss on images and texts that are not paired.
///
/// It returns its gradients in closed form, like [`ContrastiveLoss::gradients`](crate::ContrastiveLoss::gradients), so that
/// it does not matter to it whether the head is evaluated in micro-batches or on several devices.
pub trait AuxiliaryLoss: Send + Sync {
    /// Returns the name under which its value is logged.
    fn name(&self) -> &str;

    /// Returns which rows the loss is computed on.
    fn rows(&self) -> AuxiliaryRows;

    /// Computes the loss and its gradients, without its weight.
    ///
    /// # Errors
    /// Returns [`AuxiliaryError`] if the batch does not fit the loss, or the loss cannot be computed.
    fn gradients(&self, batch: &AuxiliaryBatch) -> Result<AuxiliaryGradients, AuxiliaryError>;

    /// Returns an upper estimate of the values that [`gradients`](AuxiliaryLoss::gradients) keeps in memory in addition to
    /// its input, including its result, for `rows` embeddings of dimension `dim` of features of the given dimensions, or
    /// `None` if unknown. With [`AuxiliaryRows::Patches`] these are the embeddings of patches.
    fn workspace(&self, rows: usize, dim: usize, features: FeatureSizes) -> Option<usize> {
        let _ = (rows, dim, features);
        None
    }

    /// Describes the loss with its settings. A run can only be resumed with a loss of the same description.
    fn describe(&self) -> String;
}

/// The features that an [`AuxiliaryLoss`] is computed on, for its estimate of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureSizes {
    /// Dimension of the image features.
    pub image_dim: usize,
    /// Dimension of the text features.
    pub text_dim: usize,
    /// Number of caption sets.
    pub caption_sets: usize,
}

impl AuxiliaryBatch {
    /// Checks the shapes and returns the number of rows.
    ///
    /// # Errors
    /// Returns [`AuxiliaryError`] if there is no caption set, a caption set has another shape than the images, the features
    /// have another number of rows than the embeddings, or the batch has fewer than two rows.
    pub fn checked_rows(&self) -> Result<usize, AuxiliaryError> {
        let shape = self.images.dims();
        let sets = self.texts.len();
        if sets == 0 || self.text_features.len() != sets {
            let found = self.text_features.len().min(sets);
            return Err(LossError::CaptionSets { found, expected: "at least 1, with features" }.into());
        }
        if let Some((set, found)) =
            self.texts.iter().map(Tensor::dims).enumerate().find(|(_, found)| *found != shape)
        {
            return Err(LossError::Shape { set, found, expected: shape }.into());
        }
        let [expected, _] = shape;
        for features in self.text_features.iter().chain([&self.image_features]) {
            let [found, _] = features.dims();
            if found != expected {
                return Err(AuxiliaryError::Rows { found, expected });
            }
        }
        match expected {
            2.. => Ok(expected),
            found => Err(LossError::TooSmall { found }.into()),
        }
    }
}
