//! Processing of gradients before the optimizer: global norm, clipping, frozen parameters.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use sail_support::cpu::is_host_f32;

/// Number of elements per task.
const TASK: usize = 1 << 16;

/// Removes the gradients of frozen parameters, so that the optimizer does not update them.
pub(crate) fn drop_frozen(gradients: &mut GradientsParams, module: &impl Module, frozen: &[ParamId]) {
    struct Drop<'a>(&'a mut GradientsParams, &'a [ParamId]);
    impl ModuleVisitor for Drop<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.1.contains(&param.id) {
                self.0.remove::<D>(param.id);
            }
        }
    }
    if !frozen.is_empty() {
        module.visit(&mut Drop(gradients, frozen));
    }
}

/// Returns the global L2 norm of the gradients, `[1]`, without synchronizing with the device.
///
/// It is finite if and only if every gradient is, unless a square overflows on a device without f64.
pub(crate) fn norm(gradients: &mut GradientsParams, module: &impl Module, device: &Device) -> Tensor<1> {
    struct Norm<'a> {
        gradients: &'a mut GradientsParams,
        host: f64,
        device: Option<Tensor<1>>,
    }
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // Removed and registered again, because a second owner would force a copy on the host.
            let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
            let gradient = if is_host_f32(&gradient) {
                let device = gradient.device();
                let data = gradient.into_data();
                let squares =
                    |values: &[f32]| values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
                let sums = data.as_slice::<f32>().map(|values| {
                    values.par_chunks(TASK).map(squares).collect::<Vec<f64>>().iter().sum::<f64>()
                });
                self.host += sums.unwrap_or(f64::NAN);
                Tensor::from_data(data, &device)
            } else {
                let sum = gradient.clone().square().sum();
                self.device = Some(match self.device.take() {
                    Some(total) => total + sum,
                    None => sum,
                });
                gradient
            };
            self.gradients.register(param.id, gradient);
        }
    }
    let mut visitor = Norm { gradients, host: 0.0, device: None };
    module.visit(&mut visitor);
    let host = Tensor::from_floats([visitor.host.sqrt() as f32], device);
    match visitor.device {
        Some(squares) if visitor.host == 0.0 => squares.sqrt(),
        Some(squares) => (squares + host.square()).sqrt(),
        None => host,
    }
}

/// Multiplies all gradients.
pub(crate) fn scale(gradients: &mut GradientsParams, module: &impl Module, factor: f32) {
    struct Scale<'a>(&'a mut GradientsParams, f32);
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient * self.1);
            }
        }
    }
    if factor != 1.0 {
        module.visit(&mut Scale(gradients, factor));
    }
}
