//! What is searched for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sail_search::{EntryId, Query, QueryTerm, Subject};
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

impl Term {
    /// Parses a sum of texts, such as `a dog - 0.5*grass`; see [`Query::parse`]. Nothing in it refers to a file.
    ///
    /// # Errors
    /// [`RequestError::Invalid`].
    pub fn parse_sum(sum: &str) -> Result<Vec<Self>, RequestError> {
        let invalid = |error: &dyn std::fmt::Display| RequestError::Invalid(error.to_string());
        let query = Query::parse(sum, |_| false).map_err(|error| invalid(&error))?;
        let term = |term: &QueryTerm| match &term.subject {
            Subject::Text(text) => Ok(Self { item: Item::text(text)?, weight: term.weight }),
            _ => Err(invalid(&"expected texts only")),
        };
        query.terms().iter().map(term).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_texts() {
        let terms = Term::parse_sum("a dog - 0.5*grass").unwrap();
        let weights: Vec<f32> = terms.iter().map(|term| term.weight).collect();
        assert_eq!(weights, [1.0, -0.5]);
        assert_eq!(terms[1].item, Item::Text("grass".to_owned()));
        // A text is never a path.
        for wrong in ["", "a -", "/etc/photo.jpg"] {
            assert!(matches!(Term::parse_sum(wrong), Err(RequestError::Invalid(_))), "{wrong}");
        }
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
