//! The exact tier: scans of all rows, by codes or in full.
//!
//! A scan of codes reads 16 or 2 times fewer bytes than one of f16 rows. It estimates every score; the rows with the highest
//! estimates are read and their cosines computed, so scores are exact and only recall depends on the codes.

mod bit;
mod centre;
mod codes;
mod cosine;
mod error;
mod file;
mod full;
mod int8;
mod kind;
mod principal;
mod rotation;
mod search;

pub use centre::centre;
pub use codes::Codes;
pub use error::CodesError;
pub use full::FullSearch;
pub use kind::CodeKind;
pub use search::ExactSearch;

#[cfg(feature = "approximate")]
pub(crate) use {
    cosine::{check_set, nearest, unit_queries},
    int8::encode as encode_int8,
    rotation::Rotation,
};
