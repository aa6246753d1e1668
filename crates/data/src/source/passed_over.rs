//! Files that a source passes over.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The files of a folder, or the members of archives, that a source passes over because of their suffix.
///
/// Hidden files (with a leading dot, or in `__MACOSX` and `@eaDir`) are not counted. Memory is bounded: beyond 100 suffixes,
/// further ones are counted together as `...`.
///
/// # Examples
/// ```
/// use sail_data::source::PassedOver;
/// let mut passed_over = PassedOver::default();
/// ["a.heic", "b/c.HEIC", "README"].into_iter().for_each(|name| passed_over.add(name));
/// assert_eq!(passed_over.to_string(), "3 files: 2 .heic, 1 without suffix");
/// assert_eq!(passed_over.suffixes["heic"].examples, ["a.heic", "b/c.HEIC"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Number of files.
    pub files: u64,
    /// The files by their suffix in lower case; an empty one for files without.
    pub suffixes: BTreeMap<String, SuffixCount>,
}

/// Number and examples of the files with a suffix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuffixCount {
    /// Number of files.
    pub files: u64,
    /// The names of the first 100 files.
    pub examples: Vec<String>,
}

const MAX_SUFFIXES: usize = 100;
const MAX_SUFFIX_CHARS: usize = 20;
const MAX_EXAMPLES: usize = 100;
const MAX_NAME_CHARS: usize = 500;
const MAX_SHOWN: usize = 8;
/// The suffixes beyond the maximum.
const OTHERS: &str = "...";

impl PassedOver {
    /// Counts a file.
    pub fn add(&mut self, name: &str) {
        let file = name.rsplit('/').next().unwrap_or(name);
        let suffix = file.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        self.add_as(suffix, name);
    }

    /// Counts a file under a suffix.
    pub(super) fn add_as(&mut self, suffix: &str, name: &str) {
        let suffix: String = suffix.chars().take(MAX_SUFFIX_CHARS).collect::<String>().to_lowercase();
        self.count(suffix, 1, [name.chars().take(MAX_NAME_CHARS).collect()]);
    }

    /// Adds the counts of another source.
    pub fn merge(&mut self, other: &Self) {
        for (suffix, SuffixCount { files, examples }) in &other.suffixes {
            self.count(suffix.clone(), *files, examples.iter().cloned());
        }
    }

    fn count(&mut self, suffix: String, files: u64, examples: impl IntoIterator<Item = String>) {
        let known = self.suffixes.len() < MAX_SUFFIXES || self.suffixes.contains_key(&suffix);
        let entry = self.suffixes.entry(if known { suffix } else { OTHERS.to_owned() }).or_default();
        self.files += files;
        entry.files += files;
        let room = MAX_EXAMPLES.saturating_sub(entry.examples.len());
        entry.examples.extend(examples.into_iter().take(room));
    }

    /// The counts for a message, or nothing.
    pub fn in_parentheses(&self) -> String {
        if self.is_empty() { String::new() } else { format!(" (passed over {self})") }
    }

    /// Returns whether nothing was passed over.
    pub fn is_empty(&self) -> bool {
        self.files == 0
    }
}

/// The suffixes with their counts, the most frequent ones first.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: Vec<(&str, u64)> =
            self.suffixes.iter().map(|(suffix, count)| (suffix.as_str(), count.files)).collect();
        counts.sort_by_key(|&(_, files)| std::cmp::Reverse(files));
        write!(f, "{} {}", self.files, if self.files == 1 { "file" } else { "files" })?;
        for (index, &(suffix, files)) in counts.iter().take(MAX_SHOWN).enumerate() {
            f.write_str(if index == 0 { ": " } else { ", " })?;
            match suffix {
                "" => write!(f, "{files} without suffix")?,
                OTHERS => write!(f, "{files} with other suffixes")?,
                suffix => write!(f, "{files} .{suffix}")?,
            }
        }
        match counts.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more suffixes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut all = PassedOver::default();
        for number in 0..1000 {
            all.add(&format!("a.{number}{}", "x".repeat(1000)));
        }
        assert_eq!((all.files, all.suffixes.len()), (1000, MAX_SUFFIXES + 1));
        assert_eq!(all.suffixes[OTHERS].files, 900);
        assert!(all.suffixes.keys().all(|suffix| suffix.len() <= MAX_SUFFIX_CHARS));
        let mut twice = all.clone();
        twice.merge(&all);
        assert_eq!((twice.files, twice.suffixes[OTHERS].files), (2000, 1800));
        assert_eq!(twice.suffixes[OTHERS].examples.len(), MAX_EXAMPLES);
        assert!(twice.to_string().starts_with("2000 files: 1800 with other suffixes, 2 .0xxx"), "{twice}");
        assert!(twice.to_string().ends_with(" and 93 more suffixes"), "{twice}");
    }
}
