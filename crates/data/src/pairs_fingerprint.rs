//! The identity of pairs.

use sail_core::FeatureError;

use crate::keys::for_each_key;
use crate::{Fingerprint, Pairs};

impl Pairs {
    /// Returns a fingerprint of the keys of all pairs in their order, and of the number of captions that each has in every
    /// set. Reads every key once.
    ///
    /// # Errors
    /// Those of reading the keys.
    pub fn fingerprint(&self) -> Result<String, FeatureError> {
        let mut fingerprint = Fingerprint::default();
        let images = self.images().clone();
        for_each_key(
            &*images,
            self.len(),
            |pair| self.image_row(pair),
            str::to_owned,
            |pair, key| {
                fingerprint.add(key.as_bytes());
                for set in 0..self.caption_sets() {
                    fingerprint.add(&(self.caption_rows(set, pair).len() as u64).to_le_bytes());
                }
                Ok(())
            },
        )?;
        Ok(fingerprint.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MatrixFeatures;

    #[test]
    fn depends_on_keys_order_and_captions() {
        let features = |keys: &[&str]| {
            let values = (0..keys.len()).map(|row| row as f32 + 1.0).collect();
            Arc::new(MatrixFeatures::new(1, values).unwrap().with_keys(keys.iter().copied()).unwrap())
        };
        let of = |images: &[&str], texts: &[&str]| {
            Pairs::new(features(images), vec![features(texts)]).unwrap().fingerprint().unwrap()
        };
        let first = of(&["a", "bc"], &["a", "bc"]);
        assert_eq!(first, of(&["a", "bc"], &["bc", "a"]));
        let others = [
            of(&["bc", "a"], &["a", "bc"]),
            of(&["ab", "c"], &["ab", "c"]),
            of(&["a", "bc"], &["a", "bc", "bc"]),
            of(&["a", "bc", "d"], &["a", "bc", "d"]),
        ];
        assert!(others.iter().all(|other| *other != first));
    }
}
