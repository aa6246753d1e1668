//! The states of chosen layers of one pass.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use sail_core::Layer;

/// Returns the number of blocks before the states of a layer, or `None` if a model of this many blocks does not have it.
pub(crate) fn depth(layer: Layer, blocks: usize) -> Option<usize> {
    match layer {
        Layer::Last => Some(blocks),
        Layer::FromEnd(n) => (blocks + 1).checked_sub(n).filter(|depth| *depth <= blocks),
    }
}

/// The states of a micro-batch, `[batch * tokens, width]`, by the number of blocks before them.
#[derive(Clone, Default)]
pub(crate) struct Taken(BTreeMap<usize, Tensor<2>>);

impl Taken {
    /// Keeps the states after `depth` blocks if they are among those that are asked for.
    pub(crate) fn keep(mut self, depth: usize, depths: &[usize], states: &Tensor<2>) -> Self {
        if depths.contains(&depth) {
            self.0.insert(depth, states.clone());
        }
        self
    }

    pub(crate) fn get(&self, depth: usize) -> Option<&Tensor<2>> {
        self.0.get(&depth)
    }
}
