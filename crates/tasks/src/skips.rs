//! Items that are not scored.

use serde::{Deserialize, Serialize};

use crate::error::TaskError;

/// Number of items with a reason; the others are only counted.
const NAMED: usize = 10;

/// The skipped items of a task: their number, and the first ten with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skips {
    /// Number of skipped items.
    pub count: usize,
    /// The first ten.
    pub first: Vec<Skip>,
}

/// A skipped item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Name in the data.
    pub item: String,
    /// The reason.
    pub reason: String,
}

impl Skips {
    /// Adds an item.
    pub fn add(&mut self, item: &str, reason: impl Into<String>) {
        if self.count < NAMED {
            self.first.push(Skip { item: item.to_owned(), reason: reason.into() });
        }
        self.count += 1;
    }

    /// Returns the error that all items, of which `what` says what they are, are skipped.
    pub fn nothing_left(self, what: &'static str) -> TaskError {
        let Some(Skip { item, reason }) = self.first.into_iter().next() else {
            let (item, reason) = (String::new(), "there are none".to_owned());
            return TaskError::NothingLeft { what, count: 0, item, reason };
        };
        TaskError::NothingLeft { what, count: self.count, item, reason }
    }
}
