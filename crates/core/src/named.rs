//! Enums whose variants have names in files and on the command line.

use crate::ConfigError;

/// An enum whose variants have a name in configurations, files and on the command line.
///
/// # Examples
/// ```
/// use sail_core::{ImagePooling, Named, parse_named};
/// assert_eq!(parse_named::<ImagePooling>("pooling", "patch-mean"), Ok(ImagePooling::PatchMean));
/// assert_eq!(
///     parse_named::<ImagePooling>("pooling", "max").unwrap_err().to_string(),
///     "`pooling` is `max`, expected one of `class`, `patch-mean`, `concat`, `pooled`, `tokens`"
/// );
/// ```
pub trait Named: Copy + 'static {
    /// All variants, in the order of the help text.
    const ALL: &'static [Self];

    /// Returns the name of the variant.
    fn name(self) -> &'static str;
}

/// Parses a variant by its name.
///
/// # Errors
/// Returns [`ConfigError`] for `field`, with the valid names, if the name is unknown.
pub fn parse_named<T: Named>(field: &str, name: &str) -> Result<T, ConfigError> {
    let found = T::ALL.iter().copied().find(|value| value.name() == name);
    found.ok_or_else(|| ConfigError {
        field: field.to_owned(),
        found: format!("`{name}`"),
        expected: format!(
            "one of {}",
            T::ALL.iter().map(|value| format!("`{}`", value.name())).collect::<Vec<_>>().join(", ")
        ),
    })
}

/// Implements `Display` and `FromStr` for a [`Named`](crate::Named) type by its names; the second argument is the field in
/// errors.
///
/// # Examples
/// ```
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Side {
///     Left,
///     Right,
/// }
///
/// impl sail_core::Named for Side {
///     const ALL: &'static [Self] = &[Self::Left, Self::Right];
///
///     fn name(self) -> &'static str {
///         match self {
///             Self::Left => "left",
///             Self::Right => "right",
///         }
///     }
/// }
///
/// sail_core::display_and_parse_by_name!(Side, "side");
/// assert_eq!("right".parse(), Ok(Side::Right));
/// ```
#[macro_export]
macro_rules! display_and_parse_by_name {
    ($type:ty, $field:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::Named::name(*self))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::ConfigError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                $crate::parse_named($field, name)
            }
        }
    };
}
pub(crate) use display_and_parse_by_name;
