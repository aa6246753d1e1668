//! Queries of texts and images.

use std::path::{Path, PathBuf};

use sail_data::source::is_image_name;

/// The most terms of a query.
const MAX_TERMS: usize = 64;
/// A sum shorter than this share of its weights has the direction of rounding errors.
const CANCELLED: f64 = 1e-3;

/// What is searched for: a weighted sum of texts and images.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use sail_search::{Query, Subject};
///
/// let is_file = |path: &Path| path == Path::new("photo.jpg");
/// let query = Query::parse("a black-and-white dog - grass + 0.5*photo.jpg", is_file)?;
/// let weights: Vec<f32> = query.terms().iter().map(|term| term.weight).collect();
/// assert_eq!(weights, [1.0, -1.0, 0.5]);
/// assert_eq!(query.terms()[2].subject, Subject::Image("photo.jpg".into()));
/// # Ok::<(), sail_search::QueryError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    terms: Vec<QueryTerm>,
}

/// A part of a query and its weight in the sum.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryTerm {
    /// The weight, not 0; negative for what results should not resemble.
    pub weight: f32,
    /// What the part refers to.
    pub subject: Subject,
}

impl QueryTerm {
    /// Creates a term of weight 1.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        Self { weight: 1.0, subject }
    }
}

/// What a part of a query refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A text.
    Text(String),
    /// An image file.
    Image(PathBuf),
    /// An image of the index, by its key.
    Entry(String),
}

/// An error of a query.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nothing is searched for.
    #[error("the query is empty: expected a text, an image, or a sum of them such as `a dog - grass`")]
    Empty,
    /// A term of a sum is missing.
    #[error(
        "the query `{query}` has nothing {place} `{operator}`: write an operator that is meant as text in quotes"
    )]
    Missing {
        /// The query.
        query: String,
        /// `before` or `after`.
        place: &'static str,
        /// The operator.
        operator: char,
    },
    /// A quote is not closed.
    #[error("the query `{query}` has a quote without an end")]
    Quote {
        /// The query.
        query: String,
    },
    /// A weight that is 0 or too large.
    #[error("the weight {weight} in the query is out of range: expected a number above 0 and at most 1000")]
    Weight {
        /// The weight.
        weight: f32,
    },
    /// A term looks like an image, and there is none.
    #[error(
        "`{path}` looks like an image file and does not exist: correct the path, or quote it if it is a text"
    )]
    NoFile {
        /// The path.
        path: String,
    },
    /// Too many terms.
    #[error("the query has {found} parts, expected at most {MAX_TERMS}")]
    TooMany {
        /// Their number.
        found: usize,
    },
    /// The terms cancel.
    #[error("the parts of the query cancel each other: nothing remains to search for")]
    Cancelled,
}

impl Query {
    /// Creates a query of terms.
    ///
    /// # Errors
    /// [`QueryError::Empty`] without terms or with an empty text, [`QueryError::Weight`], and [`QueryError::TooMany`].
    pub fn new(terms: Vec<QueryTerm>) -> Result<Self, QueryError> {
        if terms.is_empty() {
            return Err(QueryError::Empty);
        }
        if terms.len() > MAX_TERMS {
            return Err(QueryError::TooMany { found: terms.len() });
        }
        for QueryTerm { weight, subject } in &terms {
            if !(weight.abs() > 0.0 && weight.abs() <= 1000.0) {
                return Err(QueryError::Weight { weight: *weight });
            }
            if matches!(subject, Subject::Text(text) if text.trim().is_empty()) {
                return Err(QueryError::Empty);
            }
        }
        Ok(Self { terms })
    }

    /// Parses a sum such as `a dog - grass + 0.5*photo.jpg`.
    ///
    /// - The operators `+` and `-` have spaces on both sides, so `black-and-white` and `C++` are words. One may precede the
    ///   first part.
    /// - A part may begin with a weight, a number and `*`.
    /// - A part in double quotes is a text, whatever it contains.
    /// - Another part is an image if `is_file` is true of it, else a text.
    ///
    /// # Errors
    /// [`QueryError`] if the query or a part is empty, if a quote has no end, for a weight out of range, and for a part that
    /// has the name of an image that does not exist, such as `phtoo.jpg`.
    pub fn parse(query: &str, is_file: impl Fn(&Path) -> bool) -> Result<Self, QueryError> {
        let parts = split(query)?;
        let mut terms = Vec::with_capacity(parts.len());
        for Part { sign, text } in parts {
            let (weight, text) = weight(text.trim());
            let subject = match quoted(text) {
                Some(text) => Subject::Text(text.to_owned()),
                None if is_file(Path::new(text)) => Subject::Image(text.into()),
                None if is_image_name(text) && !text.contains(char::is_whitespace) => {
                    return Err(QueryError::NoFile { path: text.to_owned() });
                }
                None => Subject::Text(text.to_owned()),
            };
            terms.push(QueryTerm { weight: sign * weight, subject });
        }
        Self::new(terms)
    }

