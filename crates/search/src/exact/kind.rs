//! Kinds of codes.

use sail_core::{Named, display_and_parse_by_name};
use serde::{Deserialize, Serialize};

/// How rows are quantized for a scan.
///
/// # Examples
/// ```
/// use sail_search::CodeKind;
/// assert_eq!("int8".parse(), Ok(CodeKind::Int8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeKind {
    /// One bit per dimension and one f32 per row: the signs of the centred row after a rotation.
    ///
    /// RaBitQ (Gao and Long, SIGMOD 2024, [arXiv 2405.12497](https://arxiv.org/abs/2405.12497)), whose estimate of a score is
    /// unbiased over rotations.
    Bit,
    /// One byte per dimension and one f32 per row: the centred row after the same rotation, rounded to 255 levels between
    /// its largest magnitudes.
    Int8,
}

impl Named for CodeKind {
    const ALL: &'static [Self] = &[Self::Bit, Self::Int8];

    fn name(self) -> &'static str {
        match self {
            Self::Bit => "bit",
            Self::Int8 => "int8",
        }
    }
}

display_and_parse_by_name!(CodeKind, "codes");
