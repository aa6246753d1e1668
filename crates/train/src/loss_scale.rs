//! Dynamic scaling of f16 gradients.

use serde::{Deserialize, Serialize};

/// The minimum factor. A gradient that overflows even below it is not finite for another reason than its scale.
const LEAST: f32 = 1.0 / (1 << 20) as f32;

/// Steps without overflow after which the factor is doubled again, as PyTorch's `GradScaler` does.
const GROWTH_STEPS: usize = 2000;

/// A factor, at most 1, on the scale of f16 gradients, which is derived from the largest gradient of the embeddings. It
/// is halved when a gradient of the head overflows, and doubled after many steps without overflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LossScale {
    factor: f32,
    /// Number of steps since it changed.
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

    /// Halves the factor after an overflow. Returns `false` if it is already at its minimum.
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
    fn halves_immediately_and_recovers_slowly() {
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
