//! Weights of fewer bits.

use serde::{Deserialize, Serialize};

use crate::named::{Named, display_and_parse_by_name};

/// How a backbone keeps the weights of its layers, if in fewer bits than it computes in.
///
/// # Examples
/// ```
/// use sail_core::Quantization;
/// assert_eq!("int8".parse(), Ok(Quantization::Int8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// Symmetric integers of 8 bits from -127 to 127, of which up to 32 inputs of an output share a scale in `f32`.
    Int8,
}

impl Named for Quantization {
    const ALL: &'static [Self] = &[Self::Int8];

    fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
        }
    }
}

display_and_parse_by_name!(Quantization, "quantization");
