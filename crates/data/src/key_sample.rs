//! Examples of many keys, for errors.

use std::fmt;

use sail_core::{FeatureError, FeatureSource};
use serde::Serialize;

/// The first few of many keys, for an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeySample {
    /// The first few distinct keys, in the order of their rows.
    pub first: Vec<String>,
    /// Number of rows in total.
    pub count: usize,
}

impl KeySample {
    const SHOWN: usize = 5;

    /// Counts a row. Its key is read only if few have been.
    pub(crate) fn add_row(&mut self, source: &dyn FeatureSource, row: usize) -> Result<(), FeatureError> {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            for key in source.keys(&[row])? {
                if !self.first.contains(&key) {
                    self.first.push(key);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for KeySample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none");
        }
        for (index, key) in self.first.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{key}`")?;
        }
        if self.count > self.first.len() {
            f.write_str(", ...")?;
        }
        Ok(())
    }
}
