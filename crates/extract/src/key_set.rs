//! The keys seen so far, in 16 bytes each.

use std::hash::{BuildHasher, RandomState};

/// An open-addressing table of 96-bit hashes, at most three quarters full.
///
/// Two different keys among a billion share a hash with a probability of about 1e-11. The hash is the standard
/// library's keyed one, because keys come from files; its randomness does not show in any result.
pub(crate) struct KeySet {
    slots: Vec<[u32; 3]>,
    hashers: [RandomState; 2],
}

const EMPTY: [u32; 3] = [0; 3];

impl KeySet {
    /// A set with room for so many keys.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        let slots = (keys / 3).saturating_mul(4).saturating_add(8);
        Self { slots: vec![EMPTY; slots], hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Adds a key. False where it is there already.
    pub(crate) fn insert(&mut self, key: &str) -> bool {
        let [place, other] = [0, 1].map(|index| self.hashers[index].hash_one(key));
        // The last bit is set, so that no hash is the empty slot. The slot is made of other bits of `place`.
        let hash = [place as u32, other as u32, (other >> 32) as u32 | 1];
        let slots = self.slots.len();
        let mut slot = ((u128::from(place) * slots as u128) >> 64) as usize;
        loop {
            match self.slots[slot] {
                EMPTY => {
                    self.slots[slot] = hash;
                    return true;
                }
                found if found == hash => return false,
                _ => slot = (slot + 1) % slots,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_new_once() {
        for keys in [0, 1, 2, 3, 5, 20_000] {
            let mut set = KeySet::with_capacity(keys);
            for pass in 0..2 {
                for key in 0..keys {
                    assert_eq!(set.insert(&format!("key {key}")), pass == 0);
                }
            }
            assert!(set.insert("another"));
            assert!(12 * set.slots.len() <= 16 * keys + 96);
        }
    }
}
