//! How many rows of either side pair, and what becomes of the others.

use std::fmt;

use sail_core::Named;
use serde::{Deserialize, Serialize};

/// What becomes of rows whose key the other side does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unmatched {
    /// They are dropped, up to half of the rows of either side. More is an error, because the keys are then most likely
    /// spelled differently.
    #[default]
    Half,
    /// They are dropped, however many they are, unless nothing is left.
    Drop,
    /// They are an error.
    Error,
}

impl Unmatched {
    /// Returns whether this many of some rows may be kept and the others dropped.
    pub fn allows(self, matched: Matched) -> bool {
        let Matched { matched, rows } = matched;
        match self {
            _ if matched == 0 => false,
            Self::Half => matched >= rows - matched,
            Self::Drop => true,
            Self::Error => matched == rows,
        }
    }
}

impl Named for Unmatched {
    const ALL: &'static [Self] = &[Self::Half, Self::Drop, Self::Error];

    fn name(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Drop => "drop",
            Self::Error => "error",
        }
    }
}

sail_core::display_and_parse_by_name!(Unmatched, "unmatched");

/// How many rows of a source have a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matched {
    /// Rows with a partner in every other source.
    pub matched: usize,
    /// All rows of the source.
    pub rows: usize,
}

impl Matched {
    /// Returns whether every row has a partner.
    pub fn is_complete(self) -> bool {
        self.matched == self.rows
    }
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.matched, self.rows)
    }
}

/// How many images and captions pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairing {
    /// The images.
    pub images: Matched,
    /// The captions of each set.
    pub captions: Vec<Matched>,
}

impl Pairing {
    /// Returns whether no row of any side is dropped.
    pub fn is_complete(&self) -> bool {
        self.sides().all(Matched::is_complete)
    }

    /// The counts of all sources.
    pub(crate) fn sides(&self) -> impl Iterator<Item = Matched> {
        self.captions.iter().copied().chain([self.images])
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} images", self.images)?;
        for (set, captions) in self.captions.iter().enumerate() {
            let last = set + 1 == self.captions.len();
            write!(f, "{} {captions} captions", if last { " and" } else { "," })?;
            if self.captions.len() > 1 {
                write!(f, " of set {set}")?;
            }
        }
        f.write_str(" pair")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_side_may_be_dropped() {
        let allowed = |matched, rows| {
            Unmatched::ALL
                .iter()
                .filter(|unmatched| unmatched.allows(Matched { matched, rows }))
                .map(|unmatched| unmatched.name())
                .collect::<Vec<_>>()
        };
        assert_eq!(allowed(4, 4), ["half", "drop", "error"]);
        assert_eq!(allowed(2, 4), ["half", "drop"]);
        assert_eq!(allowed(2, 5), ["drop"]);
        assert_eq!(allowed(0, 5), [""; 0]);
    }

    #[test]
    fn counts_of_every_set_are_shown() {
        let of = |matched, rows| Matched { matched, rows };
        let pairing = Pairing { images: of(19, 20), captions: vec![of(95, 100)] };
        assert_eq!(pairing.to_string(), "19 of 20 images and 95 of 100 captions pair");
        let pairing = Pairing { images: of(1, 2), captions: vec![of(3, 4), of(5, 6)] };
        assert_eq!(
            pairing.to_string(),
            "1 of 2 images, 3 of 4 captions of set 0 and 5 of 6 captions of set 1 pair"
        );
    }
}
