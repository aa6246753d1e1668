//! Model folders.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use sail_encoders::{ModelError, ModelFolder, ModelSpec};
use sail_hub::HubOptions;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pretrained");

/// Creates a folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn error(files: &[(&str, &[u8])]) -> String {
    ModelFolder::open(folder(files).path()).unwrap_err().to_string()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

const CONFIG: (&str, &[u8]) = ("config.json", br#"{"model_type": "tiny", "hidden_size": 6}"#);

#[test]
fn opens_a_folder() {
    let path = folder(&[CONFIG, ("model.safetensors", b"weights"), ("extra.json", b"[1, NaN]")]);
    let model = ModelFolder::open(path.path()).unwrap();
    assert_eq!(model.name(), path.path().file_name().unwrap().to_str().unwrap());
    assert_eq!((model.revision(), model.path()), (None, path.path()));
    assert_eq!(model.model_type().unwrap(), "tiny");
    assert_eq!(model.config()["hidden_size"], 6);
    assert_eq!(model.json("extra.json").unwrap(), Some(json!([1, null])));
    assert_eq!(model.json("tokenizer_config.json").unwrap(), None);
    let provenance = model.provenance().unwrap();
    assert_eq!(provenance.weights_sha256.as_deref(), Some(sha256(b"weights").as_str()));
    assert_eq!((provenance.processor, provenance.pooling), (None, None));
}

#[test]
fn hashes_shards_in_the_order_of_their_names() {
    let model = ModelFolder::open(indexed().path()).unwrap_err();
    assert!(matches!(model, ModelError::Io { .. }), "a shard is missing: {model}");
    let path = indexed();
    for name in ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"] {
        std::fs::copy(Path::new(FIXTURES).join(name), path.path().join(name)).unwrap();
    }
    let model = ModelFolder::open(path.path()).unwrap();
    let bytes: Vec<u8> = model.weight_files().iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(model.weight_files()[0].ends_with("model-00001-of-00002.safetensors"));
    assert_eq!((model.weight_files().len(), model.weights_sha256().unwrap()), (2, sha256(&bytes)));
}

fn indexed() -> TempDir {
    let index = std::fs::read(Path::new(FIXTURES).join("model.safetensors.index.json")).unwrap();
    folder(&[CONFIG, ("model.safetensors.index.json", &index)])
}

#[test]
fn takes_id_and_commit_from_a_path_in_the_cache() {
    let root = tempfile::tempdir().unwrap();
    for (repository, id) in [("models--org--a-name", "org/a-name"), ("models--name", "name")] {
        let path = root.path().join(repository).join("snapshots/0123abcd");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("config.json"), "{}").unwrap();
        std::fs::write(path.join("tiny.pt"), "").unwrap();
        let model = ModelFolder::open(&path).unwrap();
        assert_eq!((model.name(), model.revision()), (id, Some("0123abcd")));
        // Also if the path is not normalized.
        let path = path.join("../0123abcd/.");
        assert_eq!(ModelFolder::open(path).unwrap().name(), id);
    }
}

#[test]
fn rejects_invalid_folders() {
    let weights: (&str, &[u8]) = ("model.safetensors", b"");
    assert!(
        error(&[weights]).ends_with("has no configuration: looked for config.json, open_clip_config.json")
    );
    let none = error(&[CONFIG]);
    assert!(
        none.contains("has no weights: looked for model.safetensors, model.safetensors.index.json, "),
        "{none}"
    );
    let several = error(&[CONFIG, ("a.pth", b""), ("b.pth", b"")]);
    assert!(several.contains("ambiguous weights, a.pth, b.pth"), "{several}");
    for (config, expected) in [
        (&b"[]"[..], "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"", "not JSON: EOF"),
        (b"{\"a\": ", "not JSON: EOF"),
        (b"\xff\xfe", "not JSON: "),
        (&b"[".repeat(100_000), "not JSON: recursion limit"),
        (&b" ".repeat((32 << 20) + 1), "larger than 32 MiB"),
    ] {
        let error = error(&[("config.json", config), weights]);
        assert!(
            error.starts_with("invalid file ") && error.contains(&format!("config.json: {expected}")),
            "{error}"
        );
    }
    let missing = ModelFolder::open("no/such/folder").unwrap_err();
    assert_eq!(missing.to_string(), "cannot access no/such/folder");
    for (config, found) in [("{}", "missing"), (r#"{"model_type": 3}"#, "3")] {
        let path = folder(&[("config.json", config.as_bytes()), weights]);
        let error = ModelFolder::open(path.path()).unwrap().model_type().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`model_type` of the model is {found}, expected ")), "{error}");
    }
    let path = folder(&[CONFIG]);
    std::fs::create_dir(path.path().join("model.safetensors")).unwrap();
    let error = ModelFolder::open(path.path()).unwrap_err().to_string();
    assert!(error.ends_with("model.safetensors: not a regular file"), "{error}");
}

#[test]
fn files_of_other_libraries_have_a_model_type() {
    let open_clip: (&str, &[u8]) = ("open_clip_config.json", br#"{"model_cfg": {"embed_dim": 8}}"#);
    let path =
        folder(&[open_clip, ("open_clip_model.safetensors", b""), ("open_clip_pytorch_model.bin", b"")]);
    let model = ModelFolder::open(path.path()).unwrap();
    assert_eq!(model.model_type().unwrap(), "open_clip");
    assert_eq!(model.config()["model_cfg"], json!({"embed_dim": 8}));
    assert!(model.weight_files()[0].ends_with("open_clip_model.safetensors"));

    let timm: (&str, &[u8]) =
        ("config.json", br#"{"architecture": "vit_tiny", "model_type": "timm_wrapper"}"#);
    let path = folder(&[timm, ("model.safetensors", b"")]);
    assert_eq!(ModelFolder::open(path.path()).unwrap().model_type().unwrap(), "timm");
}

#[test]
fn adapters_are_refused_with_advice() {
    let adapter: (&str, &[u8]) = ("adapter_config.json", br#"{"base_model_name_or_path": "org/base"}"#);
    let files = [adapter, ("adapter_model.safetensors", b"")];
    for files in [&files[..], &[&files[..], &[CONFIG]].concat()] {
        let error = error(files);
        assert!(error.contains("is an adapter of PEFT for org/base, not a model: merge them"), "{error}");
        assert!(error.contains(".merge_and_unload().save_pretrained("), "{error}");
    }
}

#[test]
fn rejects_an_index_that_leads_out_of_the_folder() {
    let secret = folder(&[("secret.bin", b"secret")]);
    let absolute = secret.path().join("secret.bin");
    for name in [absolute.to_str().unwrap(), "../secret.bin", "a/../../secret.bin"] {
        let index = json!({"weight_map": {"w": name}}).to_string();
        let error = error(&[CONFIG, ("pytorch_model.bin.index.json", index.as_bytes())]);
        assert!(error.contains("expected the name of a file in the same folder"), "{error}");
    }
}

#[test]
fn opens_specs() {
    let path = folder(&[CONFIG, ("tiny.pt", b"")]);
    let spec: ModelSpec = path.path().to_str().unwrap().parse().unwrap();
    let options = HubOptions { offline: true, ..HubOptions::new("no-such-cache") };
    assert!(spec.open(&options).is_ok());
    let spec: ModelSpec = "org/name".parse().unwrap();
    let error = spec.open(&options).unwrap_err().to_string();
    let expected =
        if cfg!(feature = "hub") { "HF_HUB_OFFLINE disables downloads" } else { "enable the feature `hub`" };
    assert!(error.ends_with(expected), "{error}");
}
