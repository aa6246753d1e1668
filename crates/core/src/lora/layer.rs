//! The layers that have adapters.

use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};

/// A linear layer of a transformer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoraLayer {
    /// The queries of the attention.
    Query,
    /// The keys of the attention.
    Key,
    /// The values of the attention.
    Value,
    /// The layer after the attention.
    Output,
    /// The gate of a gated feed-forward network.
    Gate,
    /// The first layer of the feed-forward network.
    Up,
    /// The last layer of the feed-forward network.
    Down,
}

impl Named for LoraLayer {
    const ALL: &'static [Self] =
        &[Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::Output => "output",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

display_and_parse_by_name!(LoraLayer, "layers");
