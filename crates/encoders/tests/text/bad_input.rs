//! Invalid text models and inputs.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proptest::prelude::*;
use sail_core::{Dtype, EncodeError, TokenIds, Tokenizer, TowerError};
use sail_encoders::{ModelError, PretrainedTokenizer};
use serde_json::{Value, json};

use crate::open_text_tower;

/// A modifiable copy of a fixture.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
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

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value =
            fs::read(self.path(name)).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
        change(&mut value);
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    fn error(&self) -> String {
        match open_text_tower(self.0.path(), Dtype::F32, &Device::flex()) {
            Ok(_) => panic!("expected an error"),
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
fn assert_contains(found: &str, parts: &[&str]) {
    for part in parts {
        assert!(found.contains(part), "`{part}` is not in `{found}`");
    }
}

#[test]
fn rejects_invalid_configurations() {
    let cases: [(&str, Value, &[&str]); 14] = [
        (
            "model_type",
            json!("gpt2"),
            &[
                "`model_type` of the model is \"gpt2\"",
                "bert",
                "distilbert",
                "mpnet",
                "xlm-roberta",
                "siglip",
            ],
        ),
        ("model_type", Value::Null, &["`model_type` of the model is missing"]),
        ("hidden_size", json!(1u64 << 60), &["`hidden_size`", "1 to 4194304"]),
        ("hidden_size", json!(-36), &["`hidden_size` of the model is -36"]),
        ("hidden_size", json!("36"), &["`hidden_size`"]),
        (
            "hidden_size",
            json!(37),
            &["`num_attention_heads` of the model is 3", "divisor of the hidden size, 37"],
        ),
        ("vocab_size", Value::Null, &["`vocab_size` of the model is missing"]),
        ("num_hidden_layers", json!(1_000_000_000), &["`num_hidden_layers`", "1 to 1024"]),
        ("num_attention_heads", json!(0), &["`num_attention_heads` of the model is 0"]),
        ("hidden_act", json!("tanh"), &["`hidden_act` of the model is \"tanh\"", "gelu", "relu"]),
        ("layer_norm_eps", json!(0), &["`layer_norm_eps` of the model is 0"]),
        ("position_embedding_type", json!("relative_key"), &["`position_embedding_type`", "absolute"]),
        ("is_decoder", json!(true), &["`is_decoder` of the model is true"]),
        ("type_vocab_size", json!("x".repeat(100_000)), &["`type_vocab_size`", "…"]),
    ];
    for (field, value, parts) in cases {
        let copy = Copy::of("bert_mean");
        copy.edit("config.json", |config| config[field] = value);
        assert_contains(&copy.error(), parts);
    }
}

#[test]
fn names_all_tensors_that_do_not_match() {
    let copy = Copy::of("bert_mean");
    copy.edit("config.json", |config| {
        config["intermediate_size"] = json!(51);
        config["num_hidden_layers"] = json!(3);
    });
    assert_contains(
        &copy.error(),
        &["16 missing: `encoder.layer.2.", "6 invalid: `encoder.layer.0.intermediate.dense.bias` has shape"],
    );
    copy.edit("config.json", |config| {
        config["intermediate_size"] = json!(50);
        config["num_hidden_layers"] = json!(1);
    });
    assert_contains(&copy.error(), &["16 unexpected: `encoder.layer.1."]);
}

#[test]
fn huge_sizes_allocate_no_memory() {
    let copy = Copy::of("bert_mean");
    copy.edit("config.json", |config| {
        for field in ["hidden_size", "vocab_size", "intermediate_size", "max_position_embeddings"] {
            config[field] = json!(1 << 22);
        }
        config["num_attention_heads"] = json!(1);
    });
    assert_contains(&copy.error(), &["do not match the configuration"]);
}

#[test]
fn names_missing_files() {
    let copy = Copy::of("bert_mean");
    fs::remove_file(copy.path("tokenizer.json")).unwrap();
    assert_contains(&copy.error(), &["has no tokenizer", "tokenizer.json", "AutoTokenizer"]);
    let copy = Copy::of("bert_mean");
    fs::remove_file(copy.path("config.json")).unwrap();
    assert_contains(&copy.error(), &["config.json", "looked for config.json"]);
    fs::write(copy.path("config.json"), "{\"model_type\": ").unwrap();
    assert_contains(&copy.error(), &["config.json", "EOF"]);
}

#[test]
fn vocabulary_alone_gives_the_same_tokens() {
    let copy = Copy::of("bert_cls");
    let whole = copy.tokenizer().unwrap();
    fs::remove_file(copy.path("tokenizer.json")).unwrap();
    let alone = copy.tokenizer().unwrap();
    for text in ["The Quick brown fox, [SEP] d\u{e9}j\u{e0} vu \u{65e5}\u{672c}", "", "zzz"] {
        assert_eq!(whole.tokenize(text), alone.tokenize(text), "{text}");
    }
    assert_eq!(whole.padding(), alone.padding());
    fs::write(copy.path("vocab.txt"), "<s>\n</s>\na\n").unwrap();
    assert_contains(&copy.error(), &["vocab.txt", "no token `[CLS]`", "AutoTokenizer"]);
    fs::rename(copy.path("vocab.txt"), copy.path("spiece.model")).unwrap();
    assert_contains(&copy.error(), &["spiece.model", "SentencePiece", "AutoTokenizer"]);
}

#[test]
fn uses_the_lowest_limit() {
    let limit = |changes: &dyn Fn(&Copy)| {
        let copy = Copy::of("roberta");
        changes(&copy);
        copy.tokenizer().map(|tokenizer| tokenizer.limit()).map_err(|error| error.to_string())
    };
    let set =
        |copy: &Copy, file: &str, field: &str, value: Value| copy.edit(file, |json| json[field] = value);
    // 40 position embeddings, of which the first two are not used for tokens.
    assert_eq!(limit(&|copy| set(copy, "tokenizer_config.json", "model_max_length", json!(1e30))), Ok(38));
    assert_eq!(limit(&|copy| set(copy, "sentence_bert_config.json", "max_seq_length", json!(512))), Ok(38));
    assert_eq!(limit(&|copy| set(copy, "sentence_roberta_config.json", "max_seq_length", json!(17))), Ok(17));
    assert_eq!(limit(&|copy| set(copy, "tokenizer_config.json", "model_max_length", json!(20))), Ok(20));
    let arguments = json!({"model_max_length": 11});
    assert_eq!(
        limit(&|copy| set(copy, "sentence_bert_config.json", "tokenizer_args", arguments.clone())),
        Ok(11)
    );
    let error =
        limit(&|copy| set(copy, "tokenizer_config.json", "model_max_length", json!("many"))).unwrap_err();
    assert_contains(&error, &["tokenizer_config.json", "`model_max_length` is \"many\""]);
    let error =
        limit(&|copy| set(copy, "sentence_bert_config.json", "max_seq_length", json!(2))).unwrap_err();
    assert_contains(&error, &["2 special tokens", "at most 2 tokens"]);
    let error = limit(&|copy| set(copy, "tokenizer_config.json", "padding_side", json!("up"))).unwrap_err();
    assert_contains(&error, &["`padding_side` is \"up\", expected \"left\" or \"right\""]);
}

#[test]
fn rejects_unsupported_tokens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/roberta");
    let tower = open_text_tower(&folder, Dtype::F32, &Device::flex()).unwrap();
    assert!(tower.embed(&[TokenIds(vec![4; 38])]).is_ok());
    let error = tower.embed(&[TokenIds(vec![4; 39])]).unwrap_err();
    assert_contains(&error.to_string(), &["token ids", "39", "at most 38 tokens"]);
    let error = tower.embed(&[TokenIds(vec![4, 100_000])]).unwrap_err();
    assert!(matches!(error, TowerError::Encode(EncodeError::Token { token: 100_000, .. })), "{error:?}");
}

#[test]
fn rejects_normalizers_that_grow_texts() {
    let copy = Copy::of("bert_mean");
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(2000)});
    copy.edit("tokenizer.json", |tokenizer| tokenizer["normalizer"] = replace);
    assert_contains(
        &copy.tokenizer().unwrap_err().to_string(),
        &["tokenizer.json", "more than 1024 times longer"],
    );
}

