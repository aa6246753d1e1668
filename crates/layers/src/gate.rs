//! The gate of SAIL's GLU.

use burn::tensor::Tensor;

/// Bound on the values of SAIL's GLU, which keeps a diverging product finite.
const BOUND: f32 = 1e3;
/// Upper bound of ReLU6.
const SIX: f32 = 6.0;

/// `relu6(gate) * clamp(value, -1000, 1000)`, differentiable.
///
/// On the CPU, forward and backward pass are one sweep over memory each, on all cores, and the graph keeps the two inputs. burn's
/// operations take five and nine sweeps on one core.
///
/// # Shapes
/// - gate, value and result: `[rows, width]`
pub(crate) fn gated(gate: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(hidden) = host::gated(&gate, &value) {
        return hidden;
    }
    gate.clamp(0.0, SIX) * value.clamp(-BOUND, BOUND)
}

#[cfg(feature = "flex")]
mod host {
    use burn::backend::autodiff::NodeId;
    use burn::backend::autodiff::checkpoint::base::Checkpointer;
    use burn::backend::autodiff::checkpoint::strategy::{
        BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
    };
    use burn::backend::autodiff::grads::Gradients;
    use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
    use burn::backend::flex::FlexTensor;
    use burn::backend::{Autodiff, DispatchKindConversion, DispatchTensor, Flex};
    use burn::tensor::{DType, Tensor, TensorData};
    use rayon::prelude::*;

    use super::{BOUND, SIX};

    /// Elements of a parallel task.
    const CHUNK: usize = 1 << 14;

    /// The result for f32 tensors in host memory.
    pub(super) fn gated(gate: &Tensor<2>, value: &Tensor<2>) -> Option<Tensor<2>> {
        let plain = |x: &Tensor<2>| x.clone().try_into_primitive::<Flex>().ok();
        if let (Some(gate), Some(value)) = (plain(gate), plain(value)) {
            return Some(Tensor::from_primitive::<Flex>(forward(&gate, &value)?));
        }
        differentiable::<NoCheckpointing>(gate, value)
            .or_else(|| differentiable::<BalancedCheckpointing>(gate, value))
    }

    fn differentiable<C>(gate: &Tensor<2>, value: &Tensor<2>) -> Option<Tensor<2>>
    where
        C: CheckpointStrategy,
        DispatchTensor: DispatchKindConversion<Autodiff<Flex, C>>,
    {
        let [gate, value] = [gate, value].map(|x| x.clone().try_into_primitive::<Autodiff<Flex, C>>().ok());
        let (gate, value) = (gate?, value?);
        let hidden = forward(gate.primitive(), value.primitive())?;
        let hidden = match Gate.prepare::<C>([gate.node(), value.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut operation) => {
                let inputs = [operation.checkpoint(&gate), operation.checkpoint(&value)];
                operation.finish(inputs, hidden)
            }
            OpsKind::UnTracked(operation) => operation.finish(hidden),
        };
        Some(Tensor::from_primitive::<Autodiff<Flex, C>>(hidden))
    }

    /// The backward pass.
    #[derive(Debug)]
    struct Gate;

    impl Backward<Flex, 2> for Gate {
        type State = [NodeId; 2];

        fn backward(
            self,
            ops: Ops<Self::State, 2>,
            gradients: &mut Gradients,
            checkpointer: &mut Checkpointer,
        ) {
            let [gate, value] = ops.state.map(|input| checkpointer.retrieve_node_output::<FlexTensor>(input));
            let gradient = gradients.consume::<Flex>(&ops.node);
            let found = backward(&gate, &value, gradient);
            for (parent, gradient) in ops.parents.into_iter().zip(found) {
                if let Some(parent) = parent {
                    gradients.register::<Flex>(parent.id, gradient);
                }
            }
        }
    }

    fn forward(gate: &FlexTensor, value: &FlexTensor) -> Option<FlexTensor> {
        let is_f32 = [gate, value].iter().all(|x| x.dtype() == DType::F32);
        let shape = gate.layout().shape().clone();
        if !is_f32 || shape != *value.layout().shape() {
            return None;
        }
        let [gate, value] = [gate, value].map(FlexTensor::to_contiguous);
        let mut hidden = vec![0f32; shape.num_elements()];
        let inputs = elements(&gate).par_chunks(CHUNK).zip(elements(&value).par_chunks(CHUNK));
        hidden.par_chunks_mut(CHUNK).zip(inputs).for_each(|(hidden, (gate, value))| {
            for ((hidden, gate), value) in hidden.iter_mut().zip(gate).zip(value) {
                *hidden = gate.clamp(0.0, SIX) * value.clamp(-BOUND, BOUND);
            }
        });
        Some(FlexTensor::from_data(TensorData::new(hidden, shape)))
    }

