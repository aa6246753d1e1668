//! Keys that have been seen.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

/// A map from keys to values that does not store the keys: 128 bits of hashes instead, keyed at random, so that chosen keys
/// do not collide.
#[derive(Default)]
pub(super) struct Seen<T> {
    hashers: [RandomState; 2],
    values: HashMap<[u64; 2], T>,
}

impl<T: Copy> Seen<T> {
    /// Returns the hash of a text.
    pub(super) fn hash(&self, text: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|state| state.hash_one(text))
    }

    /// Inserts a key unless it is present, and returns the value that it has already.
    pub(super) fn insert(&mut self, key: &str, value: T) -> Option<T> {
        match self.values.entry(self.hash(key.as_bytes())) {
            Entry::Occupied(found) => Some(*found.get()),
            Entry::Vacant(free) => {
                free.insert(value);
                None
            }
        }
    }
}
