//! Decoders as embedding models: prompts, cut embeddings, and what is refused.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use safetensors::SafeTensors;
use sail_core::TextTower;
use sail_encoders::{ModelError, ModelFolder, PromptChoice, TextOptions, load_text};
use serde_json::{Value, json};

use crate::parity::{assert_close, fixture, texts};

fn load(folder: &Path, options: &TextOptions) -> Result<TextTower, ModelError> {
    load_text(&ModelFolder::open(folder)?, options, &Device::flex())
}

fn embed(tower: &TextTower) -> Vec<f32> {
    tower.embed_texts(&texts()).unwrap().into_data().try_to_vec().unwrap()
}

fn expected(model: &str, name: &str) -> Vec<f32> {
    let bytes = fs::read(fixture(model).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(name).unwrap().data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// A copy of the small files of a model, with fields of one of them changed, and its weights.
fn changed(model: &str, file: &str, fields: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    for name in names {
        fs::copy(fixture(model).join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join(file);
    let mut config: Value =
        fs::read(&path).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
    for (field, value) in fields {
        config[*field] = value.clone();
    }
    fs::write(path, config.to_string()).unwrap();
    folder
}

#[test]
fn prompts_are_those_of_the_reference() {
    for (model, prompt) in
        [("qwen3", "query"), ("gemma3", "query"), ("gemma3", "document"), ("nv_embed", "query")]
    {
        let options =
            TextOptions { prompt: PromptChoice::Written(prompt.to_owned()), ..TextOptions::default() };
        let found = embed(&load(&fixture(model), &options).unwrap());
        let expected = expected(model, &format!("embedding.{prompt}"));
        assert_close(&found, &expected, 1e-4, &format!("{model}, {prompt}"));
    }
}

#[test]
fn cut_embeddings_are_normalized_again() {
    for (model, dim) in [("qwen3", 7), ("gemma3", 5)] {
        let options = TextOptions { truncate_dim: Some(dim), ..TextOptions::default() };
        let tower = load(&fixture(model), &options).unwrap();
        assert_close(&embed(&tower), &expected(model, "truncated"), 1e-4, model);
        let modules = tower.provenance().modules.clone();
        assert_eq!(modules[modules.len() - 2..], [json!({ "truncate": dim }), json!("normalize")]);
    }
    // Without modules that normalize.
    let folder = changed("qwen3", "config_sentence_transformers.json", &[("truncate_dim", json!(7))]);
    let cut = load(folder.path(), &TextOptions::default()).unwrap();
    let whole = TextOptions { truncate_dim: Some(16), ..TextOptions::default() };
    let whole = embed(&load(folder.path(), &whole).unwrap());
    let expected: Vec<f32> = whole.chunks(16).flat_map(|row| row[..7].to_vec()).collect();
    assert_eq!(embed(&cut), expected);
    for dim in [0, 17] {
        let options = TextOptions { truncate_dim: Some(dim), ..TextOptions::default() };
        let error = load(folder.path(), &options).err().unwrap().to_string();
        let expected =
            format!("`truncate_dim` of the model is {dim}, expected 1 to 16, the dimension of the embedding");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn latent_attention_needs_no_modules() {
    let folder = changed("nv_embed", "config.json", &[]);
    let prompt = PromptChoice::Text("Instruct: find\nQuery: ".to_owned());
    let tower = load(folder.path(), &TextOptions { prompt, ..TextOptions::default() }).unwrap();
    assert_close(&embed(&tower), &expected("nv_embed", "embedding.query"), 1e-4, "without modules");
}

#[test]
fn models_without_embeddings_are_refused_by_name() {
    let name = |class: &str| ("architectures", json!([class]));
    let refused = [
        (
            changed("bert_cls", "config.json", &[name("BertForSequenceClassification")]),
            "[\"BertForSequenceClassification\"], expected an embedding model: this is a cross-encoder or a classifier",
        ),
        (
            changed(
                "bert_cls",
                "config_sentence_transformers.json",
                &[("model_type", json!("SparseEncoder"))],
            ),
            "`model_type` of the model is \"SparseEncoder\", expected \"SentenceTransformer\"",
        ),
        (
            changed(
                "bert_cls",
                "config_sentence_transformers.json",
                &[("model_type", json!("CrossEncoder"))],
            ),
            "`model_type` of the model is \"CrossEncoder\", expected \"SentenceTransformer\"",
        ),
        (
            changed("qwen3", "config.json", &[("auto_map", json!({"AutoModel": "modeling_new.NewModel"}))]),
            "add `is_causal` to `config.json`",
        ),
    ];
    for (folder, expected) in refused {
        let error = load(folder.path(), &TextOptions::default()).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_end_of_a_text_is_appended_where_the_files_say_so() {
    let without = changed("qwen2", "tokenizer_config.json", &[("add_eos_token", json!(false))]);
    let last = |folder: &Path| {
        let tower = load(folder, &TextOptions::default()).unwrap();
        (tower.tokenizer.tokenize("a cat").unwrap().0.pop(), tower.tokenizer.describe())
    };
    let (token, described) = last(&fixture("qwen2"));
    assert!(token == Some(2) && described.contains("at most 30 tokens with </s>,"), "{described}");
    let (token, described) = last(without.path());
    assert!(
        token != Some(2) && described.contains("at most 30 tokens with no special tokens,"),
        "{described}"
    );
    for (field, value, expected) in [
        ("eos_token", json!(null), "no `eos_token`, which the model puts after every text"),
        ("eos_token", json!("<end>"), "the end token <end> is not in the vocabulary"),
    ] {
        let folder = changed("qwen2", "tokenizer_config.json", &[(field, value)]);
        let error = load(folder.path(), &TextOptions::default()).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
