//! Dense layers of sentence-transformers.

use burn::tensor::{DType, Device, Tensor, activation};
use serde_json::{Value, json};

use crate::blocks::Linear;
use crate::config::{Fields, SIZE};
use crate::pretrained::{Checkpoint, ModelError, WeightMap};

type Activation = fn(Tensor<2>) -> Tensor<2>;

/// The activations by the names of their classes in PyTorch, with the defaults of their arguments.
const ACTIVATIONS: [(&str, Activation); 13] = [
    ("ELU", |x| activation::elu(x, 1.0)),
    ("GELU", activation::gelu),
    ("Hardsigmoid", |x| activation::hard_sigmoid(x, 1.0 / 6.0, 0.5)),
    ("Identity", |x| x),
    ("LeakyReLU", |x| activation::leaky_relu(x, 0.01)),
    ("Mish", activation::mish),
    ("ReLU", activation::relu),
    ("SELU", activation::selu),
    ("SiLU", activation::silu),
    ("Sigmoid", activation::sigmoid),
    ("Softplus", |x| activation::softplus(x, 1.0)),
    ("Softsign", activation::softsign),
    ("Tanh", activation::tanh),
];

/// `activation(x W + b)`, plus `x` or a projection of it with a residual connection.
pub(super) struct Dense {
    linear: Linear,
    activation: (&'static str, Activation),
    residual: bool,
    /// Of the residual, if the widths differ.
    projection: Option<Linear>,
}

impl Dense {
    /// Loads a layer for inputs of this width, which becomes that of its outputs.
    pub(super) fn load(
        config: &Value,
        checkpoint: &Checkpoint,
        width: &mut usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let fields = Fields(config);
        let input = fields.size("in_features", None, SIZE)?;
        let output = fields.size("out_features", None, SIZE)?;
        if input != *width {
            return Err(fields.error("in_features", format!("{width}, the width of the pooled embedding")));
        }
        for field in ["module_input_name", "module_output_name"] {
            fields.only(field, json!("sentence_embedding"))?;
        }
        let residual = fields.flag("use_residual", false)?;
        let bias = fields.flag("bias", true)?;
        let activation = activation(fields)?;
        let mut weights = checkpoint.weights(&WeightMap::default(), DType::F32, device);
        let linear = Linear::load(&mut weights, "linear", [input, output], bias);
        let projection = (residual && input != output)
            .then(|| Linear::load(&mut weights, "residual", [input, output], false));
        weights.finish()?;
        *width = output;
        Ok(Self { linear, activation, residual, projection })
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let out = (self.activation.1)(self.linear.forward(x.clone()));
        match &self.projection {
            Some(projection) => out + projection.forward(x),
            None if self.residual => out + x,
            None => out,
        }
    }

    pub(super) fn describe(&self) -> Value {
        let [input, output] = self.linear.shape();
        let mut settings = json!({"in": input, "out": output, "activation": self.activation.0});
        if self.residual {
            settings["residual"] = true.into();
        }
        json!({"dense": settings})
    }
}

/// Returns the activation of a layer: that of PyTorch's package, since others would be code; Tanh if it is missing.
fn activation(fields: Fields<'_>) -> Result<(&'static str, Activation), ModelError> {
    const FIELD: &str = "activation_function";
    let name = match fields.0.get(FIELD) {
        None => Some("Tanh"),
        Some(path) => {
            path.as_str().filter(|path| path.starts_with("torch.")).and_then(|path| path.rsplit('.').next())
        }
    };
    let known = ACTIVATIONS.iter().find(|(known, _)| name == Some(known));
    known.copied().ok_or_else(|| {
        let names = ACTIVATIONS.map(|(name, _)| name).join(", ");
        fields.error(FIELD, format!("a class of torch.nn, one of {names}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn activations_are_those_of_pytorch() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sentence/expected.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |name: &str| -> Vec<f32> {
            let tensor = file.tensor(&format!("activation.{name}")).unwrap();
            tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let x = Tensor::<1>::from_floats(values("x").as_slice(), &Device::flex()).unsqueeze::<2>();
        for (name, activation) in ACTIVATIONS {
            let found = activation(x.clone()).into_data().try_to_vec::<f32>().unwrap();
            for (found, expected) in found.iter().zip(values(name)) {
                assert!((found - expected).abs() <= 2e-6, "{name}: {found}, expected {expected}");
            }
        }
    }
}
