//! Heads with adapters of an encoder: the file, the graph, and blocks in front of a side.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use safetensors::SafeTensors;
use sail_core::{
    AdaptedLayer, Adapter, AdapterConfig, AlignmentHead, EncodeError, HeadError, LoraLayer, LowRank,
    Provenance, Side, TokenBlocks, TowerError,
};
use sail_layers::{Head, HeadConfig, ProjectorConfig};

/// Two layers of one block as an encoder: `tanh(x W + update) V + update`, of rows of two tokens whose mean is pooled.
#[derive(Debug)]
struct TwoLayers {
    weights: [Tensor<2>; 2],
    provenance: Provenance,
}

const TOKENS: usize = 2;
const WIDTH: usize = 5;

impl TwoLayers {
    fn new() -> Self {
        let random = |_| Tensor::random([WIDTH, WIDTH], Distribution::Default, &Device::flex());
        Self { weights: [0, 1].map(random), provenance: Provenance::new("two-layers") }
    }
}

impl TokenBlocks for TwoLayers {
    fn row_values(&self) -> usize {
        TOKENS * WIDTH
    }

    fn dim(&self) -> usize {
        WIDTH
    }

    fn layers(&self) -> Vec<AdaptedLayer> {
        [LoraLayer::Up, LoraLayer::Down]
            .map(|layer| AdaptedLayer { block: 3, layer, inputs: WIDTH, outputs: WIDTH })
            .into()
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn pooled_provenance(&self) -> Provenance {
        Provenance { pooling: Some("mean".into()), ..self.provenance.clone() }
    }

    fn forward(
        &self,
        states: Tensor<2>,
        adapters: &[(AdaptedLayer, LowRank)],
    ) -> Result<Tensor<2>, TowerError> {
        let [batch, values] = states.dims();
        if values != TOKENS * WIDTH {
            let expected = "two tokens".to_owned();
            return Err(
                EncodeError::Shape { what: "token states", found: vec![batch, values], expected }.into()
            );
        }
        let has_graph = states.device().is_autodiff();
        let layer = |index: usize, x: Tensor<2>| {
            let weight = self.weights[index].clone();
            let weight = if has_graph { Tensor::from_inner(weight) } else { weight };
            let update = adapters.iter().find(|(layer, _)| *layer == self.layers()[index]);
            let update = update.map_or(x.zeros_like(), |(_, update)| update.forward(x.clone()));
            x.matmul(weight) + update
        };
        let states = layer(1, layer(0, states.reshape([batch * TOKENS, WIDTH])).tanh());
        Ok(states.reshape([batch, TOKENS, WIDTH]).mean_dim(1).reshape([batch, WIDTH]))
    }

    fn activations(&self) -> usize {
        1000
    }
}

fn adapter(rank: usize) -> AdapterConfig {
    AdapterConfig { rank, alpha: 4.0, layers: TwoLayers::new().layers() }
}

fn head(config: Option<AdapterConfig>) -> Head {
    let head =
        Head::new(&HeadConfig::new(WIDTH, 4, 3, ProjectorConfig::Linear {}), 0, &Device::flex()).unwrap();
    head.with_blocks(Side::Image, Arc::new(TwoLayers::new()), config, 0).unwrap()
}

#[test]
fn adapters_are_part_of_the_head_and_of_its_file() {
    let plain =
        Head::new(&HeadConfig::new(WIDTH, 4, 3, ProjectorConfig::Linear {}), 0, &Device::flex()).unwrap();
    let head = head(Some(adapter(2)));
    assert_eq!(head.num_params(), plain.num_params() + 2 * 2 * (WIDTH + WIDTH));
    let bytes = head.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape =
        |name: &str| file.tensor(&format!("image.adapter.layers.{name}.weight")).unwrap().shape().to_vec();
    // As PEFT: `[rank, in]` and `[out, rank]`.
    assert_eq!((shape("0.lora_a"), shape("1.lora_b")), (vec![2, WIDTH], vec![WIDTH, 2]));

    let loaded = Head::from_bytes(bytes.clone(), &Device::flex()).unwrap();
    assert_eq!(loaded.to_bytes().unwrap(), bytes);
    let Adapter { config, weights, sha256 } = loaded.adapter(Side::Image).unwrap().unwrap();
    assert_eq!(config, adapter(2));
    assert!(
        weights.iter().all(|update| update.b.iter().all(|x| *x == 0.0) && update.a.iter().any(|x| *x != 0.0))
    );
    assert!(weights[0].a != weights[1].a && loaded.adapter(Side::Text).unwrap().is_none());
    // It takes the features of the encoder with the adapters, and no others.
    assert_eq!(loaded.project_images(Tensor::zeros([1, WIDTH], &Device::flex())).unwrap().dims(), [1, 3]);
    let adapted = Provenance { adapter: Some(sha256), ..TwoLayers::new().pooled_provenance() };
    loaded.accepts(Side::Image, WIDTH, Some(&adapted)).unwrap();
    let error = loaded.accepts(Side::Image, WIDTH, Some(&TwoLayers::new().pooled_provenance())).unwrap_err();
    let HeadError::Provenance { contradiction, .. } = error else { panic!("{error}") };
    assert_eq!(contradiction.field, "adapter");

    // The other weights are those of a head without adapters.
    let without = self::head(None).to_bytes().unwrap();
    let file = SafeTensors::deserialize(&without).unwrap();
    let own = SafeTensors::deserialize(&bytes).unwrap();
    for (name, tensor) in file.iter() {
        assert_eq!(own.tensor(name).unwrap().data(), tensor.data(), "{name}");
    }
}

#[test]
fn a_changed_file_is_refused() {
    let mut bytes = head(Some(adapter(2))).to_bytes().unwrap();
    let position = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor("image.adapter.layers.0.lora_a.weight").unwrap().data();
        data.as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[position] ^= 1;
    let error = Head::from_bytes(bytes, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("their SHA-256 differs"), "{error}");

    let config = HeadConfig::new(WIDTH, 4, 3, ProjectorConfig::Linear {});
    let with = |adapter| {
        let mut config = config.clone();
        config.image.as_mut().unwrap().adapter = Some(adapter);
        Head::new(&config, 0, &Device::flex()).unwrap_err().to_string()
    };
    assert!(with(adapter(6)).starts_with("`rank` is 6, expected 1 to 5"));
    assert!(with(AdapterConfig { layers: vec![], ..adapter(1) }).starts_with("`layers` is 0"));
    let mut twice = adapter(1);
    twice.layers[1] = twice.layers[0];
    assert!(with(twice).contains("each layer once"));
    let mut huge = adapter(1);
    huge.layers[0].inputs = usize::MAX;
    assert!(with(huge).starts_with("`layers` is 18446744073709551615"));
}

/// The parameters with a gradient other than zero.
struct WithGradient<'a>(&'a GradientsParams, usize);

