//! Folders of sentence-transformers against the library.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::SafeTensors;
use sail_core::{TextPooling, TextTower};
use sail_encoders::{ModelError, ModelFolder, PromptChoice, TextOptions, load_text};
use serde_json::{Value, json};

const BACKBONE: [&str; 5] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// A case with the files of its backbone.
struct Case {
    folder: tempfile::TempDir,
    backbone: PathBuf,
}

impl Case {
    fn new(name: &str) -> Self {
        let case = &read_json(&fixtures().join("sentence/cases.json"))[name];
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&fixtures().join("sentence").join(name), folder.path());
        let backbone = folder.path().join(case["folder"].as_str().unwrap());
        fs::create_dir_all(&backbone).unwrap();
        let source = fixtures().join("text").join(case["backbone"].as_str().unwrap());
        for file in BACKBONE.iter().filter(|file| source.join(file).exists()) {
            fs::copy(source.join(file), backbone.join(file)).unwrap();
        }
        Self { folder, backbone }
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let path = self.folder.path().join(file);
        let mut value = if path.exists() { read_json(&path) } else { json!({}) };
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    fn load(&self, options: &TextOptions) -> Result<TextTower, ModelError> {
        load_text(&ModelFolder::open(self.folder.path())?, options, &Device::flex())
    }

    fn tower(&self, options: &TextOptions) -> TextTower {
        self.load(options).unwrap()
    }

    fn error(&self) -> String {
        match self.load(&TextOptions::default()) {
            Ok(_) => panic!("expected an error"),
            Err(error) => error.to_string(),
        }
    }
}

/// The embeddings of sentence-transformers by case.
fn expected() -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(fixtures().join("sentence/expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

fn embed(tower: &TextTower) -> Vec<f32> {
    let texts: Vec<String> = serde_json::from_value(read_json(&fixtures().join("text/texts.json"))).unwrap();
    tower.embed_texts(&texts).unwrap().into_data().try_to_vec().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0_f32, |scale, x| scale.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-5 * scale, "{what}: {found}, expected {expected}");
    }
}

#[test]
fn embeddings_are_those_of_sentence_transformers() {
    let expected = expected();
    let cases = read_json(&fixtures().join("sentence/cases.json"));
    assert_eq!(cases.as_object().unwrap().len(), 17);
    for name in cases.as_object().unwrap().keys() {
        let tower = Case::new(name).tower(&TextOptions::default());
        assert_close(&embed(&tower), &expected[name], name);
    }
}

#[test]
fn prompts_are_chosen_by_name_text_or_none() {
    let expected = expected();
    let written = |text: &str| PromptChoice::Written(text.to_owned());
    for case in ["prompt", "prompt_excluded", "prompt_excluded_left"] {
        let folder = Case::new(case);
        for (prompt, suffix, recorded) in [
            (written("query"), "", Some("a photo of ")),
            (written("passage"), ".passage", Some("two people: ")),
            (written("hello: "), ".text", Some("hello: ")),
            (PromptChoice::Text("hello: ".to_owned()), ".text", Some("hello: ")),
            (written("none"), ".none", None),
            (written("empty"), ".none", None),
            (PromptChoice::None, ".none", None),
        ] {
            let tower = folder.tower(&TextOptions { prompt, ..TextOptions::default() });
            assert_close(&embed(&tower), &expected[&format!("{case}{suffix}")], &format!("{case}{suffix}"));
            let prompt = tower.provenance().prompt;
            assert_eq!(prompt.as_ref().map(|prompt| prompt.text.as_str()), recorded);
            assert!(prompt.is_none_or(|prompt| prompt.pooled == (case == "prompt")));
        }
    }
    let prompt = written("querry");
    let error = Case::new("prompt").load(&TextOptions { prompt, ..TextOptions::default() }).err().unwrap();
    assert!(error.to_string().contains("`passage`, `query`, `none`, or a text"), "{error}");
    // As in sentence-transformers, the default prompt belongs to `modules.json`.
    let bare = Case::new("prompt");
    fs::remove_file(bare.folder.path().join("modules.json")).unwrap();
    assert_eq!(bare.tower(&TextOptions::default()).provenance().prompt, None);
}

#[test]
fn a_pooling_replaces_that_of_the_model_and_nothing_else() {
    let expected = expected();
    let class = TextOptions { pooling: Some(TextPooling::Class), ..TextOptions::default() };
    assert_close(&embed(&Case::new("dense").tower(&class)), &expected["dense_cls"], "class instead of mean");
    let mean = TextOptions { pooling: Some(TextPooling::Mean), ..TextOptions::default() };
    let error = Case::new("chain").load(&mean).err().unwrap().to_string();
    assert!(
        error.contains("`in_features` of the model is 72, expected 36, the width of the pooled"),
        "{error}"
    );
    let bare = TextOptions { skip_modules: true, ..mean };
    assert_close(&embed(&Case::new("dense").tower(&bare)), &expected["mean_new"], "no modules");
}

