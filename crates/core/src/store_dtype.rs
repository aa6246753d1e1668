//! Types of stored values.

use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};
use crate::{Dtype, TokenLayout};

/// The form in which a store holds its values.
///
/// `int8` keeps a scale per token, `scale = max |x| / 127`, and an integer `round(x / scale)` per value; a row without token
/// states is one token. The difference to a value is at most half the scale of its token.
///
/// # Examples
/// ```
/// use sail_core::{Dtype, StoreDtype, TokenLayout};
/// let tokens = TokenLayout::Image { class_token: true, grid: [16, 16], dim: 384 };
/// assert_eq!(StoreDtype::F16.row_bytes(768, None), 1536);
/// assert_eq!(StoreDtype::Int8.row_bytes(tokens.row_values(), Some(tokens)), 257 * (4 + 384));
/// assert_eq!(StoreDtype::from(Dtype::BF16), StoreDtype::BF16);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreDtype {
    /// [`Dtype::F16`].
    F16,
    /// [`Dtype::BF16`].
    BF16,
    /// [`Dtype::F32`].
    F32,
    /// Symmetric integers of 8 bits with an `f32` scale per token.
    Int8,
}

impl StoreDtype {
    /// Returns the size in bytes of a row of `dim` values, of which `tokens` is the layout if they are token states.
    pub fn row_bytes(self, dim: usize, tokens: Option<TokenLayout>) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2 * dim,
            Self::F32 => 4 * dim,
            Self::Int8 => dim + 4 * tokens.map_or(1, |layout| layout.tokens()),
        }
    }
}

impl Named for StoreDtype {
    const ALL: &'static [Self] = &[Self::F16, Self::BF16, Self::F32, Self::Int8];

    fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

display_and_parse_by_name!(StoreDtype, "dtype");

impl From<Dtype> for StoreDtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::F32 => Self::F32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_serialized_form_and_that_of_floats() {
        for dtype in StoreDtype::ALL {
            assert_eq!(dtype.name().parse(), Ok(*dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
        for dtype in Dtype::ALL {
            assert_eq!(StoreDtype::from(*dtype).name(), dtype.name());
        }
    }
}
