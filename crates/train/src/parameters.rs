//! Parameters of a head by path, and parameter groups.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

/// A group of parameters with separate settings.
///
/// # Examples
/// ```
/// use sail_train::{ParameterGroup, TrainConfig};
/// let config = TrainConfig::default().with_parameter_groups(vec![
///     ParameterGroup::new("image").with_frozen(true),
///     ParameterGroup::new("text.projector").with_learning_rate_scale(0.1),
///     ParameterGroup::new("logit").with_weight_decay(0.0),
/// ]);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ParameterGroup {
    /// Path of a module or a parameter of the head, such as `image`, `text.projector` or `logit.bias`. The group
    /// contains all parameters with this prefix.
    pub parameters: String,
    /// Factor on the learning rate.
    #[serde(default = "one")]
    pub learning_rate_scale: f64,
    /// Weight decay, which replaces that of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Whether the parameters are frozen.
    #[serde(default)]
    pub frozen: bool,
}

fn one() -> f64 {
    1.0
}

impl ParameterGroup {
    /// Creates a group with the settings of the run.
    pub fn new(parameters: impl Into<String>) -> Self {
        Self { parameters: parameters.into(), learning_rate_scale: 1.0, weight_decay: None, frozen: false }
    }

    /// Sets the factor on the learning rate.
    #[must_use]
    pub fn with_learning_rate_scale(mut self, scale: f64) -> Self {
        self.learning_rate_scale = scale;
        self
    }

    /// Sets the weight decay.
    #[must_use]
    pub fn with_weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = Some(decay);
        self
    }

    /// Sets whether the parameters are frozen.
    #[must_use]
    pub fn with_frozen(mut self, frozen: bool) -> Self {
        self.frozen = frozen;
        self
    }

    fn contains(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.parameters.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Check for ParameterGroup {
    fn check(&self) -> Result<(), ConfigError> {
        let path = &self.parameters;
        ensure(!path.is_empty(), "parameters", "empty", "a path such as `image` or `logit.bias`")?;
        let scale = self.learning_rate_scale;
        let valid = scale.is_finite() && scale >= 0.0;
        ensure(valid, "learning_rate_scale", scale, "a number of at least 0")
    }
}

/// A parameter of a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) path: String,
    pub(crate) id: ParamId,
    pub(crate) shape: Vec<usize>,
}

impl Parameter {
    /// Returns `true` for vectors and scalars: norms, biases, and the logit scale and bias.
    pub(crate) fn is_vector(&self) -> bool {
        self.shape.len() == 1
    }

    /// Returns the last group that contains the parameter.
    pub(crate) fn group<'a>(&self, groups: &'a [ParameterGroup]) -> Option<&'a ParameterGroup> {
        groups.iter().rev().find(|group| group.contains(&self.path))
    }
}

/// Lists the parameters of a module in the order of its fields.
pub(crate) fn parameters(module: &impl Module) -> Vec<Parameter> {
    let mut visitor = List::default();
    module.visit(&mut visitor);
    visitor.parameters
}

/// Checks that every group contains a parameter.
pub(crate) fn check_groups(module: &impl Module, groups: &[ParameterGroup]) -> Result<(), ConfigError> {
    let parameters = parameters(module);
    for group in groups {
        let found = parameters.iter().any(|parameter| group.contains(&parameter.path));
        let paths = || parameters.iter().map(|parameter| format!("`{}`", parameter.path)).collect::<Vec<_>>();
        ensure(found, "parameters", format!("`{}`", group.parameters), LazyJoin(paths))?;
    }
    Ok(())
}

/// Lists the paths lazily, for the error message only.
struct LazyJoin<F>(F);

impl<F: Fn() -> Vec<String>> std::fmt::Display for LazyJoin<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a path or path prefix of {}", (self.0)().join(", "))
    }
}

#[derive(Default)]
struct List {
    /// Names of the enclosing modules, `None` for enum variants, which are not part of a path.
    path: Vec<Option<String>>,
    parameters: Vec<Parameter>,
}

impl ModuleVisitor for List {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let names: Vec<&str> = self.path.iter().flatten().map(String::as_str).collect();
        let (path, shape) = (names.join("."), param.val().dims().to_vec());
        self.parameters.push(Parameter { path, id: param.id, shape });
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((!container_type.starts_with("Enum:")).then(|| name.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}
