//! Hexadecimal encoding.

use std::fmt::Write as _;

/// Encodes bytes in lower-case hexadecimal.
///
/// # Examples
/// ```
/// assert_eq!(sail_support::hex(&[0, 171]), "00ab");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