    /// The gradients of the gate and of the value. At the bounds, and for NaN, the gradient passes, as that of burn's clamp.
    fn backward(gate: &FlexTensor, value: &FlexTensor, gradient: FlexTensor) -> [FlexTensor; 2] {
        let shape = gate.layout().shape().clone();
        let [gate, value, gradient] = [gate, value, &gradient].map(FlexTensor::to_contiguous);
        let count = shape.num_elements();
        let (mut of_gate, mut of_value) = (vec![0f32; count], vec![0f32; count]);
        let inputs = elements(&gate).par_chunks(CHUNK).zip(elements(&value).par_chunks(CHUNK));
        let inputs = inputs.zip(elements(&gradient).par_chunks(CHUNK));
        let outputs = of_gate.par_chunks_mut(CHUNK).zip(of_value.par_chunks_mut(CHUNK));
        outputs.zip(inputs).for_each(|((of_gate, of_value), ((gate, value), gradient))| {
            let outputs = of_gate.iter_mut().zip(of_value);
            for ((((of_gate, of_value), gate), value), gradient) in outputs.zip(gate).zip(value).zip(gradient)
            {
                let outside = |x: f32, low: f32, high: f32| x < low || x > high;
                let (kept, bounded) = (gate.clamp(0.0, SIX), value.clamp(-BOUND, BOUND));
                *of_gate = if outside(*gate, 0.0, SIX) { 0.0 } else { gradient * bounded };
                *of_value = if outside(*value, -BOUND, BOUND) { 0.0 } else { gradient * kept };
            }
        });
        [of_gate, of_value].map(|values| FlexTensor::from_data(TensorData::new(values, shape.clone())))
    }

    /// The elements of a contiguous f32 tensor.
    fn elements(x: &FlexTensor) -> &[f32] {
        let start = x.layout().start_offset();
        &x.storage::<f32>()[start..start + x.layout().shape().num_elements()]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;

    /// Value and gradients of both inputs for a weighted sum of the results.
    fn run(
        f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
        inputs: &[Vec<f32>; 3],
        width: usize,
    ) -> [Vec<u32>; 3] {
        let device = Device::flex().autodiff();
        let [gate, value, weights] = inputs.each_ref().map(|values| {
            Tensor::<2>::from_data(TensorData::new(values.clone(), [values.len() / width, width]), &device)
        });
        let (gate, value) = (gate.require_grad(), value.require_grad());
        let hidden = f(gate.clone(), value.clone());
        let gradients = (hidden.clone() * weights).sum().backward();
        let [of_gate, of_value] = [gate.grad(&gradients), value.grad(&gradients)].map(Option::unwrap);
        [hidden.inner(), of_gate, of_value].map(|x| {
            x.into_data().iter::<f32>().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect()
        })
    }

    #[test]
    fn equals_burns_operations_to_the_last_bit() {
        let special = [
            0.0,
            -0.0,
            6.0,
            6.000_001,
            -1e-30,
            1e3,
            -1e3,
            1_000.1,
            -1_000.1,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            2.5,
            1e-38,
            -7.0,
        ];
        let noise = |i: usize, seed: f32| ((i as f32 + seed) * 12.9898).sin() * 9.0;
        // Every special value of the gate with every one of the value, and more elements than a task has.
        let pairs = special.iter().flat_map(|a| special.iter().map(move |b| (*a, *b)));
        let (mut gate, mut value): (Vec<f32>, Vec<f32>) = pairs.unzip();
        let width = special.len();
        gate.extend((0..width * 3_000).map(|i| noise(i, 0.3)));
        value.extend((0..width * 3_000).map(|i| 200.0 * noise(i, 0.7)));
        let weights = (0..gate.len()).map(|i| noise(i, 0.1)).collect();
        let inputs = [gate, value, weights];
        let expected = run(|gate, value| gate.clamp(0.0, SIX) * value.clamp(-BOUND, BOUND), &inputs, width);
        assert_eq!(run(gated, &inputs, width), expected);
    }

    #[test]
    fn views_are_read_in_their_order() {
        let device = Device::flex();
        let x = Tensor::<1>::from_floats([-1.0, 1.0, 2.0, 3.0, 4.0, 9.0], &device).reshape([2, 3]);
        let found = gated(x.clone().transpose(), x.clone().transpose());
        let expected = gated(x.clone(), x).transpose();
        assert_eq!(found.into_data(), expected.into_data());
    }
}
