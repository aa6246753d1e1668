//! The specification of a vision transformer.

use sail_core::ImagePooling;

use super::{BlockSpec, FeedForwardSpec, NormSpec};

/// A vision transformer: patches and prefix tokens through transformer blocks.
///
/// The tokens are, in this order, class tokens, registers and patches. Positions are added to the patches, and to the prefix
/// as [`VisionPositions`] says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VisionSpec {
    /// Side of a square patch in pixels.
    pub(crate) patch: usize,
    /// Width of the token states.
    pub(crate) width: usize,
    pub(crate) patch_bias: bool,
    /// A norm of the embedded patches before positions are added (AIMv2).
    pub(crate) patch_norm: Option<NormSpec>,
    /// The order of the values of a patch: that of a convolution, or that of SigLIP 2 NaFlex.
    pub(crate) patch_order: PatchOrder,
    /// Number of class tokens; the output is their mean if there are several (Pixio).
    pub(crate) class_tokens: usize,
    /// Number of register tokens, which are no output.
    pub(crate) registers: usize,
    pub(crate) positions: VisionPositions,
    /// The coordinates of patches for the rotary embedding of the blocks, if they have one.
    pub(crate) rotary_grid: Option<RotaryGrid>,
    /// A norm of all tokens before the blocks (CLIP).
    pub(crate) pre_norm: Option<NormSpec>,
    pub(crate) blocks: Vec<BlockSpec>,
    pub(crate) final_norm: Option<NormSpec>,
    /// The tokens to which the final norm is applied.
    pub(crate) norm_scope: NormScope,
    /// How the pooled output is computed, if there is one.
    pub(crate) head: Option<VisionHead>,
    /// Dimension of a linear projection of the pooled output (CLIP).
    pub(crate) projection: Option<usize>,
    /// Whether the projection has a bias.
    pub(crate) projection_bias: bool,
}

impl VisionSpec {
    /// Returns the pooling of a model by default: that of SAIL, class token and mean of the patches, if both have the final
    /// norm; else the class token if only that has one; else what the model defines.
    pub(crate) fn default_pooling(&self) -> ImagePooling {
        match (&self.head, self.norm_scope) {
            (Some(VisionHead::Map(_)), _) => ImagePooling::Pooled,
            (Some(VisionHead::ClassToken), _) => ImagePooling::Class,
            (_, NormScope::All) if self.class_tokens > 0 => ImagePooling::Concat,
            (_, NormScope::ClassToken) if self.class_tokens > 0 => ImagePooling::Class,
            (Some(_), _) => ImagePooling::Pooled,
            (None, _) => ImagePooling::PatchMean,
        }
    }
}

/// Order of the values in a flattened patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchOrder {
    /// Channel, row, column, as the kernel of a convolution.
    ChannelFirst,
    /// Row, column, channel.
    ChannelLast,
}

/// Absolute positions of the patches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum VisionPositions {
    /// None, or rotary only.
    None,
    /// A table for a grid of `rows` by `columns`, resized for other grids.
    Table {
        grid: [usize; 2],
        /// Entries before those of the patches, added to the first tokens of the prefix.
        prefix: usize,
        interpolation: Interpolation,
    },
    /// Fixed sines and cosines of the column, then of the row (AIMv2 native).
    SinCos,
}

/// How a table of positions is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interpolation {
    /// Not resized: other sizes are an error.
    Fixed,
    Bicubic,
    BicubicAntialias,
    /// Bicubic with the scale factor `(n + 0.1) / side`, as in the first DINO and iBOT.
    BicubicOffset,
    Bilinear,
    BilinearAntialias,
}

/// Coordinates of patches for the rotary embedding. Prefix tokens are not rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RotaryGrid {
    /// DINOv3: centers of patches, each axis scaled to [-1, 1], times 2 pi; angles of rows, then of columns.
    Centers,
    /// EVA-02: indices scaled by `reference / n`; angles of rows, then of columns.
    Indices { reference: Option<[usize; 2]>, offset: f64 },
    /// Perception Encoder: indices from `first`, scaled by `reference / n` in timm; angles of columns, then of rows.
    ColumnsFirst { reference: Option<[usize; 2]>, first: f64 },
}

/// The tokens to which a final norm is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormScope {
    /// All tokens.
    All,
    /// The class token only; patches are those of the last block (CLIP).
    ClassToken,
    /// The mean of the patches in the pooled output only (ViT with `fc_norm`).
    PatchMean,
}

/// The pooled output of a vision transformer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum VisionHead {
    /// The class token.
    ClassToken,
    /// The mean of the patch tokens.
    PatchMean,
    /// `tanh` of a linear layer on the class token (ViT).
    Tanh { width: usize },
    /// Attention of a learned query over the tokens, see [`MapSpec`].
    Map(MapSpec),
}

/// Multi-head attention pooling (Set Transformer, arXiv 1810.00825) as in SigLIP: `y = attention(probe, x)`, then
/// `y + mlp(norm(y))`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MapSpec {
    pub(crate) heads: usize,
    /// Whether class tokens and registers are attended to, besides the patches.
    pub(crate) prefix: bool,
    /// Whether the learned query is projected; AIMv2 uses it as it is.
    pub(crate) query: bool,
    /// Whether the projections of query, key and value have a bias; that of the output has one.
    pub(crate) bias: bool,
    /// The norm before the feed-forward network.
    pub(crate) norm: Option<NormSpec>,
    pub(crate) feed_forward: Option<FeedForwardSpec>,
}
