//! Blocks of random specifications against plain loops in `f64`.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};

use super::{Activation, Attend, Block, Rotary};
use crate::pretrained::{Checkpoint, WeightMap};
use crate::spec::*;

const TOKENS: usize = 5;
const BATCH: usize = 2;

type Matrix = Vec<Vec<f64>>;

/// Tensors by name, with their shapes.
#[derive(Default)]
struct Parameters(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Parameters {
    fn add(&mut self, name: String, shape: &[usize], seed: &mut u64, center: f32) {
        let values = (0..shape.iter().product()).map(|_| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            center + ((*seed >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.9
        });
        self.0.insert(name, (shape.to_vec(), values.collect()));
    }

    fn linear(&mut self, name: &str, [input, output]: [usize; 2], bias: bool, seed: &mut u64) {
        self.add(format!("{name}.weight"), &[output, input], seed, 0.0);
        if bias {
            self.add(format!("{name}.bias"), &[output], seed, 0.0);
        }
    }

    fn norm(&mut self, name: &str, width: usize, spec: NormSpec, seed: &mut u64) {
        self.add(format!("{name}.weight"), &[width], seed, 1.0);
        if spec.bias {
            self.add(format!("{name}.bias"), &[width], seed, 0.0);
        }
    }

    fn of(spec: &BlockSpec, mut seed: u64) -> Self {
        let (mut all, seed, width) = (Self::default(), &mut seed, spec.width);
        let AttentionSpec { heads, key_value_heads, head_width, biases, .. } = spec.attention;
        let (queries, keys) = (heads * head_width, key_value_heads * head_width);
        all.linear("b.attention.query", [width, queries], biases.query, seed);
        all.linear("b.attention.key", [width, keys], biases.key, seed);
        all.linear("b.attention.value", [width, keys], biases.value, seed);
        all.linear("b.attention.output", [queries, width], biases.output, seed);
        if let Some(norm) = spec.attention.query_key_norm {
            all.norm("b.attention.query_norm", head_width, norm, seed);
            all.norm("b.attention.key_norm", head_width, norm, seed);
        }
        if let Some(norm) = spec.attention.inner_norm {
            all.norm("b.attention.norm", queries, norm, seed);
        }
        let inner = spec.feed_forward.width;
        all.linear("b.mlp.up", [width, inner], spec.feed_forward.bias_in, seed);
        if spec.feed_forward.gated {
            all.linear("b.mlp.gate", [width, inner], spec.feed_forward.bias_in, seed);
        }
        all.linear("b.mlp.down", [inner, width], spec.feed_forward.bias_out, seed);
        if let Some(norm) = spec.feed_forward.inner_norm {
            all.norm("b.mlp.norm", inner, norm, seed);
        }
        if spec.attention_norm {
            all.norm("b.norm1", width, spec.norm, seed);
        }
        all.norm("b.norm2", width, spec.norm, seed);
        if spec.order == Order::Sandwich {
            all.norm("b.post_norm1", width, spec.norm, seed);
            all.norm("b.post_norm2", width, spec.norm, seed);
        }
        if spec.layer_scale {
            all.add("b.scale1".into(), &[width], seed, 1.0);
            all.add("b.scale2".into(), &[width], seed, 1.0);
        }
        all
    }

    fn load(&self, spec: &BlockSpec) -> Block {
        let bytes: BTreeMap<&String, Vec<u8>> = self
            .0
            .iter()
            .map(|(name, (_, values))| (name, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let views = self.0.iter().map(|(name, (shape, _))| {
            (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap())
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let mut weights = checkpoint.weights(&WeightMap::default(), DType::F32, &Device::flex());
        let block = Block::load(&mut weights, "b", spec);
        weights.finish().unwrap();
        block
    }

    fn vector(&self, name: &str) -> Option<Vec<f64>> {
        self.0.get(name).map(|(_, values)| values.iter().map(|x| f64::from(*x)).collect())
    }

    fn apply_linear(&self, name: &str, x: &Matrix) -> Matrix {
        let weight = self.vector(&format!("{name}.weight")).unwrap();
        let input = x[0].len();
        let bias = self.vector(&format!("{name}.bias")).unwrap_or(vec![0.0; weight.len() / input]);
        let row = |x: &Vec<f64>| {
            let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            weight.chunks(input).zip(&bias).map(|(row, bias)| dot(row) + bias).collect()
        };
        x.iter().map(row).collect()
    }

    fn apply_norm(&self, name: &str, spec: NormSpec, x: &[f64]) -> Vec<f64> {
        let weight = self.vector(&format!("{name}.weight")).unwrap();
        let bias = self.vector(&format!("{name}.bias")).unwrap_or(vec![0.0; x.len()]);
        let count = x.len() as f64;
        let mean = if spec.kind == NormKind::Layer { x.iter().sum::<f64>() / count } else { 0.0 };
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let one = if spec.kind == NormKind::RmsPlusOne { 1.0 } else { 0.0 };
        let values = x.iter().zip(weight).zip(bias);
        values.map(|((x, w), b)| (x - mean) / (variance + spec.epsilon).sqrt() * (w + one) + b).collect()
    }

    fn norms(&self, name: &str, spec: NormSpec, x: &Matrix) -> Matrix {
        x.iter().map(|x| self.apply_norm(name, spec, x)).collect()
    }

    fn attention(&self, spec: &AttentionSpec, x: &Matrix) -> Matrix {
        let width = spec.head_width;
        let project = |part: &str, norm: Option<&str>| -> Vec<Matrix> {
            let heads = self.apply_linear(&format!("b.attention.{part}"), x);
            let head = |(position, row): (usize, &Vec<f64>)| {
                let head = |head: &[f64]| {
                    let Some(norm) = norm else { return head.to_vec() };
                    let head = match spec.query_key_norm {
                        Some(spec) => self.apply_norm(&format!("b.attention.{norm}"), spec, head),
                        None => head.to_vec(),
                    };
                    match spec.rotary {
                        Some(rotary) => turn(&rotary, &head, position),
                        None => head,
                    }
                };
                row.chunks(width).map(head).collect()
            };
            heads.iter().enumerate().map(head).collect()
        };
        let (query, key) = (project("query", Some("query_norm")), project("key", Some("key_norm")));
        let value = project("value", None);
        let group = spec.heads / spec.key_value_heads;
        let scale = spec.scale.unwrap_or(1.0 / (width as f64).sqrt());
        let row = |i: usize| -> Vec<f64> {
            let head = |head: usize| {
                let keys: Vec<usize> = (0..TOKENS).filter(|j| visible(spec, i, *j)).collect();
                let dot = |j: &usize| -> f64 {
                    query[i][head].iter().zip(&key[*j][head / group]).map(|(q, k)| q * k).sum()
                };
                let scores: Vec<f64> = keys.iter().map(|j| (dot(j) * scale).exp()).collect();
                let sum: f64 = scores.iter().sum();
                (0..width)
                    .map(|d| {
                        keys.iter()
                            .zip(&scores)
                            .map(|(j, s)| s / sum * value[*j][head / group][d])
                            .sum::<f64>()
                    })
                    .collect::<Vec<_>>()
            };
            (0..spec.heads).flat_map(head).collect()
        };
        let context: Matrix = (0..TOKENS).map(row).collect();
        let context = match spec.inner_norm {
            Some(norm) => self.norms("b.attention.norm", norm, &context),
            None => context,
        };
        self.apply_linear("b.attention.output", &context)
    }

    fn feed_forward(&self, spec: &FeedForwardSpec, x: &Matrix) -> Matrix {
        let mut inner = self.apply_linear("b.mlp.up", x);
        if spec.gated {
            let gate = self.apply_linear("b.mlp.gate", x);
            inner
                .iter_mut()
                .flatten()
                .zip(gate.iter().flatten())
                .for_each(|(x, g)| *x *= activate(spec.activation, *g));
        } else {
            inner.iter_mut().flatten().for_each(|x| *x = activate(spec.activation, *x));
        }
        let inner = match spec.inner_norm {
            Some(norm) => self.norms("b.mlp.norm", norm, &inner),
            None => inner,
        };
        self.apply_linear("b.mlp.down", &inner)
    }

    fn block(&self, spec: &BlockSpec, x: Matrix) -> Matrix {
        let x = self.residual(spec, 1, x, |x| self.attention(&spec.attention, x));
        self.residual(spec, 2, x, |x| self.feed_forward(&spec.feed_forward, x))
    }

    fn residual(&self, spec: &BlockSpec, part: usize, x: Matrix, f: impl Fn(&Matrix) -> Matrix) -> Matrix {
        let norm = |name: &str, x: &Matrix| {
            let name = format!("b.{name}{part}");
            if self.0.contains_key(&format!("{name}.weight")) {
                self.norms(&name, spec.norm, x)
            } else {
                x.clone()
            }
        };
        let scale = self.vector(&format!("b.scale{part}")).unwrap_or(vec![1.0; spec.width]);
        let add = |y: Matrix| -> Matrix {
            let row = |(y, x): (Vec<f64>, &Vec<f64>)| {
                y.iter().zip(&scale).zip(x).map(|((y, scale), x)| y * scale + x).collect()
            };
            y.into_iter().zip(&x).map(row).collect()
        };
        match spec.order {
            Order::Pre => add(f(&norm("norm", &x))),
            Order::Post => norm("norm", &add(f(&x))),
            Order::Sandwich => add(norm("post_norm", &f(&norm("norm", &x)))),
            Order::ResidualPost => add(norm("norm", &f(&x))),
        }
    }
}

fn visible(spec: &AttentionSpec, query: usize, key: usize) -> bool {
    (!spec.causal || key <= query) && spec.window.is_none_or(|window| query.abs_diff(key) <= window)
}

fn activate(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Silu => x * sigmoid(x),
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Relu => x.max(0.0),
        _ => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
    }
}

fn turn(spec: &RotarySpec, head: &[f64], position: usize) -> Vec<f64> {
    let half = head.len() / 2;
    let mut turned = head.to_vec();
    for i in 0..half {
        let (a, b) = match spec.pairs {
            Pairs::Halves => (i, i + half),
            Pairs::Neighbors => (2 * i, 2 * i + 1),
        };
        let angle = position as f64 * spec.theta.powf(-2.0 * i as f64 / head.len() as f64);
        turned[a] = head[a] * angle.cos() - head[b] * angle.sin();
        turned[b] = head[b] * angle.cos() + head[a] * angle.sin();
    }
    turned
}

fn norm_spec() -> impl Strategy<Value = NormSpec> {
    let kinds = prop_oneof![Just(NormKind::Layer), Just(NormKind::Rms), Just(NormKind::RmsPlusOne)];
    (kinds, any::<bool>()).prop_map(|(kind, bias)| NormSpec {
        kind,
        epsilon: 1e-5,
        bias: bias && kind == NormKind::Layer,
    })
}

fn attention_spec() -> impl Strategy<Value = AttentionSpec> {
    let sizes = (1..=2_usize, 1..=3_usize, 1..=3_usize);
    let biases = any::<[bool; 4]>();
    let norms = (prop::option::of(norm_spec()), prop::option::of(norm_spec()));
    let pairs = prop_oneof![Just(Pairs::Halves), Just(Pairs::Neighbors)];
    let rotary = pairs.prop_map(|pairs| RotarySpec { theta: 50.0, scaling: Scaling::None, pairs });
    let reach = (any::<bool>(), prop::option::of(0..4_usize), prop::option::of(Just(0.7)));
    (sizes, biases, norms, prop::option::of(rotary), reach).prop_map(
        |(
            (key_value_heads, group, half),
            [query, key, value, output],
            norms,
            rotary,
            (causal, window, scale),
        )| {
            AttentionSpec {
                heads: key_value_heads * group,
                key_value_heads,
                head_width: 2 * half,
                biases: Biases { query, key, value, output },
                query_key_norm: norms.0,
                inner_norm: norms.1,
                scale,
                causal,
                window,
                rotary,
            }
        },
    )
}

fn block_spec() -> impl Strategy<Value = BlockSpec> {
    let activations =
        [Activation::Silu, Activation::QuickGelu, Activation::Relu, Activation::GeluTanh].map(Just);
    let feed_forward = (
        1..8_usize,
        prop::sample::select(activations.map(|Just(x)| x).to_vec()),
        any::<[bool; 3]>(),
        prop::option::of(norm_spec()),
    );
    let orders = vec![Order::Pre, Order::Post, Order::Sandwich, Order::ResidualPost];
    (
        attention_spec(),
        feed_forward,
        prop::sample::select(orders),
        norm_spec(),
        2..7_usize,
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(
                attention,
                (width, activation, [gated, bias_in, bias_out], inner_norm),
                order,
                norm,
                outer,
                [attention_norm, layer_scale],
            )| {
                BlockSpec {
                    width: outer,
                    attention,
                    feed_forward: FeedForwardSpec { width, activation, gated, bias_in, bias_out, inner_norm },
                    order,
                    norm,
                    attention_norm,
                    layer_scale,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn plain_and_fused_blocks_match_loops(spec in block_spec(), seed in any::<u64>()) {
        let parameters = Parameters::of(&spec, seed);
        let mut inputs = Parameters::default();
        inputs.add("x".into(), &[BATCH * TOKENS, spec.width], &mut (seed ^ 1), 0.0);
        let x = inputs.0.remove("x").unwrap().1;
        let rows: Matrix = x.chunks(spec.width).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
        let expected: Vec<f64> =
            rows.chunks(TOKENS).flat_map(|x| parameters.block(&spec, x.to_vec())).flatten().collect();

        let device = Device::flex();
        let hidden: Vec<bool> = (0..TOKENS)
            .flat_map(|i| (0..TOKENS).map(move |j| (i, j)))
            .map(|(i, j)| !visible(&spec.attention, i, j))
            .collect();
        let mask = Tensor::from_data(TensorData::new(hidden, [1, 1, TOKENS, TOKENS]), &device);
        let rotary = spec.attention.rotary.map(|rotary| Rotary::of_text(&rotary, spec.attention.head_width, TOKENS, &device));
        let attend = Attend { mask: Some(mask), bias: None, rotary };
        let block = parameters.load(&spec);
        let fused = block.clone().fuse(&spec, DType::F32);
        let x = Tensor::<2>::from_data(TensorData::new(x, [BATCH * TOKENS, spec.width]), &device);
        let scale = expected.iter().fold(1.0_f64, |scale, x| scale.max(x.abs()));
        for (name, block) in [("plain", block), ("fused", fused)] {
            let found = block.forward(x.clone(), BATCH, &attend).into_data().try_to_vec::<f32>().unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 2e-4 * scale, "{name}: {found}, {expected}");
            }
        }
    }
}
