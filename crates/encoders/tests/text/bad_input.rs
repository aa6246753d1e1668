//! Text models whose files or inputs cannot be used.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use proptest::prelude::*;
use sail_core::{EncodeError, TokenIds, Tokenizer, TowerError};
use sail_encoders::{ModelError, PretrainedTokenizer};
use serde_json::{Value, json};

use crate::open_text_tower;

/// A copy of a fixture whose files can be changed.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text").join(name);
        for file in ["1_Pooling", "."] {
            let (from, to) = (source.join(file), folder.path().join(file));
            fs::create_dir_all(&to).unwrap();
            for entry in from.read_dir().into_iter().flatten() {
                let entry = entry.unwrap();
                if entry.path().is_file() {
                    fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
                }
            }
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value =
            fs::read(self.path(name)).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
        change(&mut value);
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    fn error(&self) -> String {
        match open_text_tower(self.0.path(), FloatDType::F32, &Device::flex()) {
            Ok(_) => panic!("the model opens"),
            Err(error) => chain(&error),
        }
    }

    fn tokenizer(&self) -> Result<PretrainedTokenizer, ModelError> {
        PretrainedTokenizer::open(self.0.path())
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[track_caller]
fn assert_says(found: &str, parts: &[&str]) {
    for part in parts {
        assert!(found.contains(part), "`{part}` is not in `{found}`");
    }
}

#[test]
fn configurations_that_cannot_be_built() {
    let cases: [(&str, Value, &[&str]); 14] = [
        (
            "model_type",
            json!("t5"),
            &["`model_type` is \"t5\"", "bert", "distilbert", "mpnet", "xlm-roberta"],
        ),
        ("model_type", Value::Null, &["`model_type` is absent"]),
        ("hidden_size", json!(1u64 << 60), &["`hidden_size`", "1 to 4194304"]),
        ("hidden_size", json!(-36), &["`hidden_size` is -36"]),
        ("hidden_size", json!("36"), &["`hidden_size`"]),
        ("hidden_size", json!(37), &["`num_attention_heads` is 3", "divisor of the hidden size, 37"]),
        ("vocab_size", Value::Null, &["`vocab_size` is absent"]),
        ("num_hidden_layers", json!(1_000_000_000), &["`num_hidden_layers`", "1 to 1024"]),
        ("num_attention_heads", json!(0), &["`num_attention_heads` is 0"]),
        ("hidden_act", json!("swish"), &["`hidden_act` is \"swish\"", "gelu", "relu"]),
        ("layer_norm_eps", json!(0), &["`layer_norm_eps` is 0"]),
        ("position_embedding_type", json!("relative_key"), &["`position_embedding_type`", "absolute"]),
        ("is_decoder", json!(true), &["`is_decoder` is true"]),
        ("type_vocab_size", json!("x".repeat(100_000)), &["`type_vocab_size`", "…"]),
    ];
    for (field, value, parts) in cases {
        let copy = Copy::of("bert_mean");
        copy.edit("config.json", |config| config[field] = value);
        assert_says(&copy.error(), parts);
    }
}

#[test]
fn weights_that_do_not_fit_are_all_named() {
    let copy = Copy::of("bert_mean");
    copy.edit("config.json", |config| {
        config["intermediate_size"] = json!(51);
        config["num_hidden_layers"] = json!(3);
    });
    assert_says(
        &copy.error(),
        &["layers.0.up.weight", "layers.1.down.weight", "layers.2.query.bias", "missing"],
    );
    copy.edit("config.json", |config| {
        config["intermediate_size"] = json!(50);
        config["num_hidden_layers"] = json!(1);
    });
    assert_says(&copy.error(), &["layers.1.query.weight"]);
}

#[test]
fn absurd_sizes_take_no_memory() {
    let copy = Copy::of("bert_mean");
    copy.edit("config.json", |config| {
        for field in ["hidden_size", "vocab_size", "intermediate_size", "max_position_embeddings"] {
            config[field] = json!(1 << 22);
        }
        config["num_attention_heads"] = json!(1);
    });
    assert_says(&copy.error(), &["do not fit"]);
}

#[test]
fn folders_without_what_they_need() {
    let copy = Copy::of("bert_mean");
    fs::remove_file(copy.path("tokenizer.json")).unwrap();
    assert_says(&copy.error(), &["tokenizer.json", "there is no such file", "AutoTokenizer"]);
    let copy = Copy::of("bert_mean");
    fs::remove_file(copy.path("config.json")).unwrap();
    assert_says(&copy.error(), &["config.json", "looked for config.json"]);
    fs::write(copy.path("config.json"), "{\"model_type\": ").unwrap();
    assert_says(&copy.error(), &["config.json", "EOF"]);
}

#[test]
fn a_vocabulary_alone_gives_the_same_tokens() {
    let copy = Copy::of("bert_cls");
    let whole = copy.tokenizer().unwrap();
    fs::remove_file(copy.path("tokenizer.json")).unwrap();
    let alone = copy.tokenizer().unwrap();
    for text in ["The Quick brown fox, [SEP] d\u{e9}j\u{e0} vu \u{65e5}\u{672c}", "", "zzz"] {
        assert_eq!(whole.tokenize(text), alone.tokenize(text), "{text}");
    }
    assert_eq!(whole.padding(), alone.padding());
    fs::write(copy.path("vocab.txt"), "<s>\n</s>\na\n").unwrap();
    assert_says(&copy.error(), &["vocab.txt", "no token `[CLS]`", "AutoTokenizer"]);
}

#[test]
fn sentence_modules_that_are_not_served() {
    let cases: [(Value, &str); 5] = [
        (json!({"pooling_mode": "max"}), "the pooling is `max`, expected one of cls, mean, lasttoken"),
        (json!({"pooling_mode_max_tokens": true}), "the pooling is `max`"),
        (
            json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}),
            "joins the poolings cls, mean",
        ),
        (json!({"pooling_mode": ["mean", "max"]}), "joins the poolings mean, max"),
        (json!({"pooling_mode": 3}), "the pooling is `3`"),
    ];
    for (config, message) in cases {
        let copy = Copy::of("bert_mean");
        fs::write(copy.path("1_Pooling/config.json"), config.to_string()).unwrap();
        assert_says(&copy.error(), &["1_Pooling", message]);
    }
    let module = |kind: &str| json!({"path": "3", "type": format!("sentence_transformers.models.{kind}")});
    let copy = Copy::of("bert_mean");
    copy.edit("modules.json", |modules| modules.as_array_mut().unwrap().push(module("Dense")));
    assert_says(&copy.error(), &["modules.json", "sentence_transformers.models.Dense", "Pooling"]);
    let copy = Copy::of("bert_mean");
    copy.edit("modules.json", |modules| modules[1]["path"] = json!("../../elsewhere"));
    assert_says(&copy.error(), &["leads out of the folder"]);
    fs::write(copy.path("modules.json"), "{}").unwrap();
    assert_says(&copy.error(), &["not a list"]);
}

