//! What is left out of a score, in the open.

use serde::{Deserialize, Serialize};

use crate::TaskError;

/// How many are named; the others are only counted.
const NAMED: usize = 10;

/// The items of a task that could not be scored: how many, and the first ten with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skips {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: Vec<Skip>,
}

/// An item that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Its name in the data.
    pub item: String,
    /// Why.
    pub reason: String,
}

impl Skips {
    pub(crate) fn add(&mut self, item: &str, reason: impl Into<String>) {
        if self.count < NAMED {
            self.first.push(Skip { item: item.to_owned(), reason: reason.into() });
        }
        self.count += 1;
    }

    /// The error where nothing else is left.
    pub(crate) fn nothing_left(self, what: &'static str) -> TaskError {
        let Some(Skip { item, reason }) = self.first.into_iter().next() else {
            let (item, reason) = (String::new(), "there is none".to_owned());
            return TaskError::NothingLeft { what, count: 0, item, reason };
        };
        TaskError::NothingLeft { what, count: self.count, item, reason }
    }
}
