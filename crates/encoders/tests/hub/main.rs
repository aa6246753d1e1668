//! Models by id, from a mock hub on localhost.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../hub/tests/hub/server.rs"]
mod server;

use sail_encoders::{ModelError, ModelFolder, ModelSpec};
use sail_hub::{HubError, HubOptions};
use serde_json::json;
use server::{Fault, MAIN, Server, V1, sha256};
use tempfile::TempDir;

const CONFIG: &[u8] = br#"{"model_type": "tiny"}"#;
const WEIGHTS: &[u8] = b"weights";
const MODULES: &[u8] = br#"[{"type": "Transformer"}, {"type": "Pooling", "path": "1_Pooling"},
    {"type": "Dense", "path": "2_Dense"}]"#;

/// A hub with one model, and an empty cache.
fn setup() -> (Server, TempDir) {
    let server = Server::start();
    let files: [(&str, &[u8]); 8] = [
        ("config.json", CONFIG),
        ("modules.json", MODULES),
        ("1_Pooling/config.json", b"{}"),
        ("2_Dense/config.json", b"{\"bias\": true}"),
        ("2_Dense/pytorch_model.bin", b"dense"),
        ("README.md", b"not fetched"),
        ("modeling_tiny.py", b"import os"),
        ("model.safetensors", WEIGHTS),
    ];
    server.add("org/tiny", &files);
    (server, tempfile::tempdir().unwrap())
}

fn open(spec: &str, options: &HubOptions) -> Result<ModelFolder, ModelError> {
    spec.parse::<ModelSpec>()?.open(options)
}

#[test]
fn fetches_a_model_once_and_without_code() {
    let (server, cache) = setup();
    // One after the other.
    let options = HubOptions { connections: 1, ..server.options(cache.path()) };
    let folder = open("org/tiny", &options).unwrap();
    assert_eq!((folder.name(), folder.revision()), ("org/tiny", Some(MAIN)));
    assert_eq!(folder.model_type().unwrap(), "tiny");
    assert_eq!(folder.weights_sha256().unwrap(), sha256(&[WEIGHTS, b"dense"].concat()));
    assert_eq!(folder.json("1_Pooling/config.json").unwrap(), Some(json!({})));
    let requests: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let resolve = |name: &str| format!("/org/tiny/resolve/{MAIN}/{name}");
    let expected = [
        "/api/models/org/tiny/revision/main?blobs=true".to_owned(),
        resolve("modules.json"),
        resolve("config.json"),
        resolve("1_Pooling/config.json"),
        resolve("2_Dense/config.json"),
        resolve("2_Dense/pytorch_model.bin"),
        "/org/tiny/2_Dense/pytorch_model.bin".to_owned(),
        resolve("model.safetensors"),
        "/org/tiny/model.safetensors".to_owned(),
    ];
    assert_eq!(requests, expected);

    let offline = HubOptions { offline: true, ..options.clone() };
    for (spec, options) in
        [("org/tiny", &options), (&*format!("org/tiny@{MAIN}"), &options), ("org/tiny", &offline)]
    {
        assert_eq!(open(spec, options).unwrap().path(), folder.path());
    }
    assert_eq!(server.requests(), []);
    // The folder of a snapshot has the same identity.
    let opened = ModelFolder::open(folder.path()).unwrap();
    assert_eq!(opened.provenance().unwrap(), folder.provenance().unwrap());
}

#[test]
fn fetches_every_layout_of_weights() {
    let (server, cache) = setup();
    let index = |extension: &str| {
        let map = json!({"a": format!("x-1.{extension}"), "b": format!("x-2.{extension}"), "c": format!("x-1.{extension}")});
        json!({"weight_map": map}).to_string()
    };
    let (safetensors, bin) = (index("safetensors"), index("bin"));
    let config = ("config.json", CONFIG);
    server.add(
        "org/single",
        &[config, ("pytorch_model.bin", b"1"), ("tf_model.h5", b"2"), ("model.safetensors", b"3")],
    );
    server.add("org/bin", &[config, ("pytorch_model.bin", b"1"), ("flax_model.msgpack", b"2")]);
    let shards: [(&str, &[u8]); 3] = [
        ("x-1.safetensors", b"1"),
        ("x-2.safetensors", b"2"),
        ("model.safetensors.index.json", safetensors.as_bytes()),
    ];
    server.add("org/shards", &[&[config, ("pytorch_model.bin", b"5")][..], &shards].concat());
    server.add(
        "org/bins",
        &[config, ("x-1.bin", b"1"), ("x-2.bin", b"2"), ("pytorch_model.bin.index.json", bin.as_bytes())],
    );
    server.add("org/other", &[config, ("tiny.pth", b"1"), ("training_args.bin", b"2")]);
    server.add("name", &[config, ("model.safetensors", b"1")]);
    for (id, expected) in [
        ("org/single", &["model.safetensors"][..]),
        ("org/bin", &["pytorch_model.bin"]),
        ("org/shards", &["x-1.safetensors", "x-2.safetensors"]),
        ("org/bins", &["x-1.bin", "x-2.bin"]),
        ("org/other", &["tiny.pth"]),
        ("name", &["model.safetensors"]),
    ] {
        let options = server.options(cache.path());
        let folder = open(id, &options).unwrap();
        let found: Vec<_> =
            folder.weight_files().iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!((folder.name(), found.as_slice()), (id, expected));
        server.requests();
        open(id, &options).unwrap();
        assert_eq!(server.requests(), [], "{id}");
    }
}