impl ModuleVisitor for WithGradient<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let sum = self.0.get::<D>(param.id).map(|gradient| gradient.abs().sum().into_scalar::<f32>());
        self.1 += usize::from(sum.is_some_and(|sum| sum > 0.0));
    }
}

#[test]
fn gradients_reach_the_adapters() {
    let trained = head(Some(adapter(2))).fork(&Device::flex().autodiff()).train();
    let states = Tensor::<2>::random([3, TOKENS * WIDTH], Distribution::Default, &Device::flex());
    let loss = trained.project_images(Tensor::from_inner(states.clone())).unwrap().powi_scalar(2).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &trained);
    let mut found = WithGradient(&gradients, 0);
    trained.visit(&mut found);
    // Weight and bias of norm and projector, and the two `B`; `A` has none while `B` is zero.
    assert_eq!(found.1, 6);

    // Updates of zero change nothing.
    let [adapted, frozen] = [Some(adapter(2)), None].map(|config| {
        let head =
            Head::new(&HeadConfig::new(WIDTH, 4, 3, ProjectorConfig::Linear {}), 0, &Device::flex()).unwrap();
        let blocks = TwoLayers {
            weights: [Tensor::eye(WIDTH, &Device::flex()), Tensor::eye(WIDTH, &Device::flex())],
            ..TwoLayers::new()
        };
        let head = head.with_blocks(Side::Image, Arc::new(blocks), config, 0).unwrap();
        head.project_images(states.clone()).unwrap().into_data().try_to_vec::<f32>().unwrap()
    });
    assert_eq!(adapted, frozen);
}

#[test]
fn blocks_that_do_not_fit_are_refused() {
    let blocks = || Arc::new(TwoLayers::new());
    let config = HeadConfig::new(WIDTH, 4, 3, ProjectorConfig::Linear {});
    let refused = |head: Head, side, adapter| head.with_blocks(side, blocks(), adapter, 0).unwrap_err();
    let plain = || Head::new(&config, 0, &Device::flex()).unwrap();
    assert!(matches!(refused(plain(), Side::Text, None), HeadError::Dimension { found: 5, expected: 4, .. }));
    let images_only = Head::new(&HeadConfig { text: None, ..config.clone() }, 0, &Device::flex()).unwrap();
    assert!(matches!(refused(images_only, Side::Text, None), HeadError::MissingSide { .. }));
    let other = plain().with_provenance(Some(&Provenance::new("another")), None);
    assert!(matches!(refused(other, Side::Image, None), HeadError::Provenance { .. }));

    // A training continues from its own updates only.
    let saved = Head::from_bytes(head(Some(adapter(2))).to_bytes().unwrap(), &Device::flex()).unwrap();
    let values = saved.adapter(Side::Image).unwrap();
    let continued = saved.clone().with_blocks(Side::Image, blocks(), Some(adapter(2)), 7).unwrap();
    assert_eq!(continued.adapter(Side::Image).unwrap(), values);
    for other in [None, Some(adapter(3))] {
        let error = refused(saved.clone(), Side::Image, other);
        assert!(matches!(&error, HeadError::Config(error) if error.field == "adapter"), "{error}");
    }
    let translation = saved.with_translated_images(vec![0.0; 2 * WIDTH], vec![0.0; WIDTH], None).unwrap_err();
    assert!(matches!(translation, HeadError::Config(_)));

    let error = head(None).project_images(Tensor::zeros([2, WIDTH], &Device::flex())).unwrap_err();
    assert!(matches!(error, HeadError::Dimension { found: 5, expected: 10, .. }));
}
