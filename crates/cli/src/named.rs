//! Parsing of choices.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sail_vl::core::{ConfigError, Named};

/// Parses a [`Named`] type, listing its names in help and errors.
pub(crate) fn named<T: Named + FromStr<Err = ConfigError> + Send + Sync>() -> impl TypedValueParser<Value = T>
{
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.name())).try_map(|name| name.parse::<T>())
}
