//! The differences between a checkpoint and a configuration.

use std::collections::BTreeMap;
use std::fmt;

/// Names of each kind that a message lists.
const SHOWN: usize = 4;
/// Similar names that it gives for each of them.
const SIMILAR: usize = 2;

/// Why the tensors of a checkpoint do not match its configuration. The message counts them and names the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorProblems {
    /// Names of missing tensors as the checkpoint would spell them, with similar names that it has.
    pub missing: Vec<String>,
    /// Names of tensors for which the model has no place.
    pub unexpected: Vec<String>,
    /// Tensors of another shape or type, and those that cannot be read, with the reason.
    pub invalid: Vec<String>,
    /// The first parts of the names and how often they occur, and the prefixes that are known, if no name matches.
    pub(super) prefixes: Option<(BTreeMap<String, usize>, &'static [&'static str])>,
}

impl TensorProblems {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.invalid.is_empty()
    }

    pub(super) fn sort(&mut self) {
        for names in [&mut self.missing, &mut self.unexpected, &mut self.invalid] {
            names.sort();
            // Parts of one tensor have the same problem.
            names.dedup();
        }
    }

    /// Adds to the missing tensors that are shown the most similar of the names that are left.
    pub(super) fn add_similar<'a>(&mut self, left: impl Iterator<Item = &'a str> + Clone) {
        for missing in self.missing.iter_mut().take(SHOWN) {
            let name = missing.trim_matches('`');
            let limit = name.len() / 4;
            let near = left.clone().filter(|other| other.len().abs_diff(name.len()) <= limit);
            let near = near.map(|other| (strsim::levenshtein(name, other), other));
            let mut near: Vec<_> = near.filter(|(distance, _)| *distance <= limit).collect();
            near.sort_unstable();
            near.dedup();
            let near: Vec<String> = near.iter().take(SIMILAR).map(|(_, name)| format!("`{name}`")).collect();
            if !near.is_empty() {
                *missing = format!("{missing} (similar to {})", near.join(" and "));
            }
        }
    }
}

impl fmt::Display for TensorProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("missing", &self.missing), ("unexpected", &self.unexpected), ("invalid", &self.invalid)];
        let mut separator = "";
        for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            let more = if names.len() > SHOWN { ", ..." } else { "" };
            let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            write!(f, "{separator}{} {kind}: {shown}{more}", names.len())?;
            separator = "; ";
        }
        let Some((found, known)) = &self.prefixes else { return Ok(()) };
        let mut counts: Vec<(&String, &usize)> = found.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let counts = counts.iter().take(SHOWN).map(|(prefix, count)| format!("`{prefix}` ({count})"));
        let known: String = known.iter().map(|prefix| format!(" or `{prefix}`")).collect();
        write!(
            f,
            "; no name is known: they start with {}, expected no prefix{known}",
            counts.collect::<Vec<_>>().join(", ")
        )
    }
}
