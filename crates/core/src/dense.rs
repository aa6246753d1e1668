//! Options of dense features.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::named::{Named, display_and_parse_by_name};

/// The layer whose states are the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The last layer, after the final norm: the input of pooling, on which heads are trained.
    #[default]
    Last,
    /// The n-th states from the end, as `hidden_states[-n]` in transformers, without the final norm: 1 is the output of
    /// the last block, 2 its input; a model of L blocks supports 1 to L + 1, where L + 1 are the embeddings. Written `-n`.
    FromEnd(usize),
}

impl fmt::Display for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => out.write_str("last"),
            Self::FromEnd(n) => write!(out, "-{n}"),
        }
    }
}

impl FromStr for Layer {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let from_end = || text.strip_prefix('-')?.parse().ok().filter(|n| *n > 0).map(Self::FromEnd);
        let layer = if text == "last" { Some(Self::Last) } else { from_end() };
        layer.ok_or_else(|| ConfigError {
            field: "layer".to_owned(),
            found: format!("`{text}`"),
            expected: "`last`, or `-N` for the n-th states from the end".to_owned(),
        })
    }
}

/// The attention of the block that computes the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attention {
    /// Queries attend to keys, as trained.
    #[default]
    Standard,
    /// Queries attend to queries, `softmax(q q^T / sqrt(d)) v`, without the feed-forward network and its residual: tokens
    /// attend to similar tokens, which improves segmentation (SAIL, arXiv 2412.04616; after SCLIP, arXiv 2312.01597).
    /// Applies to the last block that is run, whose states are the features.
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

/// The features that an [`ImageEncoder`](crate::ImageEncoder) returns for every patch.
///
/// # Examples
/// ```
/// use sail_core::{Attention, DenseOptions, Layer};
/// // The features of LLaVA's vision tower, and those of open-vocabulary segmentation.
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
    /// The attention.
    pub attention: Attention,
}

impl fmt::Display for DenseOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Layer::Last => out.write_str("the last layer")?,
            layer => write!(out, "layer {layer}")?,
        }
        out.write_str(match self.attention {
            Attention::Standard => " with standard attention",
            Attention::QueryQuery => " with q.q attention",
        })
    }
}
