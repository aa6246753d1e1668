//! Escaping of HTML.

use std::fmt::{self, Display, Formatter, Write};

/// Text that displays as escaped HTML, valid in elements and in double-quoted attributes.
///
/// Characters that XML cannot represent (most control characters) become U+FFFD.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                '\n' | '\t' => out.write_char(character)?,
                '\u{fffe}' | '\u{ffff}' => out.write_char('\u{fffd}')?,
                _ if character.is_control() => out.write_char('\u{fffd}')?,
                _ => out.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_escaped() {
        let escaped = Escaped("<a b=\"c\" d='e'>&\0\u{1b}\u{ffff}\n🦊").to_string();
        let expected = "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{fffd}\u{fffd}\u{fffd}\n🦊";
        assert_eq!(escaped, expected);
    }
}