#[test]
fn errors_and_panics_of_the_tokenizers_library_are_errors() {
    let split = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    let word_piece = json!({"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "",
        "max_input_chars_per_word": 0, "vocab": {}});
    let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
        "pair": [], "special_tokens": {}});
    let look_ahead = json!({"type": "Replace", "pattern": {"Regex": "(?=a*)*"}, "content": ""});
    let panics = "the tokenizer file causes a panic in the tokenizers library";
    for (field, value, expected) in [
        ("pre_tokenizer", split, "Opening parenthesis without closing parenthesis"),
        ("normalizer", look_ahead, "Target of repeat operator is invalid"),
        ("model", json!({"type": "Unigram", "unk_id": 7, "vocab": []}), "EmptyVocabulary"),
        ("model", json!({"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}), "`b` out of vocabulary"),
        ("post_processor", template, panics),
        ("version", json!("9.9"), "Unknown tokenizer version '9.9'"),
    ] {
        let copy = Copy::of("bert_mean");
        copy.edit("tokenizer.json", |tokenizer| tokenizer[field] = value);
        let error = copy.tokenizer().unwrap_err();
        assert!(matches!(error, ModelError::Format { .. }), "{field}: {error:?}");
        assert_contains(&error.to_string(), &["tokenizer.json", expected]);
    }
    // Valid files that fail for some texts.
    for (field, value, expected) in [
        (
            "pre_tokenizer",
            json!({"type": "FixedLength", "length": 0}),
            "the tokenizer file causes a panic in the tokenizers library: chunk size must be non-zero",
        ),
        ("model", word_piece, "WordPiece error: Missing [UNK] token from the vocabulary"),
    ] {
        let copy = Copy::of("bert_mean");
        copy.edit("tokenizer.json", |tokenizer| tokenizer[field] = value);
        let tokenizer = copy.tokenizer().unwrap();
        assert_eq!(tokenizer.tokenize("").unwrap().0.len(), 2, "{field}");
        assert_eq!(tokenizer.tokenize("a cat").unwrap_err().to_string(), expected, "{field}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn corrupt_tokenizers_never_panic(seed in any::<u64>(), name in prop::sample::select(vec!["bert_mean", "roberta", "xlm_roberta"])) {
        let copy = Copy::of(name);
        let mut bytes = fs::read(copy.path("tokenizer.json")).unwrap();
        let mut state = seed | 1;
        for _ in 0..1 + seed % 4 {
            // xorshift
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let index = state as usize % bytes.len();
            let digits = b"0123456789\"{}[],:truefalsnu-";
            bytes[index] = digits[(state >> 32) as usize % digits.len()];
        }
        fs::write(copy.path("tokenizer.json"), bytes).unwrap();
        if let Ok(tokenizer) = copy.tokenizer()
            && let Ok(TokenIds(ids)) = tokenizer.tokenize("A cat [MASK] d\u{e9}j\u{e0} \u{65e5}\u{672c} <s> 12345")
        {
            prop_assert!(ids.len() <= tokenizer.limit(), "{ids:?}");
        }
    }

    #[test]
    fn any_text_is_tokenized_within_the_limit(text in "\\PC*", control in any::<String>()) {
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
