//! Alignment heads.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{FloatDType, Tensor};

use crate::{ConfigError, Contradiction, Modality, Provenance, TokenLayout, TowerError};

/// A side of a head.
pub type Side = Modality;

/// An error of a head that rejects its input, or of an invalid head file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The features do not have the input dimension of the head.
    #[error(
        "{side} features have {found} dimensions, expected {expected}: the head was made for another backbone"
    )]
    Dimension {
        /// The side.
        side: Side,
        /// Dimension of the features.
        found: usize,
        /// Input dimension of the head.
        expected: usize,
    },
    /// The features are pooled, and the head takes token states.
    #[error(
        "the {side} features are pooled or have no layout of tokens, but the projector `{projector}` takes token states: \
         encode the tokens, or choose another projector"
    )]
    Pooled {
        /// The side.
        side: Side,
        /// Name of the projector.
        projector: &'static str,
    },
    /// The features are token states, and the head takes pooled features.
    #[error(
        "the {side} features are token states, {found}, but the projector `{projector}` takes pooled features: choose a \
         projector of tokens, or encode with a pooling"
    )]
    Tokens {
        /// The side.
        side: Side,
        /// Name of the projector.
        projector: &'static str,
        /// The layout of the features.
        found: TokenLayout,
    },
    /// An image has no patches.
    #[error("an image has {found} tokens, expected at least {expected}")]
    TooFewTokens {
        /// Number of tokens.
        found: usize,
        /// A patch, and the class token if the head was trained with one.
        expected: usize,
    },
    /// The head does not have this side.
    #[error("the head has no {side} side")]
    MissingSide {
        /// The side.
        side: Side,
    },
    /// The features come from another backbone than those the head was trained on.
    #[error("the head was trained on other {side} features: {contradiction}")]
    Provenance {
        /// The side.
        side: Side,
        /// The difference between the features and those of the training.
        contradiction: Box<Contradiction>,
    },
    /// The blocks of an encoder in front of a side reject its rows.
    #[error("the blocks of the {side} encoder cannot use the token states")]
    Encode {
        /// The side.
        side: Side,
        /// Why.
        #[source]
        source: Box<TowerError>,
    },
    /// The configuration is invalid.
    #[error("invalid head configuration")]
    Config(#[from] ConfigError),
    /// The file is not a head file.
    #[error("not a head file: {reason}")]
    Format {
        /// The cause.
        reason: String,
    },
    /// The file of another implementation cannot be imported.
    #[error("not a head that can be imported: {reason}")]
    Import {
        /// The cause.
        reason: String,
    },
    /// The head has a part that another implementation does not have.
    #[error("the head cannot be exported: {reason}")]
    Export {
        /// The cause.
        reason: String,
    },
    /// The tensors in the file do not match its configuration.
    #[error("the tensors of the head do not match its configuration: {}", problems.join("; "))]
    Tensors {
        /// Every missing, unexpected, misshapen or non-finite tensor.
        problems: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
}

impl HeadError {
    /// Checks that features are compatible with those that a side was trained on, if these are known.
    ///
    /// # Errors
    /// [`HeadError::Provenance`] if a field differs.
    pub fn check_provenance(
        side: Side,
        trained_on: Option<&Provenance>,
        found: &Provenance,
    ) -> Result<(), Self> {
        match trained_on.and_then(|expected| expected.contradiction(found)) {
            None => Ok(()),
            Some(contradiction) => Err(Self::Provenance { side, contradiction: Box::new(contradiction) }),
        }
    }
}

/// A trainable head: projections of image and text features into a shared space, and the scale and bias that turn cosine
/// similarities into logits, `logit = exp(log_scale) * cos + bias`.
///
/// A head is a burn [`Module`], so its parameters can be optimized and recorded.
pub trait AlignmentHead: Module + ModuleDisplay + 'static {
    /// Projects image features. The result is *not* normalized.
    ///
    /// # Shapes
    /// - features: `[batch, image_dim]`
    /// - result: `[batch, dim]`
    ///
    /// # Errors
    /// Returns [`HeadError::Dimension`] or [`HeadError::MissingSide`].
    fn project_images(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError>;

    /// Projects the patches of images, for dense tasks. The result is *not* normalized.
    ///
    /// By default every patch is projected like an image. A head that was trained on token states
    /// ([`Provenance::tokens`]) gets these, in the same order, of images of any size: its class token first
    /// if it has one, then the patches.
    ///
    /// # Shapes
    /// - tokens: `[batch, patches, image_dim]`, or `[batch, tokens, token_dim]` for a head on token states
    /// - result: `[batch, patches, dim]`, without the class token
    ///
    /// # Errors
    /// The same as [`project_images`](Self::project_images).
    fn project_patches(&self, tokens: Tensor<3>) -> Result<Tensor<3>, HeadError> {
        let [batch, patches, features] = tokens.dims();
        let projected = self.project_images(tokens.reshape([batch * patches, features]))?;
        let [_, dim] = projected.dims();
        Ok(projected.reshape([batch, patches, dim]))
    }

    /// Projects text features. The result is *not* normalized.
    ///
    /// # Shapes
    /// - features: `[batch, text_dim]`
    /// - result: `[batch, dim]`
    ///
    /// # Errors
    /// Returns [`HeadError::Dimension`] or [`HeadError::MissingSide`].
    fn project_texts(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError>;

    /// Returns the natural logarithm of the learned logit scale, `[1]`.
    fn log_scale(&self) -> Tensor<1>;

    /// Returns the learned logit bias, `[1]`.
    fn bias(&self) -> Tensor<1>;

    /// Clamps parameters to their valid range after an optimizer step (the logit scale).
    fn clamp_parameters(self) -> Self;

    /// Returns whether the projection of a row in training depends on that row alone (no batch norm, no dropout), so that a
    /// batch can be split into micro-batches.
    fn rows_are_independent(&self) -> bool {
        true
    }

    /// Returns an upper estimate of the values per row that the forward and backward passes of a side keep in memory, or
    /// `None` if unknown. It determines the micro-batch size for a memory budget.
    fn activations(&self, side: Side) -> Option<usize> {
        let _ = side;
        None
    }

    /// Returns a copy whose layers compute in `dtype`, or `None` if the head does not support it.
    ///
    /// The parameters are cast within the graph, so gradients reach those of this head. Inputs and outputs are `f32`, and
    /// so are sensitive computations such as the statistics of a norm.
    fn computing_in(&self, dtype: FloatDType) -> Option<Self> {
        let _ = dtype;
        None
    }

    /// Returns the provenance of the features that a side was trained on, if known.
    fn trained_on(&self, side: Side) -> Option<&Provenance> {
        let _ = side;
        None
    }

    /// Checks that the provenance of features is compatible with that of the training features of a side.
    ///
    /// # Errors
    /// Returns [`HeadError::Provenance`] if a field differs.
    fn accepts_provenance(&self, side: Side, found: &Provenance) -> Result<(), HeadError> {
        HeadError::check_provenance(side, self.trained_on(side), found)
    }

    /// Serializes the head with its configuration. The bytes are deterministic.
    ///
    /// # Errors
    /// Returns [`HeadError`] if a parameter cannot be serialized.
    fn to_bytes(&self) -> Result<Vec<u8>, HeadError>;
}
