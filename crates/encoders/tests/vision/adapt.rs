//! Adapters against PEFT, and blocks behind stored token states against the encoder.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::{
    AdaptedLayer, Adapter, AdapterConfig, AdapterWeights, ImagePooling, Layer, LoraConfig, LowRank, Pixels,
    Provenance, TokenBlocks, TokenLayout, VisionTower,
};
use sail_encoders::{
    Arithmetic, CropRounding, ImageProcessorConfig, ModelError, ModelFolder, Resample, VisionOptions,
    load_vision, load_vision_blocks,
};

use crate::fixtures::{Case, values};

const RANK: usize = 3;
const ALPHA: f64 = 6.0;

/// A fixture of `generate_lora.py`.
struct Fixture {
    case: Case,
    bytes: Vec<u8>,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let case = Case::new(name);
        let bytes = std::fs::read(case.folder.join("lora.safetensors")).unwrap();
        Self { case, bytes }
    }

    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let values =
            tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Tensor::from_data(TensorData::new(values, tensor.shape().to_vec()), device)
    }

    fn folder(&self) -> ModelFolder {
        ModelFolder::open(&self.case.folder).unwrap()
    }

    /// The provenance of a store of the embeddings.
    fn states(&self, layer: Layer) -> Provenance {
        let [_, _, _, side] = self.tensor::<4>("pixels", &Device::flex()).dims();
        let cells = self.case.cells(side);
        let [_, values] = self.tensor::<2>("states", &Device::flex()).dims();
        let dim = values / (1 + cells * cells);
        let tokens = Some(TokenLayout::Image { class_token: true, grid: [cells, cells], dim });
        Provenance { layer: Some(layer), tokens, ..self.folder().provenance().unwrap() }
    }

    fn blocks(&self, is_trained: bool) -> Arc<dyn TokenBlocks> {
        let states = self.states(Layer::FromEnd(3));
        load_vision_blocks(&self.folder(), &states, None, is_trained, &Device::flex()).unwrap()
    }

    /// The adapters, `A` as `[in, rank]` and `B` as `[rank, out]`.
    fn adapters(&self, layers: &[AdaptedLayer], device: &Device) -> Vec<(AdaptedLayer, LowRank)> {
        let part = |layer: &AdaptedLayer, name| {
            let part = self.tensor::<2>(&format!("{layer}.{name}"), device).transpose();
            if device.is_autodiff() { part.require_grad() } else { part }
        };
        let adapter = |layer: &AdaptedLayer| {
            (*layer, LowRank { a: part(layer, "a"), b: part(layer, "b"), scale: ALPHA / RANK as f64 })
        };
        layers.iter().map(adapter).collect()
    }

    fn tower(&self, adapter: Option<Adapter>) -> VisionTower {
        load_vision(&self.folder(), &options(adapter), &Device::flex()).unwrap()
    }

    fn pixels(&self) -> Vec<Pixels> {
        let pixels = self.tensor::<4>("pixels", &Device::flex());
        let [batch, _, height, width] = pixels.dims();
        let pixels = values(pixels);
        pixels
            .chunks(pixels.len() / batch)
            .map(|values| Pixels { size: [height, width], values: values.to_vec() })
            .collect()
    }
}

/// With pixels as they are.
fn options(adapter: Option<Adapter>) -> VisionOptions {
    let processor = ImageProcessorConfig {
        resize: None,
        resample: Resample::Bicubic,
        arithmetic: Arithmetic::default(),
        center_crop: None,
        crop_rounding: CropRounding::default(),
        fill: [0; 3],
        rescale: None,
        normalize: None,
    };
    VisionOptions { processor: Some(processor), adapter: adapter.map(Arc::new), ..VisionOptions::default() }
}

fn plain(adapters: &[(AdaptedLayer, LowRank)]) -> Adapter {
    let config = AdapterConfig {
        rank: RANK,
        alpha: ALPHA,
        layers: adapters.iter().map(|(layer, _)| *layer).collect(),
    };
    let host = |x: &Tensor<2>| values(x.clone());
    let weights = adapters.iter().map(|(_, LowRank { a, b, .. })| AdapterWeights { a: host(a), b: host(b) });
    Adapter { config, weights: weights.collect(), sha256: "ab".into() }
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    let error = found.iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error <= tolerance * scale, "{what}: error {error} at scale {scale}");
}

#[test]
fn outputs_and_gradients_match_peft_and_the_merged_encoder() {
    let device = Device::flex().autodiff();
    for name in ["dinov2", "vit"] {
        let fixture = Fixture::new(name);
        let blocks = fixture.blocks(true);
        assert_eq!(blocks.layers().len(), 12, "{name}");
        let adapters = fixture.adapters(&blocks.layers(), &device);
        let pooled = blocks.forward(fixture.tensor("states", &device), &adapters).unwrap();
        let expected = values(fixture.tensor::<2>("pooled", &Device::flex()));
        assert_close(name, &values(pooled.clone()), &expected, 1e-5);

        let gradients = (pooled * fixture.tensor("weights", &device)).sum().backward();
        for (layer, LowRank { a, b, .. }) in &adapters {
            for (part, parameter) in [("a", a), ("b", b)] {
                let found = parameter.grad(&gradients).unwrap().transpose();
                let expected = fixture.tensor::<2>(&format!("grad.{layer}.{part}"), &Device::flex());
                assert_close(&format!("{name} {layer} {part}"), &values(found), &values(expected), 2e-5);
            }
        }

        // Without a graph, in micro-batches.
        let without_graph: Vec<_> = fixture.adapters(&blocks.layers(), &Device::flex());
        let states = fixture.tensor("states", &Device::flex());
        let found = blocks.forward(states, &without_graph).unwrap();
        assert!(!found.device().is_autodiff());
        assert_close(name, &values(found), &expected, 1e-5);

        let merged = fixture.tower(Some(plain(&without_graph)));
        assert_eq!(merged.provenance().adapter.as_deref(), Some("ab"));
        assert_close(name, &values(merged.embed(&fixture.pixels()).unwrap()), &expected, 1e-5);
    }
}

