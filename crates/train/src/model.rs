//! The state that a step updates.

use burn::module::{ModuleVisitor, Param};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;
use sail_core::AlignmentHead;

use crate::ema::Ema;
use crate::{StepGradients, TrainError};

/// The state that a step updates: the head, the optimizer, and the moving average of the parameters.
pub(crate) struct Model<H: AlignmentHead> {
    pub(crate) head: H,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) ema: Option<Ema<H>>,
}

impl<H: AlignmentHead> Model<H> {
    pub(crate) fn update(mut self, rate: f64, gradients: StepGradients) -> Self {
        self.head = self.optimizer.step(rate, self.head, gradients.gradients).clamp_parameters();
        self.ema = self.ema.map(|ema| ema.update(&self.head));
        self
    }

    /// Returns the head to evaluate and save, in inference mode: the moving average if there is one.
    pub(crate) fn result(&self) -> H {
        match &self.ema {
            Some(ema) => ema.head.clone(),
            None => self.head.valid(),
        }
    }

    /// Like [`result`](Self::result), but fails if a weight is not finite after a step.
    pub(crate) fn finite(&self, step: usize) -> Result<H, TrainError> {
        let head = self.result();
        let mut visitor = Magnitudes(Vec::new());
        head.visit(&mut visitor);
        for magnitude in visitor.0 {
            check_finite("a weight", f64::from(magnitude.try_into_scalar::<f32>()?), step)?;
        }
        Ok(head)
    }
}

/// Returns an error if the value is not finite.
pub(crate) fn check_finite(what: &'static str, value: f64, step: usize) -> Result<(), TrainError> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(TrainError::NotFinite { what, step, value }),
    }
}

/// The sum of absolute values of each parameter. It is finite only if every value is.
struct Magnitudes(Vec<Tensor<1>>);

impl ModuleVisitor for Magnitudes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().without_autodiff().abs().sum());
    }
}
