//! What is searched for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sail_search::EntryId;
use serde::Deserialize;

use crate::error::RequestError;

/// A part of a query, and its weight in the sum of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// What is meant.
    pub item: Item,
    /// Its weight; negative for what results should not resemble. 1 if nothing else is said.
    pub weight: f32,
}

/// What a part of a query refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A text.
    Text(String),
    /// The bytes of an image file.
    Image(Vec<u8>),
    /// An entry of the index.
    Entry(EntryId),
}

impl Item {
    /// Takes a text, which must have more than white space.
    ///
    /// # Errors
    /// [`RequestError::Invalid`].
    pub fn text(text: impl Into<String>) -> Result<Self, RequestError> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(RequestError::Invalid("the text is empty, expected words".to_owned()));
        }
        Ok(Self::Text(text))
    }

    /// Parses the id of an entry.
    ///
    /// # Errors
    /// [`RequestError::NotFound`]: what is no id is no entry's.
    pub fn entry(id: &str) -> Result<Self, RequestError> {
        entry_id(id).map(Self::Entry)
    }

    /// Decodes an image in base64, with or without the prefix of a data URL.
    ///
    /// # Errors
    /// [`RequestError::Invalid`].
    pub fn image_from_base64(text: &str) -> Result<Self, RequestError> {
        let data = match text.strip_prefix("data:") {
            Some(url) => url.split_once(";base64,").map_or(url, |(_, data)| data),
            None => text,
        };
        let bytes = STANDARD.decode(data.trim());
        bytes
            .map(Self::Image)
            .map_err(|error| RequestError::Invalid(format!("the image is no base64: {error}")))
    }
}

/// Parses the id of an entry.
pub(crate) fn entry_id(id: &str) -> Result<EntryId, RequestError> {
    id.parse().map_err(|_| {
        RequestError::NotFound("no entry has this id, expected 32 hexadecimal digits".to_owned())
    })
}

/// A [`Term`] in JSON: `{"text": "a dog", "weight": -0.5}`, or `image` or `id` in the place of `text`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TermFields {
    text: Option<String>,
    image: Option<String>,
    id: Option<String>,
    weight: Option<f32>,
}

impl TryFrom<TermFields> for Term {
    type Error = RequestError;

    fn try_from(fields: TermFields) -> Result<Self, RequestError> {
        let weight = fields.weight.unwrap_or(1.0);
        if !weight.is_finite() {
            return Err(RequestError::Invalid("a weight is not finite".to_owned()));
        }
        let item = match (fields.text, fields.image, fields.id) {
            (Some(text), None, None) => Item::text(text)?,
            (None, Some(image), None) => Item::image_from_base64(&image)?,
            (None, None, Some(id)) => Item::entry(&id)?,
            _ => {
                let message = "expected one of `text`, `image` and `id` in each part of the query";
                return Err(RequestError::Invalid(message.to_owned()));
            }
        };
        Ok(Self { item, weight })
    }
}

/// Returns the weighted sum of unit vectors at unit length, or `None` if they cancel each other.
///
/// It is the direction whose cosine with a row is proportional to the weighted sum of the cosines.
pub(crate) fn weighted_sum<'a>(
    dim: usize,
    parts: impl IntoIterator<Item = (f32, &'a [f32])>,
) -> Option<Vec<f32>> {
    let mut sum = vec![0.0f64; dim];
    let mut total = 0.0f64;
    for (weight, values) in parts {
        let weight = f64::from(weight);
        total += weight.abs();
        sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    // Below this the direction is that of the rounding of the parts.
    (norm.is_finite() && norm > total * 1e-6).then(|| sum.iter().map(|value| (value / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_unit_length_or_no_direction() {
        let [x, y] = [[1.0, 0.0], [0.0, 1.0]];
        let sum = weighted_sum(2, [(3.0, &x[..]), (-4.0, &y[..])]).unwrap();
        assert!((sum[0] - 0.6).abs() < 1e-6 && (sum[1] + 0.8).abs() < 1e-6);
        assert_eq!(weighted_sum(2, [(1.0, &x[..]), (-1.0, &x[..])]), None);
        assert_eq!(weighted_sum(2, [(0.0, &x[..])]), None);
        assert!(weighted_sum(2, [(f32::MAX, &x[..]), (f32::MAX, &y[..])]).is_some());
    }

    #[test]
    fn a_part_is_one_thing() {
        let term = |json: &str| serde_json::from_str::<TermFields>(json).map(Term::try_from);
        let dog = term(r#"{"text": "a dog", "weight": -0.5}"#).unwrap().unwrap();
        assert_eq!(dog, Term { item: Item::Text("a dog".to_owned()), weight: -0.5 });
        let image = term(r#"{"image": "data:image/png;base64,AQI="}"#).unwrap().unwrap();
        assert_eq!(image, Term { item: Item::Image(vec![1, 2]), weight: 1.0 });
        for wrong in [r#"{"text": " "}"#, "{}", r#"{"text": "a", "id": "b"}"#, r#"{"image": "?"}"#] {
            assert!(term(wrong).unwrap().is_err(), "{wrong}");
        }
        assert!(term(r#"{"path": "/etc/passwd"}"#).is_err());
    }
}
