//! Which texts of a batch are positives of an image.

use sail_core::Named;
use serde::{Deserialize, Serialize};

/// Which texts of a batch are positives of an image, and which are negatives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positives {
    /// Those of the pair. If an image occurs twice in a batch, as with all of its captions, each caption is a negative of the
    /// other's pair.
    #[default]
    Pair,
    /// All texts of the same image, with weights that add up to 1. The loss must support groups, as the sigmoid loss does.
    Image,
}

impl Named for Positives {
    const ALL: &'static [Self] = &[Self::Pair, Self::Image];

    fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Image => "image",
        }
    }
}

sail_core::display_and_parse_by_name!(Positives, "positives");