#[test]
fn limits_are_the_lowest_that_hold() {
    let limit = |changes: &dyn Fn(&Copy)| {
        let copy = Copy::of("roberta");
        changes(&copy);
        copy.tokenizer().map(|tokenizer| tokenizer.limit()).map_err(|error| error.to_string())
    };
    let set =
        |copy: &Copy, file: &str, field: &str, value: Value| copy.edit(file, |json| json[field] = value);
    // 40 rows of positions, of which the first two are not of tokens.
    assert_eq!(limit(&|copy| set(copy, "tokenizer_config.json", "model_max_length", json!(1e30))), Ok(38));
    assert_eq!(limit(&|copy| set(copy, "sentence_bert_config.json", "max_seq_length", json!(512))), Ok(38));
    assert_eq!(limit(&|copy| set(copy, "sentence_roberta_config.json", "max_seq_length", json!(17))), Ok(17));
    assert_eq!(limit(&|copy| set(copy, "tokenizer_config.json", "model_max_length", json!(20))), Ok(20));
    let error =
        limit(&|copy| set(copy, "tokenizer_config.json", "model_max_length", json!("many"))).unwrap_err();
    assert_says(&error, &["tokenizer_config.json", "`model_max_length` is \"many\""]);
    let error =
        limit(&|copy| set(copy, "sentence_bert_config.json", "max_seq_length", json!(2))).unwrap_err();
    assert_says(&error, &["adds 2 special tokens", "of 2"]);
    let error = limit(&|copy| set(copy, "tokenizer_config.json", "padding_side", json!("up"))).unwrap_err();
    assert_says(&error, &["`padding_side` is \"up\", expected \"left\" or \"right\""]);
}

