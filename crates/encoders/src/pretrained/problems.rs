//! The differences between a checkpoint and a configuration.

use std::collections::BTreeMap;
use std::fmt;

/// Names of each kind that a message lists.
const SHOWN: usize = 4;

/// Why the tensors of a checkpoint do not match its configuration. The message counts them and names the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorProblems {
    /// Names of missing tensors, as in the module that is loaded.
    pub missing: Vec<String>,
    /// Names of tensors for which the module has no place.
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