#[test]
fn fetches_the_old_layout_of_sentence_transformers() {
    let (server, cache) = setup();
    let modules: &[u8] =
        br#"[{"type": "Transformer", "path": "0_Transformer"}, {"type": "Pooling", "path": "1_Pooling"}]"#;
    let files: [(&str, &[u8]); 6] = [
        ("modules.json", modules),
        ("0_Transformer/config.json", CONFIG),
        ("0_Transformer/vocab.txt", b"[PAD]"),
        ("0_Transformer/sentence_roberta_config.json", b"{}"),
        ("0_Transformer/pytorch_model.bin", b"weights"),
        ("1_Pooling/config.json", b"{}"),
    ];
    server.add("org/old", &files);
    let options = server.options(cache.path());
    let folder = open("org/old", &options).unwrap();
    assert_eq!(folder.model_type().unwrap(), "tiny");
    for (name, _) in files {
        assert!(folder.path().join(name).exists(), "{name}");
    }
    server.requests();
    assert_eq!(open("org/old", &options).unwrap().path(), folder.path());
    assert_eq!(server.requests(), []);
}

#[test]
fn fetches_the_files_of_open_clip_and_timm() {
    let (server, cache) = setup();
    let open_clip: (&str, &[u8]) = ("open_clip_config.json", br#"{"model_cfg": {"embed_dim": 8}}"#);
    let timm: (&str, &[u8]) = ("config.json", br#"{"architecture": "vit_tiny", "pretrained_cfg": {}}"#);
    let both: [(&str, &[u8]); 2] = [("model.safetensors", b"1"), ("open_clip_model.safetensors", b"2")];
    server.add("org/clip", &[open_clip, ("open_clip_pytorch_model.bin", b"1"), ("tokenizer.json", b"{}")]);
    server.add("org/timm", &[timm, ("pytorch_model.bin", b"1"), both[0]]);
    server.add("org/both", &[&[open_clip, timm][..], &both].concat());
    server.add("org/named", &[&[open_clip, ("config.json", CONFIG)][..], &both].concat());
    for (id, model_type, expected) in [
        ("org/clip", "open_clip", "open_clip_pytorch_model.bin"),
        ("org/timm", "timm", "model.safetensors"),
        ("org/both", "open_clip", "open_clip_model.safetensors"),
        ("org/named", "tiny", "model.safetensors"),
    ] {
        let options = server.options(cache.path());
        let folder = open(id, &options).unwrap();
        assert_eq!(folder.model_type().unwrap(), model_type, "{id}");
        let [weights] = folder.weight_files() else { panic!("{id}") };
        assert!(weights.ends_with(expected), "{id}: {weights:?}");
        server.requests();
        assert_eq!(open(id, &options).unwrap().path(), folder.path());
        assert_eq!(server.requests(), [], "{id}");
    }
}

#[test]
fn adapters_are_refused_before_their_weights_are_fetched() {
    let (server, cache) = setup();
    let files: [(&str, &[u8]); 3] = [
        ("adapter_config.json", br#"{"base_model_name_or_path": "org/base"}"#),
        ("adapter_model.safetensors", b"1"),
        ("config.json", CONFIG),
    ];
    server.add("org/adapter", &files);
    let error = open("org/adapter", &server.options(cache.path())).unwrap_err().to_string();
    assert!(error.starts_with("org/adapter is an adapter of PEFT for org/base, not a model"), "{error}");
    assert!(!server.requests().iter().any(|request| request.path.ends_with("safetensors")));
}

#[test]
fn gated_models_say_how_to_get_access() {
    let (server, cache) = setup();
    server.add("org/gated", &[("config.json", CONFIG), ("model.safetensors", WEIGHTS)]);
    let options = server.options(cache.path());
    let error = open("org/gated", &options).unwrap_err().to_string();
    let expected = format!("accept its conditions at {}/org/gated, create a token", server.address);
    assert!(error.contains(&expected) && error.contains("set HF_TOKEN"), "{error}");
    let options = HubOptions { token: Some("hf_secret".into()), ..options };
    assert!(open("org/gated", &options).is_ok());
}

#[test]
fn revisions_come_from_the_id_or_the_options() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    assert_eq!(open("org/tiny", &options).unwrap().revision(), Some(MAIN));
    assert_eq!(open("org/tiny@v1", &options).unwrap().revision(), Some(V1));
    let v1 = HubOptions { revision: Some("v1".into()), ..options.clone() };
    assert_eq!(open("org/tiny", &v1).unwrap().revision(), Some(V1));
    assert_eq!(open("org/tiny@main", &v1).unwrap().revision(), Some(MAIN));

    server.state.lock().unwrap().edit = Some(|list| list["sha"] = V1.into());
    assert_eq!(open("org/tiny", &options).unwrap().revision(), Some(MAIN));
    let refresh = HubOptions { refresh: true, ..options.clone() };
    assert_eq!(open("org/tiny", &refresh).unwrap().revision(), Some(V1));
}

#[test]
fn names_missing_files() {
    let (server, cache) = setup();
    server.add("org/empty", &[("config.json", CONFIG), ("README.md", b"soon")]);
    server.add("org/bare", &[("model.safetensors", b"1")]);
    let index: &[u8] = br#"{"weight_map": {"a": "gone.safetensors"}}"#;
    server.add("org/part", &[("config.json", CONFIG), ("model.safetensors.index.json", index)]);
    let options = server.options(cache.path());
    for (id, expected) in [
        ("org/none", format!("{} has no model `org/none`, or it is private", server.address)),
        ("org/tiny@v9", "the model `org/tiny` has no revision `v9`".into()),
        ("org/empty", "org/empty has no weights: looked for model.safetensors, ".into()),
        ("org/bare", "org/bare has no configuration: looked for config.json".into()),
        ("org/part", "org/part has no shard: looked for gone.safetensors".into()),
    ] {
        let error = open(id, &options).unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
    // A name that leads out of the cache is not selected.
    server.state.lock().unwrap().edit =
        Some(|list| list["siblings"][5]["rfilename"] = "../../../escaped.safetensors".into());
    let error = open("org/tiny", &options).unwrap_err();
    assert!(matches!(error, ModelError::Missing { what: "weights", .. }), "{error}");
}

#[test]
fn corrupt_weights_are_not_used() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    server.add("org/large", &[("config.json", CONFIG), ("model.safetensors", &[7; 1000])]);
    server.fault(Fault { corrupt: true, ..Fault::default() });
    let error = open("org/large", &options).unwrap_err();
    assert!(matches!(error, ModelError::Hub(HubError::Checksum { .. })), "{error}");
    let offline = HubOptions { offline: true, ..options.clone() };
    assert!(open("org/large", &offline).is_err());
    server.fault(Fault::default());
    assert_eq!(open("org/large", &options).unwrap().weights_sha256().unwrap(), sha256(&[7; 1000]));
}

#[test]
fn asks_the_hub_about_unknown_files_unless_offline() {
    let (server, cache) = setup();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = HubOptions { endpoint: format!("http://{closed}"), ..server.options(cache.path()) };
    let offline = HubOptions { offline: true, ..down.clone() };
    assert!(matches!(open("org/tiny", &down), Err(ModelError::Hub(HubError::Network { .. }))));
    assert!(matches!(open("org/tiny", &offline), Err(ModelError::Hub(HubError::Offline { .. }))));

    open("org/tiny", &server.options(cache.path())).unwrap();
    assert!(open("org/tiny", &offline).is_ok());
    assert!(open("org/tiny", &down).is_ok());
    // As after a download by another tool: whether there is a tokenizer is unknown.
    std::fs::remove_dir_all(cache.path().join("models--org--tiny/.no_exist")).unwrap();
    assert!(open("org/tiny", &offline).is_ok());
    assert!(matches!(open("org/tiny", &down), Err(ModelError::Hub(HubError::Network { .. }))));
}
