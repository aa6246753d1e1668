//! Checkpoints with other names and containers.

use std::collections::BTreeMap;

use crate::fixtures::{Case, values};
use burn::tensor::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype as StoredDtype, SafeTensors};
use sail_core::{Dtype, ImageEncoder};
use serde_json::Value;

/// All outputs for the first input of a case.
fn outputs(case: &Case, encoder: &dyn ImageEncoder) -> Vec<f32> {
    let pixels: Tensor<4> = case.expected().swap_remove(0).pixels;
    let features = encoder.encode_images(pixels).unwrap();
    let rows = [features.class_token, features.pooled].into_iter().flatten().flat_map(values);
    rows.chain(values(features.patches.unwrap().tokens)).collect()
}

/// Returns the names of a value of `names.json`.
fn parts(names: &Value) -> Vec<&str> {
    match names {
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
        name => vec![name.as_str().unwrap()],
    }
}

#[test]
fn other_spellings_are_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for case in Case::all() {
        let Ok(names) = std::fs::read(case.folder.join("names.json")) else { continue };
        let names: BTreeMap<String, Value> = serde_json::from_slice(&names).unwrap();
        let bytes = std::fs::read(case.weights()).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut renamed = BTreeMap::new();
        for (name, tensor) in file.iter() {
            assert_eq!(tensor.dtype(), StoredDtype::F32);
            let names = parts(&names[name]);
            let mut shape = tensor.shape().to_vec();
            if names.len() > 1 {
                shape[0] /= names.len();
            }
            let bytes = tensor.data().chunks_exact(tensor.data().len() / names.len());
            for (name, bytes) in names.into_iter().zip(bytes) {
                let view = TensorView::new(StoredDtype::F32, shape.clone(), bytes).unwrap();
                renamed.insert(name.to_owned(), view);
            }
        }
        let path = folder.path().join(format!("{}.safetensors", case.name));
        safetensors::serialize_to_file(renamed, None, &path).unwrap();
        let other =
            sail_encoders::load_image_encoder(&case.config(), &path, Dtype::F32, &Device::flex()).unwrap();
        assert_eq!(outputs(&case, &*other), outputs(&case, &*case.encoder(Dtype::F32)), "{}", case.name);
        seen += 1;
    }
    assert_eq!(seen, 12);
}

#[test]
fn sizes_of_original_files_are_those_of_the_tensors() {
    for name in ["dino_original", "dino_training", "ibot_training", "mae_original", "ijepa_original"] {
        let case = Case::new(name);
        let config: Value = serde_json::from_str(&case.config()).unwrap();
        // Heads of 64 features do not divide this width.
        let bare = serde_json::json!({ "model_type": config["model_type"] });
        let error = case.load(&bare.to_string(), Dtype::F32).err().unwrap().to_string();
        assert!(error.contains("num_attention_heads"), "{name}: {error}");
        let mut bare = bare;
        bare["num_attention_heads"] = config["num_attention_heads"].clone();
        let encoder = case.load(&bare.to_string(), Dtype::F32).unwrap();
        assert_eq!(outputs(&case, &*encoder), outputs(&case, &*case.encoder(Dtype::F32)), "{name}");
    }
}
