//! What dense features are taken from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};

/// Which layer's states the features are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The last layer's, after the final norm: what pooling takes, and what a head was trained on.
    #[default]
    Last,
    /// The n-th states from the end, as `hidden_states[-n]` of transformers: without the final norm. 1 is what the last
    /// block gives, 2 what it is given; a model of L blocks has 1 to L + 1, the last being the embeddings.
    FromEnd(usize),
}

/// How the block that gives the features attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attention {
    /// As the model was trained: queries with keys.
    #[default]
    Standard,
    /// Queries with queries, `softmax(q q^T / sqrt(d)) v`, and without the feed-forward branch and its residual: a
    /// token then attends to tokens like it, which sharpens segmentation (SAIL, arXiv 2412.04616; after SCLIP,
    /// 2312.01597). It changes the last block that is run, the one whose states are asked for.
    QueryQuery,
}

impl Named for Attention {
    const ALL: &'static [Self] = &[Self::Standard, Self::QueryQuery];

    fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::QueryQuery => "query-query",
        }
    }
}

display_and_parse_by_name!(Attention, "attention");

/// Which features an [`ImageEncoder`](crate::ImageEncoder) gives for every patch.
///
/// # Examples
/// ```
/// use sail_core::{Attention, DenseOptions, Layer};
/// // What LLaVA takes from its vision tower, and what open-vocabulary segmentation takes.
/// let tower = DenseOptions { layer: Layer::FromEnd(2), ..DenseOptions::default() };
/// let segmentation = DenseOptions { attention: Attention::QueryQuery, ..DenseOptions::default() };
/// assert_eq!(tower.to_string(), "layer -2 with standard attention");
/// assert_eq!(segmentation.to_string(), "the last layer with q.q attention");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenseOptions {
    /// The layer.
    pub layer: Layer,
    /// Its attention.
    pub attention: Attention,
}

impl fmt::Display for DenseOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Layer::Last => out.write_str("the last layer")?,
            Layer::FromEnd(n) => write!(out, "layer -{n}")?,
        }
        out.write_str(match self.attention {
            Attention::Standard => " with standard attention",
            Attention::QueryQuery => " with q.q attention",
        })
    }
}
