//! Learning rate schedules.

use sail_core::Named;
use serde::{Deserialize, Serialize};

/// The learning rate schedule after the warm-up.
///
/// With base rate `r`, `w` warm-up steps out of `n`, and `e = k - w` steps after it:
///
/// | schedule | rate of step `k` |
/// |---|---|
/// | warm-up, `k < w` | `r * (k + 1) / w` |
/// | `cosine` | `r * (1 + cos(pi * e / (n - w))) / 2` |
/// | `linear` | `r * (1 - e / (n - w))` |
/// | `constant` | `r` |
/// | `constant-with-cooldown` | `r`, and `r * (1 - (k - (n - c)) / c)` in the last `c` steps |
///
/// These are the schedules of OpenCLIP, on which the training code of SAIL (arXiv 2412.04616) is based.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Cosine decay to 0, as in the paper.
    #[default]
    Cosine,
    /// Linear decay to 0.
    Linear,
    /// The base rate without decay.
    Constant,
    /// The base rate, followed by linear decay to 0 during the cooldown.
    ConstantWithCooldown,
}

impl Named for Schedule {
    const ALL: &'static [Self] = &[Self::Cosine, Self::Linear, Self::Constant, Self::ConstantWithCooldown];

    fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::Constant => "constant",
            Self::ConstantWithCooldown => "constant-with-cooldown",
        }
    }
}

sail_core::display_and_parse_by_name!(Schedule, "schedule");
