//! Which images a search is restricted to.

use std::fmt;
use std::str::FromStr;

use super::error::IndexError;

/// Length of a filter in bytes.
const MAX_BYTES: usize = 1024;
/// Terms of a filter.
const MAX_TERMS: usize = 64;

/// Which images a search is restricted to: conditions that all hold.
///
/// | condition | images |
/// |---|---|
/// | `key=PATTERN` | whose key matches, such as `key=2024/*.jpg` |
/// | `class=PATTERN` | that are in a folder of this name ([`class_of`](crate::class_of) of the key) |
/// | `COLUMN=PATTERN` | whose value in this column matches; those without a value do not |
/// | `...!=PATTERN` | all others, those without a value too |
/// | `COLUMN<NUMBER`, `<=`, `>`, `>=` | whose value in this column is such a number; those without a number do not |
///
/// In a pattern, `*` stands for any text and `?` for one character; all other characters stand for themselves, in the same case.
///
/// # Examples
/// ```
/// use sail_search::Filter;
/// let filter = Filter::parse("class=cat")?.and(Filter::parse("key!=*.gif")?)?.and(Filter::parse("price < 9.5")?)?;
/// assert_eq!(filter.to_string(), "class=cat, key!=*.gif, price<9.5");
/// assert!(Filter::parse("cat").is_err() && Filter::parse("price<cheap").is_err());
/// # Ok::<(), sail_search::IndexError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Term {
    pub(crate) field: String,
    pub(crate) condition: Condition,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Matches { is_negated: bool, pattern: String },
    Compares { operator: &'static str, number: f64 },
}

impl Term {
    /// Returns whether the condition holds for a value.
    pub(crate) fn holds(&self, value: Option<&str>) -> bool {
        match &self.condition {
            Condition::Matches { is_negated, pattern } => {
                value.is_some_and(|value| matches(pattern, value)) != *is_negated
            }
            Condition::Compares { operator, number } => {
                let value = value.and_then(|value| value.trim().parse::<f64>().ok());
                value.is_some_and(|value| match *operator {
                    "<" => value < *number,
                    "<=" => value <= *number,
                    ">" => value > *number,
                    _ => value >= *number,
                })
            }
        }
    }
}

impl Filter {
    /// Parses one condition.
    ///
    /// # Errors
    /// [`IndexError::Filter`] if it has no operator, compares with what is no number, or is longer than 1,024 bytes. Names of
    /// columns are checked when the filter is used.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        let error = |problem: &str| IndexError::Filter {
            // Not the whole of a long one.
            filter: text.chars().take(64).collect(),
            problem: problem.to_owned(),
        };
        if text.len() > MAX_BYTES {
            return Err(error(&format!("has {} bytes, expected at most {MAX_BYTES}", text.len())));
        }
        // Longer operators first.
        let operators = ["!=", "<=", ">=", "=", "<", ">"];
        let at = text.find(['=', '<', '>']).map(|at| at - usize::from(text[..at].ends_with('!')));
        let split = at.and_then(|at| {
            let (field, rest) = text.split_at(at);
            let operator = operators.into_iter().find(|operator| rest.starts_with(operator))?;
            Some((field.trim(), operator, &rest[operator.len()..]))
        });
        let Some((field, operator, operand)) = split.filter(|(field, ..)| !field.is_empty()) else {
            return Err(error(
                "is not a condition: expected `key=PATTERN`, `class=PATTERN` or `COLUMN=PATTERN`, or with `!=`, or \
                 `COLUMN<NUMBER`, or with `<=`, `>` or `>=`",
            ));
        };
        let condition = match operator {
            "=" | "!=" => Condition::Matches { is_negated: operator == "!=", pattern: operand.to_owned() },
            _ if matches!(field, "key" | "class") => {
                return Err(error(&format!("compares numbers, expected `=` or `!=`: a {field} is text")));
            }
            _ => {
                let number = operand.trim().parse().ok().filter(|number: &f64| number.is_finite());
                let number = number.ok_or_else(|| {
                    error(&format!("compares with `{}`, expected a number", operand.trim()))
                })?;
                Condition::Compares { operator, number }
            }
        };
        Ok(Self { terms: vec![Term { field: field.to_owned(), condition }] })
    }

    /// Adds the conditions of another filter.
    ///
    /// # Errors
    /// [`IndexError::Filter`] if there are more than 64.
    pub fn and(mut self, other: Self) -> Result<Self, IndexError> {
        self.terms.extend(other.terms);
        if self.terms.len() > MAX_TERMS {
            return Err(IndexError::Filter {
                filter: self.terms[0].to_string(),
                problem: format!("is one of {} conditions, expected at most {MAX_TERMS}", self.terms.len()),
            });
        }
        Ok(self)
    }

    /// Returns whether there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }
}

impl fmt::Display for Term {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Condition::Matches { is_negated: true, pattern } => write!(out, "{}!={pattern}", self.field),
            Condition::Matches { is_negated: false, pattern } => write!(out, "{}={pattern}", self.field),
            Condition::Compares { operator, number } => write!(out, "{}{operator}{number}", self.field),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(Term::to_string).collect();
        out.write_str(&terms.join(", "))
    }
}

impl FromStr for Filter {
    type Err = IndexError;

    fn from_str(text: &str) -> Result<Self, IndexError> {
        Self::parse(text)
    }
}

/// Returns whether a text matches a pattern with `*` and `?`, in time proportional to the product of their lengths at worst.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to continue if the text after the last `*` does not match.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before = (pattern.clone(), text.clone());
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                text = before.1;
                retry = Some((pattern.clone(), text.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(expected), Some(found)) if expected == found => {}
            _ => {
                // The `*` takes one more character.
                let Some((after, rest)) = &mut retry else { return false };
                if rest.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), rest.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*.png", "a/b.png", true),
            ("*.png", "a.png.jpg", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*aab", "aaaaab", true),
            ("??", "é!", true),
            ("?", "", false),
            ("a**", "a", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let slow = "*a".repeat(400);
        assert!(!matches(&slow, &"a".repeat(399)));
    }

    #[test]
    fn conditions_are_parsed() {
        let term = &Filter::parse("year != 20=4").unwrap().terms[0];
        let condition = Condition::Matches { is_negated: true, pattern: " 20=4".to_owned() };
        assert_eq!((term.field.as_str(), &term.condition), ("year", &condition));
        assert!(term.holds(None) && term.holds(Some("x")) && !term.holds(Some(" 20=4")));
        assert!(!Filter::parse("year=*").unwrap().terms[0].holds(None));
        for wrong in ["", "cat", "=cat", "!=cat", &format!("a={}", "b".repeat(1024))] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["price<", "price<=a", "price>NaN", "key<3", "class>=1", "<3"] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Filter::parse("a=b<c").unwrap().to_string(), "a=b<c");
        let one = Filter::parse("a=b").unwrap();
        let many = (0..63).try_fold(one.clone(), |all, _| all.and(one.clone())).unwrap();
        assert!(many.and(one).is_err());
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        for (filter, expected) in [
            ("x<10", [true, false, true, false]),
            ("x <= 10", [true, true, true, false]),
            ("x>-2.5e0", [true, true, false, true]),
            ("x>=10", [false, true, false, true]),
        ] {
            let term = &Filter::parse(filter).unwrap().terms[0];
            assert_eq!(["9.5", "10", "-3", "100"].map(|value| term.holds(Some(value))), expected, "{filter}");
            assert!(!term.holds(None) && !term.holds(Some("ten")) && !term.holds(Some("NaN")), "{filter}");
        }
    }
}
