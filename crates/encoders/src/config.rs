//! Validated fields of `config.json`.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::pretrained::ModelError;

/// The fields of a `config.json`; unknown fields are ignored.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

/// Valid sizes: far above those of published models, but without overflow in products of two.
pub(crate) const SIZE: RangeInclusive<usize> = 1..=1 << 22;
/// Valid numbers of layers.
pub(crate) const LAYERS: RangeInclusive<usize> = 1..=1024;

impl<'a> Fields<'a> {
    /// Returns a field unless it is missing or null.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// Returns the error for an invalid field.
    pub(crate) fn error(&self, field: &'static str, expected: impl Into<String>) -> ModelError {
        let found = self.get(field).map_or("missing".to_owned(), |value| {
            let mut text = value.to_string();
            if let Some((end, _)) = text.char_indices().nth(80) {
                text.truncate(end);
                text.push('…');
            }
            text
        });
        ModelError::Config { field, found, expected: expected.into() }
    }

    /// Returns a field of any type, or `None` if it is missing.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        field: &'static str,
        expected: &str,
    ) -> Result<Option<T>, ModelError> {
        let value = self.get(field).map(T::deserialize).transpose();
        value.map_err(|_| self.error(field, expected))
    }

    /// Returns the fields of an object, or `None` if it is missing.
    pub(crate) fn object(&self, field: &'static str) -> Result<Option<Fields<'a>>, ModelError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if value.is_object() => Ok(Some(Fields(value))),
            Some(_) => Err(self.error(field, "an object")),
        }
    }

    /// Returns an integer in a range, or the default if it is missing.
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
            let (low, high) = (range.start(), range.end());
            let expected =
                if low == high { low.to_string() } else { format!("an integer from {low} to {high}") };
            self.error(field, expected)
        })
    }

    /// Returns the number of attention heads, a divisor of the hidden size, or the default if it is missing.
    pub(crate) fn heads(
        &self,
        field: &'static str,
        default: Option<usize>,
        hidden: usize,
    ) -> Result<usize, ModelError> {
        let heads = self.size(field, default, SIZE)?;
        if hidden.is_multiple_of(heads) {
            return Ok(heads);
        }
        Err(self.error(field, format!("a divisor of the hidden size, {hidden}")))
    }

    /// Returns the side of a square, given as one integer or as equal height and width, or the default if it is missing.
    pub(crate) fn square(&self, field: &'static str, default: usize) -> Result<usize, ModelError> {
        const PIXELS: RangeInclusive<u64> = 1..=1 << 14;
        let side = match self.get(field) {
            None => return Ok(default),
            Some(Value::Array(sides)) => match sides.as_slice() {
                [height, width] if height == width => height.as_u64(),
                _ => None,
            },
            Some(side) => side.as_u64(),
        };
        side.filter(|side| PIXELS.contains(side)).map(|side| side as usize).ok_or_else(|| {
            let (low, high) = PIXELS.into_inner();
            self.error(field, format!("the side of a square in pixels, {low} to {high}"))
        })
    }

    /// Returns a number in a range, or the default if it is missing.
    pub(crate) fn number(
        &self,
        field: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, ModelError> {
        let value = self.get(field).map_or(Some(default), Value::as_f64);
        value
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.error(field, format!("a number from {} to {}", range.start(), range.end())))
    }

    /// Returns the epsilon of a norm, in (0, 1], or the default if it is missing.
    pub(crate) fn epsilon(&self, field: &'static str, default: f64) -> Result<f64, ModelError> {
        let value = self.get(field).map_or(Some(default), Value::as_f64);
        let valid = |value: &f64| *value > 0.0 && *value <= 1.0;
        value.filter(valid).ok_or_else(|| self.error(field, "a number above 0 and up to 1"))
    }

    /// Returns a boolean, or the default if it is missing.
    pub(crate) fn flag(&self, field: &'static str, default: bool) -> Result<bool, ModelError> {
        let value = self.get(field).map_or(Some(default), Value::as_bool);
        value.ok_or_else(|| self.error(field, "true or false"))
    }

    /// Returns the value for one of several names, or the default if it is missing.
    pub(crate) fn choice<T: Copy>(
        &self,
        field: &'static str,
        default: Option<T>,
        choices: &[(&str, T)],
    ) -> Result<T, ModelError> {
        let found = match self.get(field) {
            None => default,
            Some(value) => {
                choices.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, choice)| *choice)
            }
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.error(field, format!("one of {}", names.join(", ")))
        })
    }

    /// Checks a field of which only one value is supported.
    pub(crate) fn only(&self, field: &'static str, value: Value) -> Result<(), ModelError> {
        match self.get(field) {
            Some(found) if *found != value => Err(self.error(field, value.to_string())),
            _ => Ok(()),
        }
    }
}
