//! Validation of configurations.

use std::fmt::Display;

/// A configuration that can be validated.
///
/// Constructors call [`check`](Check::check) first, so an invalid configuration never allocates a tensor or opens a file.
pub trait Check {
    /// Checks every field, individually and in combination.
    ///
    /// # Errors
    /// Returns [`ConfigError`] for the first invalid field.
    fn check(&self) -> Result<(), ConfigError>;
}

/// An error of a configuration field that is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {found}, expected {expected}")]
pub struct ConfigError {
    /// The field as spelled in the configuration.
    pub field: String,
    /// The value found.
    pub found: String,
    /// The valid values.
    pub expected: String,
}

/// Returns a [`ConfigError`] unless `valid`.
///
/// # Errors
/// Returns the error with `field`, `found` and `expected` if `valid` is false.
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
