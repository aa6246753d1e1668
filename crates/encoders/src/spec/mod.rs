//! Specifications: the architecture of a backbone as data.
//!
//! A [family](crate::families) turns the configuration of a checkpoint into a specification, and a [trunk](crate::trunk)
//! runs it. Nothing else decides what is computed.

mod block;
mod text;
mod vision;

pub(crate) use block::{
    AttentionSpec, Biases, BlockSpec, FeedForwardSpec, NormKind, NormSpec, Order, Pairs, RotarySpec, Scaling,
};
pub(crate) use text::{
    LatentSpec, MAX_TOKENS, Offset, RelativeSpec, TextHead, TextPositions, TextSpec, Token,
};
pub(crate) use vision::{
    Interpolation, MapSpec, NormScope, PatchOrder, RotaryGrid, VisionHead, VisionPositions, VisionSpec,
};