#[test]
fn provenance_has_poolings_and_modules_as_values() {
    let provenance = |name: &str| Case::new(name).tower(&TextOptions::default()).provenance();
    let chain = provenance("chain");
    assert_eq!(chain.pooling.as_deref(), Some("mean+max"));
    let modules = json!([
        "normalize",
        {"dense": {"in": 72, "out": 30, "activation": "GELU"}},
        {"dense": {"in": 30, "out": 8, "activation": "Identity"}},
        "layer_norm",
        "normalize",
    ]);
    assert_eq!(Value::from(chain.modules), modules);
    let plain = provenance("max_new");
    assert_eq!((plain.pooling.as_deref(), plain.modules.len()), (Some("max"), 0));
    assert_eq!(plain.version(), 2);
    // The weights of a module are weights of the model.
    assert_ne!(chain.weights_sha256, plain.weights_sha256);
    assert_eq!(provenance("dense").weights_sha256, provenance("dense_cls").weights_sha256);
}

#[test]
fn the_folder_of_a_transformer_is_that_of_its_model() {
    let case = Case::new("cls_old_layout");
    let part = ModelFolder::open(&case.backbone).unwrap();
    assert_eq!(part.path(), case.folder.path());
    let tower = load_text(&part, &TextOptions::default(), &Device::flex()).unwrap();
    assert_close(&embed(&tower), &expected()["cls_old_layout"], "0_Transformer");
}

#[test]
fn files_as_python_writes_them_are_read() {
    let case = Case::new("dense");
    for file in
        ["config.json", "tokenizer_config.json", "tokenizer.json", "modules.json", "2_Dense/config.json"]
    {
        let path = case.folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        let extra = match file {
            "modules.json" | "tokenizer.json" => text,
            _ => {
                text.trim_end().trim_end_matches('}').to_owned()
                    + r#", "x": [NaN, -Infinity, 1e999, "\ud83d"]}"#
            }
        };
        fs::write(path, format!("\u{feff}{extra}")).unwrap();
    }
    assert_close(&embed(&case.tower(&TextOptions::default())), &expected()["dense"], "dense");
}

#[test]
fn stand_ins_for_any_file_are_named() {
    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 43\n";
    for file in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "sentence_bert_config.json",
    ] {
        for (content, expected) in
            [(POINTER, "git lfs pull"), ("<!DOCTYPE html>\n<html>", "an HTML page instead")]
        {
            let case = Case::new("dense");
            fs::write(case.folder.path().join(file), content).unwrap();
            let error = case.error();
            assert!(error.contains(file) && error.contains(expected), "{file}: {error}");
        }
    }
}

#[test]
fn rejects_modules_that_are_not_supported() {
    let append = |class: &str| {
        let case = Case::new("dense");
        case.edit("modules.json", |modules| {
            modules.as_array_mut().unwrap().push(json!({"path": "3", "type": class}));
        });
        case.error()
    };
    for class in ["sentence_transformers.models.LSTM", "custom_st.Dense"] {
        let error = append(class);
        assert!(error.contains("modules.json") && error.contains(class), "{error}");
    }
    let error = append("sentence_transformers.models.Pooling");
    assert!(error.contains("`Pooling` in `3`, expected a single one"), "{error}");
    let before = Case::new("dense");
    before.edit("modules.json", |modules| modules.as_array_mut().unwrap().swap(1, 2));
    assert!(before.error().contains("`Dense` in `2_Dense`, expected one after the `Pooling`"));

    let dense = |field: &str, value: Value| {
        let case = Case::new("dense");
        case.edit("2_Dense/config.json", |config| config[field] = value);
        case.error()
    };
    for (field, value, expected) in [
        ("in_features", json!(35), "expected 36, the width"),
        ("out_features", json!(11), "`linear.weight` has shape [12, 36], expected [11, 36]"),
        ("out_features", json!(0), "an integer from 1"),
        ("bias", json!(false), "1 unexpected: `linear.bias`"),
        ("activation_function", json!("torch.nn.modules.activation.GLU"), "one of ELU, GELU, "),
        ("activation_function", json!("transformers.activations.Tanh"), "a class of torch.nn"),
        ("activation_function", Value::Null, "a class of torch.nn"),
        ("module_input_name", json!("token_embeddings"), "expected \"sentence_embedding\""),
        ("use_residual", json!(true), "missing: `residual.weight`"),
    ] {
        let error = dense(field, value);
        assert!(error.contains(expected), "{field}: {error}");
    }
    let missing = Case::new("dense");
    fs::remove_file(missing.folder.path().join("2_Dense/model.safetensors")).unwrap();
    assert!(
        missing.error().contains("2_Dense has no weights: looked for model.safetensors, pytorch_model.bin")
    );
    let missing = Case::new("dense");
    fs::remove_file(missing.folder.path().join("1_Pooling/config.json")).unwrap();
    assert!(missing.error().contains("1_Pooling/config.json: missing, but named in modules.json"));

    for (file, field, value) in [
        ("config_sentence_transformers.json", "model_type", "SparseEncoder"),
        ("sentence_bert_config.json", "transformer_task", "fill-mask"),
    ] {
        let case = Case::new("dense");
        case.edit(file, |config| config[field] = value.into());
        let error = case.error();
        assert!(error.contains(&format!("`{field}` of the model is \"{value}\", expected")), "{error}");
    }
}
