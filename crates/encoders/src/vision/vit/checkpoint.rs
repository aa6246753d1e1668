//! The parameters of a checkpoint and their fusion for the forward pass.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor};

use super::block::{Block, Gating};
use super::config::{Architecture, FeedForward};
use super::dense::Dense;
use super::model::VisionTransformer;
use crate::pretrained::{ModelError, Names, Weights};
use crate::vision::parameter::{to_f32, zeros};

/// All families are mapped to the names of DINOv2.
const NAMES: Names = Names {
    prefixes: &["dinov2_with_registers.", "dinov2.", "vit."],
    renames: &[
        ("attention.attention.", "attention."),
        ("attention.output.dense.", "attention.output."),
        ("layernorm_before.", "norm1."),
        ("layernorm_after.", "norm2."),
        ("intermediate.dense.", "mlp.fc1."),
        (".output.dense.", ".mlp.fc2."),
        ("mlp.weights_in.", "mlp.fc1."),
        ("mlp.weights_out.", "mlp.fc2."),
    ],
    ignored: &["embeddings.mask_token"],
};

#[derive(Module, Debug)]
pub(super) struct Checkpoint {
    embeddings: Embeddings,
    encoder: Encoder,
    layernorm: LayerNorm,
    pooler: Option<StoredPooler>,
}

#[derive(Module, Debug)]
struct Embeddings {
    cls_token: Param<Tensor<3>>,
    register_tokens: Option<Param<Tensor<3>>>,
    position_embeddings: Param<Tensor<3>>,
    patch_embeddings: PatchEmbeddings,
}

#[derive(Module, Debug)]
struct PatchEmbeddings {
    projection: Projection,
}

/// A convolution whose stride equals its kernel size: a linear layer on patches.
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    norm1: LayerNorm,
    attention: Attention,
    layer_scale1: Option<LayerScale>,
    norm2: LayerNorm,
    mlp: Mlp,
    layer_scale2: Option<LayerScale>,
}

#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

#[derive(Module, Debug)]
struct LayerScale {
    lambda1: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct StoredPooler {
    dense: Linear,
}

impl Checkpoint {
    /// Loads the parameters. No memory is allocated before the shapes have been checked.
    pub(super) fn read(model: &Architecture, weights: &Weights, device: &Device) -> Result<Self, ModelError> {
        let mut checkpoint = Self::empty(model, device);
        weights.load_into(&mut checkpoint, &NAMES)?;
        Ok(checkpoint)
    }

    fn empty(model: &Architecture, device: &Device) -> Self {
        let hidden = model.hidden;
        let linear = |input, output, bias| {
            let config = LinearConfig::new(input, output).with_bias(bias);
            config.with_initializer(Initializer::Zeros).init(device)
        };
        let norm = || LayerNormConfig::new(hidden).with_epsilon(model.norm_epsilon).init(device);
        let scale = || model.layer_scale.then(|| LayerScale { lambda1: zeros([hidden], device) });
        let (width_in, width_out) = match model.feed_forward {
            FeedForward::Mlp { width, .. } => (width, width),
            FeedForward::SwiGlu { width } => (2 * width, width),
        };
        let layer = |_| Layer {
            norm1: norm(),
            attention: Attention {
                query: linear(hidden, hidden, model.qkv_bias),
                key: linear(hidden, hidden, model.qkv_bias),
                value: linear(hidden, hidden, model.qkv_bias),
                output: linear(hidden, hidden, true),
            },
            layer_scale1: scale(),
            norm2: norm(),
            mlp: Mlp { fc1: linear(hidden, width_in, true), fc2: linear(width_out, hidden, true) },
            layer_scale2: scale(),
        };
        Self {
            embeddings: Embeddings {
                cls_token: zeros([1, 1, hidden], device),
                register_tokens: model.registers.map(|count| zeros([1, count, hidden], device)),
                position_embeddings: zeros([1, model.grid * model.grid + 1, hidden], device),
                patch_embeddings: PatchEmbeddings {
                    projection: Projection {
                        weight: zeros([hidden, 3, model.patch, model.patch], device),
                        bias: zeros([hidden], device),
                    },
                },
            },
            encoder: Encoder { layer: (0..model.layers).map(layer).collect() },
            layernorm: norm(),
            pooler: model.pooler.map(|size| StoredPooler { dense: linear(hidden, size, true) }),
        }
    }