#[test]
fn frozen_blocks_and_zero_updates_equal_the_encoder_byte_for_byte() {
    for name in ["dinov2", "vit"] {
        let fixture = Fixture::new(name);
        let frozen = fixture.tower(None);
        let expected = values(frozen.embed(&fixture.pixels()).unwrap());
        let stored = VisionTower { pooling: ImagePooling::Tokens, ..frozen.at_layer(Layer::FromEnd(3)) };
        let stored = VisionTower { model: fixture.states(Layer::FromEnd(3)), ..stored };
        let states = stored.embed(&fixture.pixels()).unwrap();
        let blocks = fixture.blocks(false);
        assert_eq!(values(blocks.forward(states.clone(), &[]).unwrap()), expected, "{name}");
        let found = blocks.forward(Tensor::from_inner(states), &[]).unwrap();
        assert!(found.device().is_autodiff() && values(found) == expected, "{name}");

        let mut zero = fixture.adapters(&blocks.layers(), &Device::flex());
        zero.iter_mut().for_each(|(_, update)| update.b = update.b.zeros_like());
        let merged = fixture.tower(Some(plain(&zero)));
        assert_eq!(values(merged.embed(&fixture.pixels()).unwrap()), expected, "{name}");
    }
}

#[test]
fn states_and_adapters_of_other_models_are_refused() {
    let fixture = Fixture::new("dinov2");
    let states = fixture.states(Layer::FromEnd(2));
    let error = |folder: &ModelFolder, states: &Provenance, pooling| {
        let error = load_vision_blocks(folder, states, pooling, true, &Device::flex()).err().unwrap();
        assert!(matches!(error, ModelError::Option(_)), "{error}");
        error.to_string()
    };
    let folder = fixture.folder();
    for (changed, expected) in [
        (Provenance { layer: None, ..states.clone() }, "`layer` is last, expected -2 to -3"),
        (Provenance { layer: Some(Layer::FromEnd(1)), ..states.clone() }, "`layer` is -1"),
        (Provenance { layer: Some(Layer::FromEnd(4)), ..states.clone() }, "`layer` is -4"),
        (Provenance { tokens: None, ..states.clone() }, "`tokens` is none"),
        (Provenance { weights_sha256: Some("00".into()), ..states.clone() }, "`weights_sha256` is "),
        (Provenance { adapter: Some("00".into()), ..states.clone() }, "`adapter` is set"),
    ] {
        let found = error(&folder, &changed, None);
        assert!(found.starts_with(expected), "{found}");
    }
    let layout = |class_token, dim| {
        let tokens = Some(TokenLayout::Image { class_token, grid: [4, 4], dim });
        error(&folder, &Provenance { tokens, ..states.clone() }, None)
    };
    assert!(layout(false, 24).contains("expected a class token and patches of 24 values"));
    assert!(layout(true, 23).starts_with("`tokens` is a class token and 4x4 patches of 23 values"));
    assert!(error(&folder, &states, Some(ImagePooling::Pooled)).contains("a pooled output"));
    assert!(error(&folder, &states, Some(ImagePooling::Tokens)).contains("a pooling into one row"));
    for (other, expected) in [("registers", "registers"), ("resnet", "a vision transformer")] {
        let folder = ModelFolder::open(Case::new(other).folder).unwrap();
        let found = error(&folder, &states, None);
        assert!(found.contains(expected), "{found}");
    }

    let blocks = fixture.blocks(true);
    let wrong = blocks.forward(Tensor::zeros([2, 5], &Device::flex()), &[]).unwrap_err().to_string();
    assert!(wrong.starts_with("token states has shape [2, 5], expected [batch, "), "{wrong}");
    let gate = "2:1:gate".parse::<LoraConfig>().unwrap().resolve(&blocks.layers()).unwrap_err();
    assert_eq!(gate.field, "layers");
    let adapter = plain(&fixture.adapters(&blocks.layers(), &Device::flex()));
    let refused = |name: &str, adapter: &Adapter| {
        let folder = ModelFolder::open(Case::new(name).folder).unwrap();
        load_vision(&folder, &options(Some(adapter.clone())), &Device::flex()).err().unwrap().to_string()
    };
    let found = refused("vit", &adapter);
    assert!(found.starts_with("`adapter` is blocks.0.query of 24 x 24, expected 20 x 20"), "{found}");
    assert!(refused("resnet", &adapter).starts_with("`adapter` is set, expected none"));
    let mut beyond = adapter.clone();
    beyond.config.layers[11].block = 2;
    let found = refused("dinov2", &beyond);
    assert!(found.contains("expected a layer of the 2 blocks of the encoder"), "{found}");
    let mut short = adapter;
    short.weights[0].a.pop();
    let found = refused("dinov2", &short);
    assert!(found.contains("blocks.0.query with [71, 72] values, expected [72, 72]"), "{found}");
}
