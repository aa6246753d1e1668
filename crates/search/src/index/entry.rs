//! What an index knows about an image.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sail_core::ConfigError;
use sail_support::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The id of an image: the first 128 bits of the SHA-256 of its key, written as 32 hexadecimal digits.
///
/// It stays the same when the index is updated, whatever becomes of the number of the row.
///
/// # Examples
/// ```
/// use sail_search::EntryId;
/// let id = EntryId::of("cats/1.jpg");
/// assert_eq!(id.to_string(), "dedaa2dc216fd4042cdd579c35c15c0f");
/// assert_eq!(id.to_string().parse::<EntryId>()?, id);
/// assert!("15bb".parse::<EntryId>().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) [u8; EntryId::BYTES]);

impl EntryId {
    pub(crate) const BYTES: usize = 16;

    /// Returns the id of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let mut id = [0; Self::BYTES];
        id.copy_from_slice(&Sha256::digest(key.as_bytes())[..Self::BYTES]);
        Self(id)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex(&self.0))
    }
}

impl FromStr for EntryId {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut id = [0; Self::BYTES];
        let digits = text.as_bytes().as_chunks::<2>();
        let is_hex = text.len() == 2 * Self::BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        sail_core::ensure(is_hex, "id", format!("`{text}`"), "32 hexadecimal digits")?;
        for (byte, [high, low]) in id.iter_mut().zip(digits.0) {
            let value = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
            *byte = value(*high) << 4 | value(*low);
        }
        Ok(Self(id))
    }
}

impl Serialize for EntryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What an index knows about an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// The id of the key.
    pub id: EntryId,
    /// The key of the image in its source: the path in a folder, the name of the sample in an archive.
    pub key: String,
    /// The file of the image, if it is one. It may have been moved or deleted since the last update.
    pub file: Option<PathBuf>,
    /// The address of the image, if it was fetched.
    pub url: Option<String>,
    /// Captions, in the order of their source.
    pub captions: Vec<String>,
    /// The values of the columns that were indexed.
    pub columns: BTreeMap<String, String>,
}

/// Returns the class of a key: the name of the folder that the image is in, or an empty text.
///
/// # Examples
/// ```
/// assert_eq!(sail_search::class_of("pets/cat/1.jpg"), "cat");
/// assert_eq!(sail_search::class_of("1.jpg"), "");
/// ```
#[must_use]
pub fn class_of(key: &str) -> &str {
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.rsplit_once('/').map_or(folder, |(_, class)| class)
}
