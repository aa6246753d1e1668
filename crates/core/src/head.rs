//! The trained part: two projections into one space.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{FloatDType, Tensor};

use crate::{ConfigError, Modality, Provenance};

/// A side of a head, for errors that concern one.
pub type Side = Modality;

/// A head that cannot take its input, or a head file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The features have another size than the head was made for.
    #[error(
        "{side} features have {found} dimensions, expected {expected}: the head was made for another backbone"
    )]
    Dimension {
        /// Which side.
        side: Side,
        /// The features' size.
        found: usize,
        /// The head's input size.
        expected: usize,
    },
    /// The head has no such side.
    #[error("the head has no {side} side")]
    AbsentSide {
        /// Which side.
        side: Side,
    },
    /// The features come from another backbone than the head was trained on.
    #[error("{side} features come from {found}, the head was trained on {expected}: `{field}` differs")]
    Provenance {
        /// Which side.
        side: Side,
        /// The field that differs.
        field: &'static str,
        /// The features' backbone.
        found: Box<Provenance>,
        /// The head's backbone.
        expected: Box<Provenance>,
    },
    /// The configuration is invalid.
    #[error("invalid head configuration")]
    Config(#[from] ConfigError),
    /// The file is not a head of this workspace.
    #[error("not a head file: {reason}")]
    Format {
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors in the file are not those of its configuration.
    #[error("the head's tensors do not fit its configuration: {}", problems.join("; "))]
    Tensors {
        /// Every missing, unused, mis-shaped or non-finite tensor.
        problems: Vec<String>,
    },
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A trainable head: projections of both sides' frozen features into one space, and the two scalars that turn a
/// cosine into a logit, `logit = exp(log_scale) * cos + bias`.
///
/// It is a burn [`Module`], so that its parameters can be optimised and recorded.
pub trait AlignmentHead: Module + ModuleDisplay + 'static {
    /// Projects image features. The result is *not* normalised.
    ///
    /// # Shapes
    /// - features: `[batch, image_dim]`
    /// - result: `[batch, dim]`
    ///
    /// # Errors
    /// [`HeadError::Dimension`] or [`HeadError::AbsentSide`].
    fn project_images(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError>;

    /// Projects text features. The result is *not* normalised.
    ///
    /// # Shapes
    /// - features: `[batch, text_dim]`
    /// - result: `[batch, dim]`
    ///
    /// # Errors
    /// [`HeadError::Dimension`] or [`HeadError::AbsentSide`].
    fn project_texts(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError>;

    /// Natural logarithm of the learned scale, `[1]`.
    fn log_scale(&self) -> Tensor<1>;

    /// The learned bias, `[1]`.
    fn bias(&self) -> Tensor<1>;

    /// Puts parameters back into their allowed range after an optimiser step (the scale's clamp).
    fn clamp_parameters(self) -> Self;

    /// True where, in training, each row's projection is a function of that row alone: no batch norm, no dropout. Only
    /// then can a batch go through in chunks.
    fn rows_are_independent(&self) -> bool {
        true
    }

    /// About how many numbers a row leaves in memory on its way through a side and back while gradients are computed,
    /// at the most; nothing where the head does not know. From it a memory budget becomes the rows of a chunk.
    fn activations(&self, side: Side) -> Option<usize> {
        let _ = side;
        None
    }

    /// A copy whose layers compute in another type, with this head's parameters cast within the graph, so that
    /// gradients reach them; nothing where the head cannot. It takes and gives f32, and what half precision would
    /// spoil, such as the statistics of a norm, stays in f32.
    fn computing_in(&self, dtype: FloatDType) -> Option<Self> {
        let _ = dtype;
        None
    }

    /// The backbone that a side was trained on, where the head knows it.
    fn trained_on(&self, side: Side) -> Option<&Provenance> {
        let _ = side;
        None
    }

    /// Checks that a side was trained on what made these features, as far as both are known.
    ///
    /// # Errors
    /// [`HeadError::Provenance`].
    fn accepts_provenance(&self, side: Side, found: &Provenance) -> Result<(), HeadError> {
        let expected = self.trained_on(side);
        match expected.and_then(|expected| Some((expected, expected.contradiction(found)?))) {
            None => Ok(()),
            Some((expected, field)) => {
                let (found, expected) = (Box::new(found.clone()), Box::new(expected.clone()));
                Err(HeadError::Provenance { side, field, found, expected })
            }
        }
    }

    /// The whole head, configuration included, as the bytes of one file. The same head gives the same bytes.
    ///
    /// # Errors
    /// [`HeadError`] when a parameter cannot be serialised.
    fn to_bytes(&self) -> Result<Vec<u8>, HeadError>;
}
