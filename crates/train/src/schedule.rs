//! The learning rate of each step.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

const STEP: &str = "step";

/// Linear warm-up, then half a cosine down to 0:
///
/// ```text
/// rate * min(1, (k + 1) / ceil(w))              for k < w = warmup * steps
/// rate * (1 + cos(pi (k - w) / (steps - w))) / 2   after that
/// ```
///
/// burn's own schedules joined in sequence meet in another step than the reference's formula does.
#[derive(Debug, Clone)]
pub struct WarmupCosine {
    rate: f64,
    steps: usize,
    warmup: f64,
    step: usize,
}

impl WarmupCosine {
    /// A schedule over `steps` steps that peaks at `rate` after the share `warmup` of them, standing before the
    /// step `start`.
    pub fn new(rate: f64, steps: usize, warmup: f64, start: usize) -> Self {
        Self { rate, steps, warmup: warmup * steps as f64, step: start }
    }

    /// The learning rate of a step, counted from 0.
    ///
    /// # Examples
    /// ```
    /// let schedule = sail_train::WarmupCosine::new(1.0, 100, 0.1, 0);
    /// assert_eq!(schedule.rate(4), 0.5);
    /// assert_eq!(schedule.rate(10), 1.0);
    /// assert_eq!(schedule.rate(55), 0.5);
    /// ```
    pub fn rate(&self, step: usize) -> f64 {
        let k = step as f64;
        let factor = if k < self.warmup {
            ((k + 1.0) / self.warmup.ceil().max(1.0)).min(1.0)
        } else {
            let phase = (k - self.warmup) / (self.steps as f64 - self.warmup);
            0.5 * (1.0 + (std::f64::consts::PI * phase).cos())
        };
        self.rate * factor
    }
}

impl LrScheduler for WarmupCosine {
    fn step(&mut self) -> f64 {
        self.step += 1;
        self.rate(self.step - 1)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(STEP, self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar(STEP) {
            self.step = step;
        }
    }
}