#[test]
fn tokens_that_the_model_cannot_take() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/roberta");
    let tower = open_text_tower(&folder, FloatDType::F32, &Device::flex()).unwrap();
    assert!(tower.embed(&[TokenIds(vec![4; 38])]).is_ok());
    let error = tower.embed(&[TokenIds(vec![4; 39])]).unwrap_err();
    assert_says(&error.to_string(), &["texts", "39", "at most 38 tokens"]);
    let error = tower.embed(&[TokenIds(vec![4, 100_000])]).unwrap_err();
    assert!(matches!(error, TowerError::Encode(EncodeError::Token { token: 100_000, .. })), "{error:?}");
}

#[test]
fn tokenizers_that_blow_up_a_text_are_refused() {
    let copy = Copy::of("bert_mean");
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(2000)});
    copy.edit("tokenizer.json", |tokenizer| tokenizer["normalizer"] = replace);
    assert_says(&copy.tokenizer().unwrap_err().to_string(), &["tokenizer.json", "more than 1024 times"]);
}

#[test]
fn tokenizers_that_break_the_library_are_errors() {
    let edits: [(&str, Value); 8] = [
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}),
        ),
        ("normalizer", json!({"type": "Replace", "pattern": {"Regex": "(?=a*)*"}, "content": ""})),
        (
            "model",
            json!({"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "", "max_input_chars_per_word": 0, "vocab": {}}),
        ),
        ("model", json!({"type": "Unigram", "unk_id": 7, "vocab": []})),
        ("model", json!({"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]})),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": [], "special_tokens": {}}),
        ),
        ("version", json!("9.9")),
    ];
    for (field, value) in edits {
        let copy = Copy::of("bert_mean");
        copy.edit("tokenizer.json", |tokenizer| tokenizer[field] = value.clone());
        // Refused as a whole, or text by text; never a panic.
        if let Ok(tokenizer) = copy.tokenizer() {
            let _ = tokenizer.tokenize("a cat sits on the mat");
            let _ = tokenizer.tokenize("");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_tokenizers_never_panic(seed in any::<u64>(), name in prop::sample::select(vec!["bert_mean", "roberta", "xlm_roberta"])) {
        let copy = Copy::of(name);
        let mut bytes = fs::read(copy.path("tokenizer.json")).unwrap();
        let mut state = seed | 1;
        for _ in 0..1 + seed % 4 {
            // xorshift
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = state as usize % bytes.len();
            let digits = b"0123456789\"{}[],:truefalsnu-";
            bytes[place] = digits[(state >> 32) as usize % digits.len()];
        }
        fs::write(copy.path("tokenizer.json"), bytes).unwrap();
        if let Ok(tokenizer) = copy.tokenizer() {
            let _ = tokenizer.tokenize("A cat [MASK] d\u{e9}j\u{e0} \u{65e5}\u{672c} <s> 12345");
        }
    }

    #[test]
    fn any_text_is_tokenised_within_the_limit(text in "\\PC*", control in any::<String>()) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text");
        for (model, limit) in [("bert_mean", 25), ("roberta", 38), ("xlm_roberta", 32)] {
            let tokenizer = PretrainedTokenizer::open(&folder.join(model)).unwrap();
            for text in [&text, &control] {
                let TokenIds(ids) = tokenizer.tokenize(text).unwrap();
                prop_assert!((2..=limit).contains(&ids.len()), "{model}: {ids:?}");
            }
        }
    }
}
