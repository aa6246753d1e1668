//! The parts of transformers: norms, linear layers, attention, feed-forward networks.
//!
//! Every part is loaded with `load(weights, name, spec)` and pulls its tensors from [`Weights`](crate::pretrained::Weights)
//! under these names, to which the map of a family translates those of a checkpoint. `N` is the number of a block.
//!
//! | name | shape |
//! |---|---|
//! | `blocks.N.attention.query`, `.key`, `.value`, `.output` (`.weight`, `.bias`) | `[out, in]`, `[out]` |
//! | `blocks.N.attention.query_norm`, `.key_norm` | `[head_width]` |
//! | `blocks.N.attention.norm` | `[heads * head_width]` |
//! | `blocks.N.norm1`, `blocks.N.norm2` | `[width]` |
//! | `blocks.N.post_norm1`, `blocks.N.post_norm2` (sandwich order) | `[width]` |
//! | `blocks.N.mlp.up`, `.gate`, `.down`, `.norm` | `[out, in]`, `[out]` |
//! | `blocks.N.scale1`, `blocks.N.scale2` (layer scale) | `[width]` |

mod activation;
mod attention;
mod block;
mod feed_forward;
mod linear;
mod norm;
#[cfg(test)]
mod oracle_tests;
mod relative;
mod rotary;

pub(crate) use activation::Activation;
pub(crate) use attention::{Attend, Attention, multi_head};
pub(crate) use block::Block;
pub(crate) use feed_forward::FeedForward;
pub(crate) use linear::Linear;
pub(crate) use norm::Norm;
pub(crate) use relative::buckets;
pub(crate) use rotary::{Rotary, inverse_frequencies};
