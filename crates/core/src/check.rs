//! Configurations are checked before anything is built from them.

use std::fmt::Display;

/// A configuration that knows its own valid range.
///
/// Everything that is built from a configuration calls [`check`](Check::check) first, so an invalid one
/// never allocates a tensor or opens a file.
pub trait Check {
    /// Checks every field, alone and together.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is out of its range, what was found and what is allowed.
    fn check(&self) -> Result<(), ConfigError>;
}

/// A configuration field out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {found}, expected {expected}")]
pub struct ConfigError {
    /// The field as it is spelled in the configuration.
    pub field: String,
    /// The value it has.
    pub found: String,
    /// The values it may have.
    pub expected: String,
}

/// Returns a [`ConfigError`] unless `valid`.
///
/// # Errors
/// The error made of `field`, `found` and `expected` when `valid` is false.
///
/// # Examples
/// ```
/// let width = 0;
/// let error = sail_core::ensure(width > 0, "width", width, "at least 1").unwrap_err();
/// assert_eq!(error.to_string(), "`width` is 0, expected at least 1");
/// ```
pub fn ensure(
    valid: bool,
    field: &str,
    found: impl Display,
    expected: impl Display,
) -> Result<(), ConfigError> {
    if valid {
        return Ok(());
    }
    Err(ConfigError { field: field.to_owned(), found: found.to_string(), expected: expected.to_string() })
}