    /// Returns the terms, at least one.
    #[must_use]
    pub fn terms(&self) -> &[QueryTerm] {
        &self.terms
    }

    /// Adds the embeddings of the terms: `sum w e / |sum w e|`, in the order of the terms.
    ///
    /// # Shapes
    /// - embeddings: a row of unit length for each term, all of the same dimension
    /// - result: a row of unit length
    ///
    /// # Errors
    /// [`QueryError::Cancelled`] if nothing remains.
    ///
    /// # Examples
    /// ```
    /// use sail_search::{Query, QueryError};
    /// let query = Query::parse("cat - cat", |_| false)?;
    /// assert_eq!(query.embedding(&[vec![1.0, 0.0], vec![1.0, 0.0]]), Err(QueryError::Cancelled));
    /// # Ok::<(), QueryError>(())
    /// ```
    pub fn embedding(&self, embeddings: &[Vec<f32>]) -> Result<Vec<f32>, QueryError> {
        let parts = self.terms.iter().zip(embeddings).map(|(term, row)| (term.weight, row.as_slice()));
        weighted_sum(parts).ok_or(QueryError::Cancelled)
    }
}

/// Returns the weighted sum of unit vectors at unit length, or `None` if they cancel each other.
///
/// Its cosine with a row is proportional to the weighted sum of the cosines of the parts with it.
///
/// # Examples
/// ```
/// use sail_search::weighted_sum;
/// let (x, y) = ([1.0, 0.0], [0.0, 1.0]);
/// assert_eq!(weighted_sum([(3.0, &x[..]), (-4.0, &y[..])]), Some(vec![0.6, -0.8]));
/// assert_eq!(weighted_sum([(1.0, &x[..]), (-1.0, &x[..])]), None);
/// ```
#[must_use]
pub fn weighted_sum<'a>(parts: impl IntoIterator<Item = (f32, &'a [f32])>) -> Option<Vec<f32>> {
    let (mut sum, mut weights) = (Vec::new(), 0.0);
    for (weight, row) in parts {
        let weight = f64::from(weight);
        weights += weight.abs();
        sum.resize(row.len().max(sum.len()), 0.0);
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    let has_direction = norm.is_finite() && norm > CANCELLED * weights;
    has_direction.then(|| sum.into_iter().map(|value| (value / norm) as f32).collect())
}

/// A part of a sum.
struct Part<'a> {
    sign: f32,
    text: &'a str,
}

/// Splits at the operators outside quotes.
fn split(query: &str) -> Result<Vec<Part<'_>>, QueryError> {
    let query = query.trim();
    let (mut parts, mut sign, mut start) = (Vec::new(), 1.0, 0);
    let (mut in_quotes, mut last) = (false, None);
    for (at, c) in query.char_indices() {
        if c == '"' {
            in_quotes = !in_quotes;
        }
        let spaced = query[..at].chars().next_back().is_none_or(char::is_whitespace)
            && query[at + c.len_utf8()..].chars().next().is_none_or(char::is_whitespace);
        if in_quotes || !matches!(c, '+' | '-') || !spaced {
            continue;
        }
        let text = query[start..at].trim();
        let is_first = last.is_none() && at == 0;
        if text.is_empty() && !is_first {
            return Err(missing(query, "before", c));
        }
        if !is_first {
            parts.push(Part { sign, text });
        }
        sign = if c == '-' { -1.0 } else { 1.0 };
        (start, last) = (at + 1, Some(c));
    }
    if in_quotes {
        return Err(QueryError::Quote { query: query.to_owned() });
    }
    let text = query[start..].trim();
    match (text.is_empty(), last) {
        (true, None) => Err(QueryError::Empty),
        (true, Some(operator)) => Err(missing(query, "after", operator)),
        (false, _) => {
            parts.push(Part { sign, text });
            Ok(parts)
        }
    }
}

fn missing(query: &str, place: &'static str, operator: char) -> QueryError {
    QueryError::Missing { query: query.to_owned(), place, operator }
}

