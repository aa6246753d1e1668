//! The tensors that a module expects, with the names and layouts of PyTorch.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};
use burn_store::{ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};

/// The kind of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Bool,
}

/// A tensor that a module expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Name in PyTorch.
    pub(super) name: String,
    /// Name in burn if it differs: old checkpoints also use `gamma` and `beta`.
    pub(super) alias: Option<String>,
    /// Shape in PyTorch: the weight of a linear layer is `[out, in]`.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
}

/// Lists the tensors of a module without initialising them.
pub(super) fn slots(module: &impl Module) -> Vec<Slot> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.slots
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    containers: Vec<String>,
    slots: Vec<Slot>,
}

impl Collector {
    fn push(&mut self, mut shape: Vec<usize>, kind: Kind) {
        let module = ModuleContext::new(&self.containers).module_type().unwrap_or_default();
        let parameter = self.path.last().map_or("", String::as_str);
        if module == "Struct:Linear" && parameter == "weight" {
            shape.reverse();
        }
        let own = self.path.join(".");
        let (name, alias) = match PyTorchToBurnAdapter.get_alternative_param_name(parameter, module) {
            Some(parameter) => {
                let parent = self.path.split_last().map_or(&[][..], |(_, parent)| parent);
                ([parent, &[parameter]].concat().join("."), Some(own))
            }
            None => (own, None),
        };
        self.slots.push(Slot { name, alias, shape, kind });
    }
}

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.push(param.lazy_shape().to_vec(), Kind::Float);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.push(param.lazy_shape().to_vec(), Kind::Int);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.push(param.lazy_shape().to_vec(), Kind::Bool);
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.containers.push(container.to_owned());
        // Enum variants have no name in PyTorch.
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.containers.pop();
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }
}
