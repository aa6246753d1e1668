//! Lists of names and values.

use std::fmt::{self, Formatter};

use crate::escape::Escaped;

/// A list of names and values: a configuration, an environment, the sizes of a data set.
///
/// # Examples
/// ```
/// let facts = sail_report::Facts::new().fact("seed", "0").fact("learning rate", 1e-5.to_string());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Facts {
    facts: Vec<(String, String)>,
}

impl Facts {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name and its value.
    pub fn fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push((name.into(), value.into()));
        self
    }

    pub(crate) fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        // A definition list without entries is not valid HTML.
        if self.facts.is_empty() {
            return out.write_str("<p class=\"note\">Nothing recorded.</p>\n");
        }
        out.write_str("<dl class=\"facts\">\n")?;
        for (name, value) in &self.facts {
            let (name, value) = (Escaped(name), Escaped(value));
            writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
        }
        out.write_str("</dl>\n")
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(facts: I) -> Self {
        let facts = facts.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { facts: facts.collect() }
    }
}
