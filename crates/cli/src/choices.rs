//! Choices that exist on the command line only: kinds of losses and optimizers by name.

use sail_vl::core::Named;

/// The kind of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Sigmoid,
    InfoNce,
    BarlowTwins,
}

impl Named for Loss {
    const ALL: &'static [Self] = &[Self::Sigmoid, Self::InfoNce, Self::BarlowTwins];

    fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::InfoNce => "info-nce",
            Self::BarlowTwins => "barlow-twins",
        }
    }
}

/// The kind of optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Optimizer {
    Lion,
    AdamW,
}

impl Named for Optimizer {
    const ALL: &'static [Self] = &[Self::Lion, Self::AdamW];

    fn name(self) -> &'static str {
        match self {
            Self::Lion => "lion",
            Self::AdamW => "adamw",
        }
    }
}
