//! The learning rate of each step.

use std::f64::consts::PI;

use crate::{Schedule, TrainConfig};

/// The learning rate of every step of a run.
///
/// # Examples
/// ```
/// use sail_train::{LearningRate, TrainConfig};
/// let config = TrainConfig::default().with_learning_rate(1.0).with_warmup(0.1);
/// let rate = LearningRate::new(&config, 100);
/// assert_eq!((rate.at(4), rate.at(10), rate.at(55)), (0.5, 1.0, 0.5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    schedule: Schedule,
    base: f64,
    steps: usize,
    warmup: usize,
    cooldown: usize,
}

impl LearningRate {
    /// The schedule of a configuration over `steps` steps. Warm-up and cooldown take `ceil(share * steps)` steps.
    pub fn new(config: &TrainConfig, steps: usize) -> Self {
        let share = |share: f64| ((share * steps as f64).ceil() as usize).min(steps);
        Self {
            schedule: config.schedule,
            base: config.learning_rate,
            steps,
            warmup: share(config.warmup),
            cooldown: share(config.cooldown),
        }
    }

    /// Returns the learning rate of a step, counted from 0. Steps after the last one have the rate at which the
    /// schedule ends.
    pub fn at(&self, step: usize) -> f64 {
        // A warm-up over the whole run ends at the base rate.
        if step < self.warmup || self.warmup == self.steps {
            return self.base * ((step + 1) as f64 / self.warmup.max(1) as f64).min(1.0);
        }
        let progress = |start: usize| {
            let done = step.saturating_sub(start) as f64 / (self.steps - start).max(1) as f64;
            done.min(1.0)
        };
        self.base
            * match self.schedule {
                Schedule::Cosine => 0.5 * (1.0 + (PI * progress(self.warmup)).cos()),
                Schedule::Linear => 1.0 - progress(self.warmup),
                Schedule::Constant => 1.0,
                Schedule::ConstantWithCooldown if self.cooldown == 0 => 1.0,
                Schedule::ConstantWithCooldown => 1.0 - progress(self.steps - self.cooldown),
            }
    }
}

#[cfg(test)]
mod tests {
    use sail_core::Named;
    use serde::Deserialize;

    use super::*;

    /// Written by `tests/fixtures/schedule.py` from the published formulas.
    const FIXTURE: &str = include_str!("../tests/fixtures/schedule.json");

    #[derive(Deserialize)]
    struct Case {
        schedule: Schedule,
        steps: usize,
        warmup: f64,
        cooldown: f64,
        rates: Vec<f64>,
    }

    #[test]
    fn equals_the_published_formulas() {
        let cases: Vec<Case> = serde_json::from_str(FIXTURE).unwrap();
        assert!(cases.iter().any(|case| case.steps == 45) && cases.iter().any(|case| case.steps == 137));
        for case in cases {
            let config = TrainConfig::default()
                .with_learning_rate(3e-4)
                .with_schedule(case.schedule)
                .with_warmup(case.warmup)
                .with_cooldown(case.cooldown);
            let rate = LearningRate::new(&config, case.steps);
            assert_eq!(case.rates.len(), case.steps);
            for (step, expected) in case.rates.iter().enumerate() {
                let found = rate.at(step);
                assert!((found - expected).abs() <= 1e-15, "{} step {step}: {found}", case.schedule);
            }
        }
    }

    #[test]
    fn finite_at_and_beyond_the_end() {
        for &schedule in Schedule::ALL {
            for (warmup, cooldown) in [(0.0, 0.0), (0.1, 0.2), (1.0, 0.0), (0.0, 1.0)] {
                let config = TrainConfig::default()
                    .with_learning_rate(2.0)
                    .with_schedule(schedule)
                    .with_warmup(warmup)
                    .with_cooldown(cooldown);
                for steps in [1, 7] {
                    let rate = LearningRate::new(&config, steps);
                    assert!((0..=steps + 3).all(|step| (0.0..=2.0).contains(&rate.at(step))), "{schedule}");
                }
            }
        }
        let warmup_only =
            LearningRate::new(&TrainConfig::default().with_learning_rate(2.0).with_warmup(1.0), 4);
        assert_eq!([0, 3, 4].map(|step| warmup_only.at(step)), [0.5, 2.0, 2.0]);
    }
}
