//! From a key to its row, without a copy of any key.

use std::hash::{BuildHasher, RandomState};

use sail_core::{FeatureError, FeatureSource};

use crate::KeySample;
use crate::keys::for_each_key;

/// An open-addressing table of 96-bit hashes and row numbers, at most three quarters full.
///
/// 21 bytes a row, however long the keys are and wherever they lie: a key that is looked up is not compared with one
/// on the disk. Two different keys among a billion share a hash with a probability of about 1e-11. Keys come from
/// files, so the hash is the standard library's keyed one; its randomness does not show in any result.
pub(crate) struct KeyIndex {
    slots: Vec<Slot>,
    hashers: [RandomState; 2],
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    hash: [u32; 3],
    row: u32,
}

/// No row: sources have fewer rows than this.
pub(crate) const NONE: u32 = u32::MAX;

const EMPTY: Slot = Slot { hash: [0; 3], row: NONE };

/// What of a key is looked up: a place to begin at, and what is compared.
#[derive(Clone, Copy)]
struct Hashed {
    place: u64,
    hash: [u32; 3],
}

impl KeyIndex {
    /// Indexes every row. The keys that an earlier row has are in the sample.
    ///
    /// # Errors
    /// I/O errors of the source.
    pub(crate) fn new(source: &dyn FeatureSource) -> Result<(Self, KeySample), FeatureError> {
        let slots = source.rows() / 3 * 4 + 8;
        let hashers = [RandomState::new(), RandomState::new()];
        let mut index = Self { slots: vec![EMPTY; slots], hashers: hashers.clone() };
        let mut repeated = KeySample::default();
        let add = |row: usize, key: Hashed| {
            let slot = index.slot(key);
            match index.slots[slot].row {
                NONE => index.slots[slot] = Slot { hash: key.hash, row: row as u32 },
                _ => repeated.add_row(source, row),
            }
        };
        for_each_key(source, source.rows(), |row| row, |key| hashed(&hashers, key), add)?;
        Ok((index, repeated))
    }

    /// The row with this key, or [`NONE`].
    pub(crate) fn get(&self, key: &str) -> u32 {
        self.slots[self.slot(hashed(&self.hashers, key))].row
    }

    /// The slot that holds the key, or the empty one where it belongs.
    fn slot(&self, key: Hashed) -> usize {
        // Of bits of the place that are not in the hash.
        let mut slot = ((u128::from(key.place) * self.slots.len() as u128) >> 64) as usize;
        loop {
            match self.slots[slot] {
                found if found.row == NONE || found.hash == key.hash => return slot,
                _ => slot = (slot + 1) % self.slots.len(),
            }
        }
    }
}

fn hashed(hashers: &[RandomState; 2], key: &str) -> Hashed {
    let [place, other] = hashers.each_ref().map(|hasher| hasher.hash_one(key));
    Hashed { place, hash: [place as u32, other as u32, (other >> 32) as u32] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    fn index(keys: &[&str]) -> (KeyIndex, KeySample) {
        let values = vec![1.0; keys.len()];
        let source = MatrixFeatures::new(1, values).unwrap().with_keys(keys.iter().copied()).unwrap();
        KeyIndex::new(&source).unwrap()
    }

    #[test]
    fn finds_every_key_and_nothing_else() {
        for rows in [1, 2, 3, 5000, 100_000] {
            let keys: Vec<String> = (0..rows).map(|i| format!("key {i}")).collect();
            let (index, repeated) = index(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(repeated.count, 0);
            for (row, key) in keys.iter().enumerate() {
                assert_eq!(index.get(key), row as u32);
            }
            assert_eq!((index.get("another"), index.get("")), (NONE, NONE));
            assert!(index.slots.len() * size_of::<Slot>() <= 22 * rows + 128);
        }
    }

    #[test]
    fn repeated_keys_are_counted_by_row_and_named_once() {
        let (_, repeated) = index(&["a", "b", "a", "c", "a", "b"]);
        assert_eq!((repeated.count, repeated.to_string()), (3, "`a`, `b`, ...".to_owned()));
    }
}
