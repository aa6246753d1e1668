//! Text towers of OpenCLIP, from `fixtures/vision/generate_open_clip.py`.

use std::path::Path;

use burn::tensor::Device;
use safetensors::SafeTensors;
use sail_core::{Dtype, TextPooling};

use crate::open_text_tower;
use crate::parity::assert_close;

#[derive(serde::Deserialize)]
struct Texts {
    texts: Vec<String>,
    /// Padded to the context length.
    ids: Vec<Vec<u32>>,
}

#[test]
fn texts_of_open_clip_match_the_reference() {
    let names = [
        "open_clip",
        "open_clip_options",
        "open_clip_timm",
        "open_clip_timm_projection",
        "open_clip_timm_classifier",
    ];
    for name in names {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision").join(name);
        let tower = open_text_tower(&folder, Dtype::F32, &Device::flex()).unwrap();
        assert_eq!(tower.pooling, TextPooling::Pooled);
        let Texts { texts, ids } =
            serde_json::from_slice(&std::fs::read(folder.join("text.json")).unwrap()).unwrap();
        for (text, ids) in texts.iter().zip(&ids) {
            let found = tower.tokenizer.tokenize(text).unwrap().0;
            // Causal towers do not see padding.
            let (found_end, end) = (found.len(), ids.len());
            let length = if name == "open_clip_timm" { end } else { found_end };
            assert_eq!(found, ids[..length], "{name}: {text:?}");
            assert!(ids[length..].iter().all(|id| *id == 0), "{name}: {text:?}");
        }
        let bytes = std::fs::read(folder.join("text.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let pooled = file.tensor("pooled").unwrap();
        let pooled: Vec<f32> =
            pooled.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let embed =
            |texts: &[String]| tower.embed_texts(texts).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_close(&embed(&texts), &pooled, 1e-4, name);
        for (text, pooled) in texts.iter().zip(pooled.chunks(pooled.len() / texts.len())) {
            assert_close(&embed(std::slice::from_ref(text)), pooled, 1e-4, &format!("{name}: {text:?}"));
        }
    }
}

/// The authors' files of Perception Encoder have the same text tower under the same names.
#[test]
fn texts_of_perception_encoder_match_open_clip() {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision/open_clip_timm_projection");
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(source.join(from), folder.path().join(to)).unwrap();
    copy("open_clip_model.safetensors", "model.safetensors");
    copy("tokenizer.json", "tokenizer.json");
    let config = r#"{"model_type": "perception_encoder", "text_heads": 2}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let tower = open_text_tower(folder.path(), Dtype::F32, &Device::flex()).unwrap();
    assert_eq!(tower.pooling, TextPooling::Pooled);
    let Texts { texts, .. } =
        serde_json::from_slice(&std::fs::read(source.join("text.json")).unwrap()).unwrap();
    let bytes = std::fs::read(source.join("text.safetensors")).unwrap();
    let pooled = SafeTensors::deserialize(&bytes).unwrap();
    let pooled = pooled.tensor("pooled").unwrap();
    let pooled: Vec<f32> =
        pooled.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let found = tower.embed_texts(&texts).unwrap().into_data().try_to_vec::<f32>().unwrap();
    assert_close(&found, &pooled, 1e-4, "perception encoder");

    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "perception_encoder"}"#).unwrap();
    let error = open_text_tower(folder.path(), Dtype::F32, &Device::flex()).map(drop);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`text_heads` of the model is missing, expected an integer"), "{error}");
}
