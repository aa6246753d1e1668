//! JSON as Python writes it.

use serde::de::DeserializeOwned;

use crate::strip_bom;

/// Parses JSON as Python's `json` module writes it.
///
/// A byte order mark is skipped. `NaN`, `Infinity`, `-Infinity` and numbers beyond the range of f64 are read as `null`, lone
/// surrogates such as `\ud83d` as U+FFFD.
///
/// # Errors
/// Those of [`serde_json::from_slice`].
///
/// # Examples
/// ```
/// use serde_json::{Value, json};
/// let record: Value = sail_support::json::from_slice(br#"{"caption": "a cat", "similarity": NaN, "user": "\ud83d"}"#)?;
/// assert_eq!(record, json!({"caption": "a cat", "similarity": null, "user": "\u{fffd}"}));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let bytes = strip_bom(bytes);
    // Rewriting costs a copy, and almost all files are standard JSON.
    serde_json::from_slice(bytes).or_else(|error| match standard(bytes) {
        Some(bytes) => serde_json::from_slice(&bytes),
        None => Err(error),
    })
}

/// Parses JSON as Python's `json` module writes it. See [`from_slice`].
///
/// # Errors
/// Those of [`serde_json::from_str`].
pub fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    from_slice(text.as_bytes())
}

/// Rewrites what standard JSON does not have, or returns `None` if there is nothing to rewrite.
fn standard(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let (mut at, mut in_string, mut changed) = (0, false, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let (length, replacement) = match (in_string, byte) {
            (true, b'\\') => escape(rest),
            (false, b'-' | b'0'..=b'9' | b'N' | b'I') => number(rest),
            (_, b'"') => {
                in_string = !in_string;
                (1, None)
            }
            _ => (1, None),
        };
        changed |= replacement.is_some();
        out.extend_from_slice(replacement.unwrap_or(&rest[..length]));
        at += length;
    }
    changed.then_some(out)
}

type Token = (usize, Option<&'static [u8]>);

/// Returns the length of an escape sequence and its replacement.
fn escape(rest: &[u8]) -> Token {
    match (unit(rest), rest.get(6..).and_then(unit)) {
        (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => (12, None),
        (Some(0xD800..0xE000), _) => (6, Some(br"\ufffd")),
        _ => (rest.len().min(2), None),
    }
}

/// Returns the UTF-16 unit of an escape sequence `\uXXXX`.
fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(br"\u")?.get(..4)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Returns the length of a number and its replacement.
fn number(rest: &[u8]) -> Token {
    for name in ["NaN", "Infinity", "-Infinity"] {
        if rest.starts_with(name.as_bytes()) {
            return (name.len(), Some(b"null"));
        }
    }
    let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let length = rest.iter().take_while(|byte| digits(byte)).count().max(1);
    let value = str::from_utf8(&rest[..length]).ok().and_then(|text| text.parse::<f64>().ok());
    (length, value.filter(|value| value.is_infinite()).map(|_| &b"null"[..]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let cases = [
            ("\u{feff}{\"a\": 1}", json!({"a": 1})),
            ("[NaN, -Infinity, Infinity, 1e400, -1e400, -1.5]", json!([null, null, null, null, null, -1.5])),
            (r#"["\ud83d\ude00", "\ud83d", "\ude00\ud83d", "\\ud83d", "NaN"]"#, {
                json!(["\u{1f600}", "\u{fffd}", "\u{fffd}\u{fffd}", "\\ud83d", "NaN"])
            }),
            (r#"{"NaN\"": NaN, "x\\": Infinity}"#, json!({"NaN\"": null, "x\\": null})),
        ];
        for (text, expected) in cases {
            assert_eq!(from_str::<Value>(text).unwrap(), expected, "{text}");
        }
        let long = "9".repeat(400);
        assert_eq!(from_str::<Value>(&long).unwrap(), Value::Null);
    }

    #[test]
    fn other_text_is_still_an_error() {
        for text in
            ["", "NaNa", "Nan", "-", "{\"a\": NaN", "[1,]", "\"\\ud83d", "\"\\u12\"", "\u{feff}\u{feff}1"]
        {
            assert!(from_str::<Value>(text).is_err(), "{text}");
        }
    }
}