/// Takes the weight off a part: a number before `*`.
fn weight(text: &str) -> (f32, &str) {
    let parsed = text.split_once('*').and_then(|(number, rest)| {
        let number = number.trim_end();
        let is_decimal = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        Some((is_decimal.then(|| number.parse().ok())??, rest.trim_start()))
    });
    parsed.unwrap_or((1.0, text))
}

/// Returns what is in quotes, if the whole text is.
fn quoted(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('"')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The terms as `WEIGHT kind:content`.
    fn parse(query: &str) -> Result<Vec<String>, QueryError> {
        let is_file =
            |path: &Path| ["photo.jpg", "my holiday/photo - 1.png", "notes"].map(Path::new).contains(&path);
        let term = |term: &QueryTerm| match &term.subject {
            Subject::Text(text) => format!("{} text:{text}", term.weight),
            Subject::Image(path) => format!("{} image:{}", term.weight, path.display()),
            Subject::Entry(key) => format!("{} entry:{key}", term.weight),
        };
        Ok(Query::parse(query, is_file)?.terms().iter().map(term).collect())
    }

    #[test]
    fn sums_are_parsed() {
        for (query, expected) in [
            ("a red car", vec!["1 text:a red car"]),
            ("a black-and-white cat", vec!["1 text:a black-and-white cat"]),
            ("C++ code -x +y", vec!["1 text:C++ code -x +y"]),
            ("  a dog  -  grass ", vec!["1 text:a dog", "-1 text:grass"]),
            ("- grass + dog", vec!["-1 text:grass", "1 text:dog"]),
            ("a dog - grass + 0.5*photo.jpg", vec!["1 text:a dog", "-1 text:grass", "0.5 image:photo.jpg"]),
            ("2 * dogs - .5 * cats", vec!["2 text:dogs", "-0.5 text:cats"]),
            ("2 dogs * 3", vec!["1 text:2 dogs * 3"]),
            ("\"salt - pepper\" - \"photo.jpg\"", vec!["1 text:salt - pepper", "-1 text:photo.jpg"]),
            ("3*\"0.5*x\"", vec!["3 text:0.5*x"]),
            ("a \"great\" dog", vec!["1 text:a \"great\" dog"]),
            ("notes", vec!["1 image:notes"]),
            ("a painting of photo.jpg", vec!["1 text:a painting of photo.jpg"]),
            ("Ä – ö + ü", vec!["1 text:Ä – ö", "1 text:ü"]),
        ] {
            assert_eq!(parse(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_an_error() {
        for query in ["", "  ", "\"\"", "\" \"", "2*"] {
            assert_eq!(parse(query), Err(QueryError::Empty), "{query}");
        }
        for (query, place) in [("a -", "after"), ("- ", "after"), ("a - - b", "before"), ("a + ", "after")] {
            let error = parse(query).unwrap_err();
            assert!(
                matches!(&error, QueryError::Missing { place: found, .. } if *found == place),
                "{query}: {error}"
            );
        }
        assert!(matches!(parse("a \"b - c"), Err(QueryError::Quote { .. })));
        assert!(matches!(parse("0*a"), Err(QueryError::Weight { .. })));
        assert!(matches!(parse("99999*a"), Err(QueryError::Weight { .. })));
        let error = parse("a dog + phtoo.jpg").unwrap_err().to_string();
        assert!(error.starts_with("`phtoo.jpg` looks like an image file and does not exist"), "{error}");
        assert!(matches!(parse(&"a + ".repeat(100)), Err(QueryError::Missing { .. })));
        assert!(matches!(parse(&["a"; 65].join(" + ")), Err(QueryError::TooMany { found: 65 })));
    }

    #[test]
    fn sums_have_unit_length_or_are_refused() {
        let query = Query::parse("a - 0.5*b", |_| false).unwrap();
        let sum = query.embedding(&[vec![0.6, 0.8], vec![0.0, 1.0]]).unwrap();
        let expected = [0.6, 0.3].map(|value: f64| value / (0.36f64 + 0.09).sqrt());
        assert!(sum.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{sum:?}");
        let same = Query::parse("a - a", |_| false).unwrap();
        let almost = [vec![1.0, 0.0], vec![1.0, 1e-5]];
        assert_eq!(same.embedding(&almost), Err(QueryError::Cancelled));
        assert_eq!(query.embedding(&[vec![f32::NAN], vec![1.0]]), Err(QueryError::Cancelled));
    }
}