    /// Fuses linear operations and casts to the dtype of the forward pass.
    pub(super) fn fuse(self, model: Architecture, dtype: DType) -> VisionTransformer {
        let Embeddings { cls_token, register_tokens, position_embeddings, patch_embeddings } =
            self.embeddings;
        let Projection { weight, bias } = patch_embeddings.projection;
        let (hidden, patch) = (model.hidden, model.patch);
        // The class token has a position embedding, registers do not.
        let positions = to_f32(position_embeddings).reshape([model.grid * model.grid + 1, hidden]);
        let class = to_f32(cls_token).reshape([1, hidden]) + positions.clone().narrow(0, 0, 1);
        let prefix = match register_tokens.map(to_f32) {
            Some(tokens) if tokens.dims()[1] > 0 => {
                let count = tokens.dims()[1];
                Tensor::cat(vec![class, tokens.reshape([count, hidden])], 0)
            }
            _ => class,
        };
        let projection = to_f32(weight).reshape([hidden, 3 * patch * patch]).transpose();
        VisionTransformer {
            prefix: prefix.cast(dtype),
            positions: positions.narrow(0, 1, model.grid * model.grid),
            projection: Dense { weight: projection, bias: Some(to_f32(bias)) }.cast(dtype),
            blocks: self.encoder.layer.into_iter().map(|layer| layer.fuse(&model, dtype)).collect(),
            norm: cast_norm(self.layernorm, dtype),
            pooler: self.pooler.map(|pooler| dense(pooler.dense, None).cast(dtype)),
            architecture: model,
            dtype,
        }
    }
}

impl Layer {
    fn fuse(self, model: &Architecture, dtype: DType) -> Block {
        let Attention { query, key, value, output } = self.attention;
        let (key, value) = (dense(key, None), dense(value, None));
        let mut output = dense(output, self.layer_scale1);
        // The bias of the keys adds a constant to all scores of a query, which softmax ignores. The attention weights of a
        // query sum to one, so the bias of the values can be folded into that of the output.
        if let Some(bias) = value.bias {
            let shift = bias.unsqueeze::<2>().matmul(output.weight.clone()).reshape([model.hidden]);
            output.bias = output.bias.map(|bias| bias + shift);
        }
        let key_value = Dense { weight: Tensor::cat(vec![key.weight, value.weight], 1), bias: None };
        Block {
            norm1: cast_norm(self.norm1, dtype),
            query: dense(query, None).cast(dtype),
            key_value: key_value.cast(dtype),
            heads: model.heads,
            output: output.cast(dtype),
            norm2: cast_norm(self.norm2, dtype),
            first: dense(self.mlp.fc1, None).cast(dtype),
            gating: match model.feed_forward {
                FeedForward::Mlp { activation, .. } => Gating::Activation(activation),
                FeedForward::SwiGlu { .. } => Gating::SwiGlu,
            },
            second: dense(self.mlp.fc2, self.layer_scale2).cast(dtype),
        }
    }
}

/// Converts a layer to `f32` and folds an optional layer scale into it.
fn dense(layer: Linear, scale: Option<LayerScale>) -> Dense {
    let (weight, bias) = (to_f32(layer.weight), layer.bias.map(to_f32));
    match scale.map(|scale| to_f32(scale.lambda1)) {
        Some(scale) => {
            Dense { weight: weight * scale.clone().unsqueeze(), bias: bias.map(|bias| bias * scale) }
        }
        None => Dense { weight, bias },
    }
}

fn cast_norm(mut norm: LayerNorm, dtype: DType) -> LayerNorm {
    norm.gamma = Param::from_tensor(to_f32(norm.gamma).cast(dtype));
    norm.beta = norm.beta.map(|beta| Param::from_tensor(to_f32(beta).cast(dtype)));
    norm
}
