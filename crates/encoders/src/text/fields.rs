//! Checked reading of a model's configuration.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::pretrained::ModelError;

/// The fields of a `config.json`; those that nobody asks for are let be.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

/// Sizes that any published text model keeps far below, so that no file asks for more memory than its weights.
pub(crate) const SIZE: RangeInclusive<usize> = 1..=1 << 22;

impl<'a> Fields<'a> {
    /// The field, unless it is absent or null.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// The error for this field.
    pub(crate) fn error(&self, field: &'static str, expected: impl Into<String>) -> ModelError {
        let found = self.get(field).map_or("absent".to_owned(), |value| {
            let mut text = value.to_string();
            if let Some((end, _)) = text.char_indices().nth(80) {
                text.truncate(end);
                text.push('…');
            }
            text
        });
        ModelError::Config { field, found, expected: expected.into() }
    }

    /// A whole number in a range, or the default for an absent one.
    pub(crate) fn size(
        &self,
        field: &'static str,
        default: Option<usize>,
        range: RangeInclusive<usize>,
    ) -> Result<usize, ModelError> {
        let value = match self.get(field) {
            None => default,
            Some(value) => value.as_u64().and_then(|value| usize::try_from(value).ok()),
        };
        value.filter(|value| range.contains(value)).ok_or_else(|| {
            self.error(field, format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A positive number up to 1, or the default for an absent one.
    pub(crate) fn epsilon(&self, field: &'static str, default: f64) -> Result<f64, ModelError> {
        let value = self.get(field).map_or(Some(default), Value::as_f64);
        let usable = |value: &f64| *value > 0.0 && *value <= 1.0;
        value.filter(usable).ok_or_else(|| self.error(field, "a number above 0 and up to 1"))
    }

    /// One of several names, or the default for an absent one.
    pub(crate) fn choice<T: Copy>(
        &self,
        field: &'static str,
        default: Option<T>,
        known: &[(&str, T)],
    ) -> Result<T, ModelError> {
        let found = match self.get(field) {
            None => default,
            Some(value) => {
                known.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, known)| *known)
            }
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.error(field, format!("one of {}", known.join(", ")))
        })
    }

    /// A field that this implementation serves with one value only.
    pub(crate) fn only(&self, field: &'static str, value: Value) -> Result<(), ModelError> {
        match self.get(field) {
            Some(found) if *found != value => Err(self.error(field, value.to_string())),
            _ => Ok(()),
        }
    }
}
