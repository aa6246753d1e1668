//! Floating-point types.

use burn::tensor::{DType, FloatDType};
use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};

/// A floating-point type of stored features, or of the computation of a backbone or a head.
///
/// # Examples
/// ```
/// use sail_core::Dtype;
/// assert_eq!("bf16".parse(), Ok(Dtype::BF16));
/// assert_eq!(Dtype::F16.size(), 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 half precision: 11 significant bits, maximum 65,504.
    F16,
    /// bfloat16: 8 significant bits, the range of `f32`.
    BF16,
    /// IEEE 754 single precision.
    #[default]
    F32,
}

impl Dtype {
    /// Returns the size of a value in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
        }
    }
}

impl Named for Dtype {
    const ALL: &'static [Self] = &[Self::F16, Self::BF16, Self::F32];

    fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

display_and_parse_by_name!(Dtype, "dtype");

impl From<Dtype> for FloatDType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::F32 => Self::F32,
        }
    }
}

impl From<Dtype> for DType {
    fn from(dtype: Dtype) -> Self {
        FloatDType::from(dtype).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_serialized_form() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.name().parse(), Ok(*dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
        assert_eq!(
            "f64".parse::<Dtype>().unwrap_err().to_string(),
            "`dtype` is `f64`, expected one of `f16`, `bf16`, `f32`"
        );
    }
}
