//! An exponential moving average of a head.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use sail_core::AlignmentHead;

/// A head whose parameters follow those in training, `average = decay * average + (1 - decay) * current` after every
/// step (Polyak averaging).
pub(crate) struct Ema<H> {
    pub(crate) head: H,
    decay: f64,
}

impl<H: AlignmentHead> Ema<H> {
    /// Starts from the current head.
    pub(crate) fn new(head: &H, decay: f64) -> Self {
        Self { head: head.valid(), decay }
    }

    pub(crate) fn update(self, current: &H) -> Self {
        // `GradientsParams` serves as a map from parameters to tensors.
        let mut tensors = GradientsParams::new();
        current.visit(&mut Collect(&mut tensors));
        let head = self.head.map(&mut Average { tensors, decay: self.decay });
        Self { head, ..self }
    }
}

struct Collect<'a>(&'a mut GradientsParams);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().without_autodiff());
    }
}

struct Average {
    tensors: GradientsParams,
    decay: f64,
}

impl ModuleMapper for Average {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let current = self.tensors.remove::<D>(param.id);
        param.map(|average| match current {
            Some(current) => average * self.decay + current * (1.0 - self.decay),
            None => average,
        })
    }
}
