//! A hash table of keys that does not store them.

use std::hash::{BuildHasher, RandomState};

/// An open-addressing hash table from keys to values, of fixed capacity. It stores 95-bit hashes instead of the keys.
///
/// A key takes 4/3 of 12 bytes and its value, however long it is. Two different keys among a billion share a hash with
/// a probability of about 1e-11. Hashes are keyed at random, because keys come from untrusted files; no result depends
/// on the random key.
///
/// # Examples
/// ```
/// let mut rows = sail_support::KeyTable::with_capacity(2);
/// let hasher = rows.hasher();
/// assert_eq!(rows.insert(hasher.hash("a"), 7), None);
/// assert_eq!(rows.insert(hasher.hash("a"), 8), Some(7));
/// assert_eq!((rows.get("a"), rows.get("b")), (Some(7), None));
/// ```
pub struct KeyTable<T> {
    slots: Vec<([u32; 3], T)>,
    hasher: KeyHasher,
}

/// Hashes keys for a [`KeyTable`]; a clone may hash on another thread.
#[derive(Clone)]
pub struct KeyHasher([RandomState; 2]);

/// The hash of a key.
#[derive(Clone, Copy)]
pub struct KeyHash {
    /// Chooses the slot, by bits that are not in `stored`.
    slot: u64,
    stored: [u32; 3],
}

/// The hash of an empty slot. Others have their last bit set.
const EMPTY: [u32; 3] = [0; 3];

impl KeyHasher {
    /// Hashes a key.
    pub fn hash(&self, key: &str) -> KeyHash {
        let [slot, other] = self.0.each_ref().map(|state| state.hash_one(key));
        KeyHash { slot, stored: [slot as u32, other as u32, (other >> 32) as u32 | 1] }
    }
}

impl<T: Copy + Default> KeyTable<T> {
    /// Creates an empty table for up to `keys` keys.
    pub fn with_capacity(keys: usize) -> Self {
        // At most three quarters full.
        let slots = (keys / 3).saturating_mul(4).saturating_add(8);
        let hasher = KeyHasher([RandomState::new(), RandomState::new()]);
        Self { slots: vec![(EMPTY, T::default()); slots], hasher }
    }

    /// Returns the hasher of this table.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher.clone()
    }

    /// Inserts a key unless it is present, and returns the value that it has already.
    pub fn insert(&mut self, key: KeyHash, value: T) -> Option<T> {
        let slot = self.slot(key);
        let (hash, found) = &mut self.slots[slot];
        if *hash == key.stored {
            return Some(*found);
        }
        (*hash, *found) = (key.stored, value);
        None
    }

    /// Hashes and [inserts](Self::insert) a key.
    pub fn insert_key(&mut self, key: &str, value: T) -> Option<T> {
        self.insert(self.hasher.hash(key), value)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<T> {
        let (hash, value) = self.slots[self.slot(self.hasher.hash(key))];
        (hash != EMPTY).then_some(value)
    }

    /// The slot of a key, or the empty one where it belongs.
    fn slot(&self, key: KeyHash) -> usize {
        let mut slot = ((u128::from(key.slot) * self.slots.len() as u128) >> 64) as usize;
        while ![EMPTY, key.stored].contains(&self.slots[slot].0) {
            slot = (slot + 1) % self.slots.len();
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_inserted_keys_only() {
        for keys in [0, 1, 2, 3, 5, 20_000] {
            let mut table = KeyTable::with_capacity(keys);
            let hasher = table.hasher();
            for pass in 0..2 {
                for key in 0..keys {
                    let earlier = table.insert(hasher.hash(&format!("key {key}")), key as u32 + pass);
                    assert_eq!(earlier, (pass == 1).then_some(key as u32));
                }
            }
            assert!((0..keys).all(|key| table.get(&format!("key {key}")) == Some(key as u32)));
            assert_eq!((table.get("another"), table.get("")), (None, None));
            assert!(table.slots.len() * size_of_val(&table.slots[0]) <= 22 * keys + 128);
        }
        assert_eq!(size_of::<([u32; 3], ())>(), 12);
    }
}
