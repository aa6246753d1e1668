//! Rows of tables and their cells.

use super::options::SourceOptions;
use super::text::{caption, text, too_long};
use crate::DataError;

pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, DataError>> + Send>;

/// The cells of a row in the order of the requested columns, or the reason why it is skipped.
pub(super) struct Row {
    /// The row number, from 1.
    pub(super) number: u64,
    pub(super) cells: Result<Vec<Cell>, String>,
}

/// A value of a table.
#[derive(Debug)]
pub(super) enum Cell {
    /// Null or missing.
    Missing,
    /// Text or bytes.
    Bytes(Vec<u8>),
    /// The path of an image whose bytes are elsewhere.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet has them"))]
    Path(Vec<u8>),
    /// Bytes that were not read because of their length.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet has them"))]
    TooLong(u64),
    /// An integer in decimal.
    Integer(String),
    /// A number with a fraction or an exponent, in decimal, or one that is not finite.
    Float(String),
    Boolean(bool),
    List(Vec<Cell>),
    /// The name of another type.
    Other(&'static str),
}

impl Cell {
    /// Returns the bytes, or the reason why there are none.
    pub(super) fn bytes(self, what: &str, max: u64) -> Result<Vec<u8>, String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Missing => Err(format!("the {what} is missing")),
            Self::Path(_) => Err(format!("the {what} is the path of an image, expected text")),
            Self::TooLong(bytes) => Err(too_long(what, bytes, max)),
            Self::Integer(value) => Err(format!("the {what} is the integer {value}, expected text")),
            Self::Float(_) => Err(format!("the {what} is a float, expected text")),
            Self::Boolean(_) => Err(format!("the {what} is a boolean, expected text")),
            Self::List(_) => Err(format!("the {what} is a list, expected a single value")),
            Self::Other(kind) => Err(format!("the {what} is {kind}, expected text")),
        }
    }

    pub(super) fn key(self, max: usize) -> Result<String, String> {
        let key = match self {
            Self::Integer(value) => value,
            cell => text(cell.bytes("key", max as u64)?, "key")?,
        };
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        Ok(key)
    }

    pub(super) fn captions(self, texts: Texts, into: &mut Vec<Result<String, String>>) {
        match self {
            Self::List(cells) if cells.is_empty() => {
                into.push(Err("the list of captions is empty".to_owned()))
            }
            Self::List(cells) => into.extend(cells.into_iter().map(|cell| cell.caption(texts))),
            cell => into.push(cell.caption(texts)),
        }
    }

    fn caption(self, Texts { max, scalars }: Texts) -> Result<String, String> {
        match self {
            Self::Integer(value) | Self::Float(value) if scalars => Ok(value),
            Self::Boolean(value) if scalars => Ok(value.to_string()),
            cell => caption(cell.bytes("caption", max as u64)?, max),
        }
    }
}

/// What a caption may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    /// Length in bytes.
    pub(super) max: usize,
    pub(super) scalars: bool,
}

impl Texts {
    pub(super) fn new(options: &SourceOptions) -> Self {
        Self { max: options.max_text_bytes, scalars: options.scalars }
    }
}
