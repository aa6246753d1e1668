//! The parameters as a checkpoint stores them, and how they become the ones that the forward pass uses.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, FloatDType, Tensor};

use super::VisionTransformer;
use super::block::{Block, Mixer};
use super::config::{Architecture, FeedForward};
use super::dense::Dense;
use crate::pretrained::{ModelError, Names, Weights};
use crate::vision::parameter::{wide, zeros};

/// One naming for all families: the hub's of DINOv2, which is the nearest to the code.
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

/// A convolution whose stride is its kernel: a linear layer on patches.
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
    /// Reads the parameters. Until then none of them takes memory, whatever size the configuration declares.
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

    /// Fuses what is linear and casts to the precision of the forward pass.
    pub(super) fn fuse(self, model: Architecture, precision: FloatDType) -> VisionTransformer {
        let Embeddings { cls_token, register_tokens, position_embeddings, patch_embeddings } =
            self.embeddings;
        let Projection { weight, bias } = patch_embeddings.projection;
        let (hidden, patch) = (model.hidden, model.patch);
        // The class token has a position of its own, registers have none.
        let positions = wide(position_embeddings).reshape([model.grid * model.grid + 1, hidden]);
        let class = wide(cls_token).reshape([1, hidden]) + positions.clone().narrow(0, 0, 1);
        let prefix = match register_tokens.map(wide) {
            Some(tokens) if tokens.dims()[1] > 0 => {
                let count = tokens.dims()[1];
                Tensor::cat(vec![class, tokens.reshape([count, hidden])], 0)
            }
            _ => class,
        };
        let projection = wide(weight).reshape([hidden, 3 * patch * patch]).transpose();
        VisionTransformer {
            prefix: prefix.cast(precision),
            positions: positions.narrow(0, 1, model.grid * model.grid),
            projection: Dense { weight: projection, bias: Some(wide(bias)) }.cast(precision),
            blocks: self.encoder.layer.into_iter().map(|layer| layer.fuse(&model, precision)).collect(),
            norm: cast_norm(self.layernorm, precision),
            pooler: self.pooler.map(|pooler| dense(pooler.dense, None).cast(precision)),
            model,
            precision,
        }
    }
}

impl Layer {
    fn fuse(self, model: &Architecture, precision: FloatDType) -> Block {
        let Attention { query, key, value, output } = self.attention;
        let (key, value) = (dense(key, None), dense(value, None));
        let mut output = dense(output, self.layer_scale1);
        // Softmax does not see what all scores of a row share, so a bias of the keys has no effect; its rows add
        // up to one, so a bias of the values is a bias of the output.
        if let Some(bias) = value.bias {
            let shift = bias.unsqueeze::<2>().matmul(output.weight.clone()).reshape([model.hidden]);
            output.bias = output.bias.map(|bias| bias + shift);
        }
        let key_value = Dense { weight: Tensor::cat(vec![key.weight, value.weight], 1), bias: None };
        Block {
            norm1: cast_norm(self.norm1, precision),
            query: dense(query, None).cast(precision),
            key_value: key_value.cast(precision),
            heads: model.heads,
            output: output.cast(precision),
            norm2: cast_norm(self.norm2, precision),
            first: dense(self.mlp.fc1, None).cast(precision),
            mixer: match model.feed_forward {
                FeedForward::Mlp { activation, .. } => Mixer::Activation(activation),
                FeedForward::SwiGlu { .. } => Mixer::SwiGlu,
            },
            second: dense(self.mlp.fc2, self.layer_scale2).cast(precision),
        }
    }
}

/// A layer in 32-bit floats, its output multiplied by a scale, one factor a channel, where there is one.
fn dense(layer: Linear, scale: Option<LayerScale>) -> Dense {
    let (weight, bias) = (wide(layer.weight), layer.bias.map(wide));
    match scale.map(|scale| wide(scale.lambda1)) {
        Some(scale) => {
            Dense { weight: weight * scale.clone().unsqueeze(), bias: bias.map(|bias| bias * scale) }
        }
        None => Dense { weight, bias },
    }
}

fn cast_norm(mut norm: LayerNorm, precision: FloatDType) -> LayerNorm {
    norm.gamma = Param::from_tensor(wide(norm.gamma).cast(precision));
    norm.beta = norm.beta.map(|beta| Param::from_tensor(wide(beta).cast(precision)));
    norm
}
