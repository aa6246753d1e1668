//! From a key to its row, without a copy of any key.

use std::hash::{BuildHasher, RandomState};

use sail_core::FeatureSource;

use crate::KeySample;

/// An open-addressing hash table of row numbers, which looks the keys themselves up in the source.
///
/// Eight to sixteen bytes a row, where a `HashMap` of keys would take several times as much. Keys come from
/// files, so the hash is the standard library's keyed one; its randomness does not show in any result.
pub(crate) struct KeyIndex<'a> {
    source: &'a dyn FeatureSource,
    slots: Vec<u32>,
    hasher: RandomState,
}

/// No row: sources have fewer rows than this.
pub(crate) const NONE: u32 = u32::MAX;

impl<'a> KeyIndex<'a> {
    /// Indexes every row.
    ///
    /// # Errors
    /// The rows whose key an earlier row has.
    pub(crate) fn new(source: &'a dyn FeatureSource) -> Result<Self, KeySample> {
        // At most half full, so that a search soon meets an empty slot.
        let slots = vec![NONE; (2 * source.rows()).next_power_of_two()];
        let mut index = Self { source, slots, hasher: RandomState::new() };
        let mut repeated = KeySample::default();
        for row in 0..source.rows() {
            let key = source.key(row);
            let slot = index.slot(&key);
            match index.slots[slot] {
                NONE => index.slots[slot] = row as u32,
                _ => repeated.add(&key),
            }
        }
        if repeated.count == 0 { Ok(index) } else { Err(repeated) }
    }

    /// The row with this key.
    pub(crate) fn get(&self, key: &str) -> Option<u32> {
        Some(self.slots[self.slot(key)]).filter(|&row| row != NONE)
    }

    /// The slot that holds the key, or the empty one where it belongs.
    fn slot(&self, key: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(key) as usize & mask;
        loop {
            match self.slots[slot] {
                NONE => return slot,
                row if self.source.key(row as usize) == key => return slot,
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    fn source(keys: &[&str]) -> MatrixFeatures {
        let values = vec![1.0; keys.len()];
        MatrixFeatures::new(1, values).unwrap().with_keys(keys.iter().copied()).unwrap()
    }

    #[test]
    fn finds_every_key_and_nothing_else() {
        let keys: Vec<String> = (0..5000).map(|i| format!("key {i}")).collect();
        let source = source(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let index = KeyIndex::new(&source).unwrap();
        for (row, key) in keys.iter().enumerate() {
            assert_eq!(index.get(key), Some(row as u32));
        }
        assert_eq!(index.get("key 5000"), None);
        assert_eq!(index.get(""), None);
    }

    #[test]
    fn repeated_keys_are_counted_by_row_and_named_once() {
        let source = source(&["a", "b", "a", "c", "a", "b"]);
        let repeated = KeyIndex::new(&source).err().unwrap();
        assert_eq!((repeated.count, repeated.to_string()), (3, "`a`, `b`, ...".to_owned()));
    }
}
