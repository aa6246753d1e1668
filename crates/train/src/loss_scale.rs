//! Dynamic scaling of f16 gradients.

use serde::{Deserialize, Serialize};

/// The least factor: a gradient that overflows below it does not overflow for its scale.
const LEAST: f32 = 1.0 / (1 << 20) as f32;

/// Steps without overflow after which the factor is doubled again, as PyTorch's `GradScaler` does.
const GROWTH_STEPS: usize = 2000;

/// A factor on the scale of f16 gradients, which is chosen from the largest gradient of the embeddings: halved when a
/// gradient of the head overflows, doubled after many steps in which none did, at most 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LossScale {
    factor: f32,
    /// Steps since it changed.
    steps: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { factor: 1.0, steps: 0 }
    }
}

impl LossScale {
    pub(crate) fn factor(&self) -> f32 {
        self.factor
    }

    /// Halves the factor after an overflow; false if it is too small already.
    pub(crate) fn halve(&mut self) -> bool {
        let possible = self.factor > LEAST;
        if possible {
            *self = Self { factor: self.factor / 2.0, steps: 0 };
        }
        possible
    }

    /// Counts a step without overflow.
    pub(crate) fn count(&mut self) {
        self.steps += 1;
        if self.factor < 1.0 && self.steps >= GROWTH_STEPS {
            *self = Self { factor: self.factor * 2.0, steps: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_at_once_and_recovers_slowly() {
        let mut scale = LossScale::default();
        assert!(scale.halve() && scale.halve());
        (1..GROWTH_STEPS).for_each(|_| scale.count());
        assert_eq!(scale.factor(), 0.25);
        scale.count();
        assert_eq!(scale.factor(), 0.5);
        (0..10 * GROWTH_STEPS).for_each(|_| scale.count());
        assert_eq!(scale.factor(), 1.0);
        assert_eq!((0..99).filter(|_| scale.halve()).count(), 20);
    }
}
