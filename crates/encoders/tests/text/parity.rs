//! Tiny models of every family against transformers and sentence-transformers.

use std::path::{Path, PathBuf};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::{
    Dtype, EncodeError, Layer, PaddingSide, TextEncoder, TextFeatures, TextPooling, TextTower, TokenBatch,
    TokenIds, TowerError,
};
use sail_encoders::{ModelError, ModelFolder, TextOptions, load_text};

use crate::open_text_tower;

const MODELS: [&str; 27] = [
    "bert_mean",
    "bert_cls",
    "mpnet",
    "roberta",
    "xlm_roberta",
    "distilbert",
    "gte",
    "gte_new",
    "modernbert",
    "modernbert_old",
    "nomic_bert",
    "nomic_bert_old",
    "jina",
    "t5",
    "t5_gated",
    "clip",
    "clip_projection",
    "metaclip_2",
    "siglip",
    "siglip2",
    "tipsv2",
    "qwen2",
    "qwen3",
    "mistral",
    "llama",
    "gemma3",
    "nv_embed",
];

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text").join(name)
}

fn open(name: &str) -> TextTower {
    open_text_tower(&fixture(name), Dtype::F32, &Device::flex()).unwrap()
}

/// Opens the tower of a model without the modules after its pooling: the reference is the pooled embedding before those.
fn open_pooled(name: &str, dtype: Dtype) -> Result<TextTower, ModelError> {
    let options = TextOptions { dtype, skip_modules: true, ..TextOptions::default() };
    load_text(&ModelFolder::open(fixture(name))?, &options, &Device::flex())
}

pub(crate) fn texts() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(fixture("texts.json")).unwrap()).unwrap()
}

/// The results of the reference for the texts.
struct Expected {
    ids: Vec<TokenIds>,
    tokens: Vec<Vec<f32>>,
    pooled: Vec<Vec<f32>>,
}

fn expected(name: &str) -> Expected {
    let bytes = std::fs::read(fixture(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let integers = |name: &str| -> Vec<i64> {
        let bytes = file.tensor(name).unwrap().data();
        bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
    };
    let rows = |name: &str| -> Vec<Vec<f32>> {
        let tensor = file.tensor(name).unwrap();
        let values: Vec<f32> = tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        values.chunks(tensor.shape()[1]).map(<[f32]>::to_vec).collect()
    };
    let (mut ids, mut tokens) = (integers("ids"), rows("tokens"));
    let lengths = integers("lengths");
    let split = |length: &i64| {
        let rest = ids.split_off(*length as usize);
        TokenIds(std::mem::replace(&mut ids, rest).into_iter().map(|id| id as u32).collect())
    };
    let ids = lengths.iter().map(split).collect();
    let tokens = lengths.iter().map(|length| tokens.drain(..*length as usize).flatten().collect()).collect();
    Expected { ids, tokens, pooled: rows("pooled") }
}

/// Pads texts to one batch.
fn batch(texts: &[&TokenIds], side: PaddingSide, fill: i64) -> TokenBatch {
    let length = texts.iter().map(|text| text.0.len()).max().unwrap();
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for TokenIds(text) in texts {
        let mut row: Vec<(i64, bool)> = text.iter().map(|&id| (i64::from(id), true)).collect();
        row.resize(length, (fill, false));
        if side == PaddingSide::Left {
            row.rotate_left(text.len());
        }
        ids.extend(row.iter().map(|token| token.0));
        mask.extend(row.iter().map(|token| token.1));
    }
    let shape = [texts.len(), length];
    let device = Device::flex();
    TokenBatch {
        ids: Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &device),
        mask: Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), &device),
    }
}

/// Returns the states of the unmasked tokens of every text.
fn states(encoder: &dyn TextEncoder, texts: &[&TokenIds], side: PaddingSide, fill: i64) -> Vec<Vec<f32>> {
    unmasked(encoder.encode_texts(batch(texts, side, fill)).unwrap(), texts, side)
}

fn unmasked(features: TextFeatures, texts: &[&TokenIds], side: PaddingSide) -> Vec<Vec<f32>> {
    let [_, length, hidden] = features.tokens.dims();
    let values = features.tokens.into_data().try_to_vec::<f32>().unwrap();
    let rows = values.chunks(length * hidden).zip(texts);
    rows.map(|(row, text)| match side {
        PaddingSide::Left => row[(length - text.0.len()) * hidden..].to_vec(),
        PaddingSide::Right => row[..text.0.len() * hidden].to_vec(),
    })
    .collect()
}

/// Checks the maximum error relative to the largest expected value, and the cosine similarity.
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    let off = found.iter().zip(expected).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
    assert!(off <= tolerance * scale, "{what}: off by {off}, at a scale of {scale}");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
    assert!(cosine >= 1.0 - f64::from(tolerance) / 10.0, "{what}: cosine {cosine}");
}

#[test]
fn token_ids_match_the_reference() {
    for model in MODELS {
        let tower = open(model);
        for (text, expected) in texts().iter().zip(expected(model).ids) {
            assert_eq!(tower.tokenizer.tokenize(text).unwrap(), expected, "{model}: {text:?}");
        }
    }
}

#[test]
fn token_states_match_the_reference() {
    for model in MODELS {
        let (tower, expected) = (open(model), expected(model));
        let padding = tower.tokenizer.padding();
        let texts: Vec<&TokenIds> = expected.ids.iter().collect();
        let found = states(&*tower.encoder, &texts, padding.side, i64::from(padding.id));
        for (row, (found, expected)) in found.iter().zip(&expected.tokens).enumerate() {
            assert_close(found, expected, 1e-4, &format!("{model}, text {row}"));
        }
    }
}

#[test]
fn layers_match_the_reference() {
    for model in ["bert_mean", "mpnet", "modernbert", "qwen3", "gemma3", "t5"] {
        let tower = open(model);
        let ids = expected(model).ids;
        let texts: Vec<&TokenIds> = ids.iter().collect();
        let padding = tower.tokenizer.padding();
        let bytes = std::fs::read(fixture(model).join("layers.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let layers: Vec<Layer> =
            file.names().iter().map(|name| name.replace("hidden.", "-").parse().unwrap()).collect();
        let batch = batch(&texts, padding.side, i64::from(padding.id));
        // In one pass, in any order, with the last.
        let mut found = tower.encoder.encode_layers(batch, &[&layers[..], &[Layer::Last]].concat()).unwrap();
        let last = unmasked(found.pop().unwrap(), &texts, padding.side);
        assert_eq!(last, states(&*tower.encoder, &texts, padding.side, i64::from(padding.id)));
        for (layer, found) in layers.iter().zip(found) {
            let tensor = file.tensor(&layer.to_string().replace('-', "hidden.")).unwrap();
            let expected: Vec<f32> =
                tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            let found = unmasked(found, &texts, padding.side).concat();
            assert_close(&found, &expected, 1e-4, &format!("{model}, layer {layer}"));
        }
        let beyond = Layer::FromEnd(layers.len() + 2);
        let error = tower.at_layer(beyond).embed(&ids).unwrap_err();
        assert!(
            matches!(error, TowerError::Encode(EncodeError::Layer { requested, .. }) if requested == beyond)
        );
    }
}

#[test]
fn a_tower_at_a_layer_pools_and_normalizes_its_states() {
    let tower = open("bert_mean");
    let ids = expected("bert_mean").ids;
    let layer = Layer::FromEnd(2);
    let rows = tower.embed_layers(&ids, &[Layer::Last, layer], usize::MAX).unwrap();
    assert_eq!(rows[0].to_data(), tower.embed(&ids).unwrap().into_data());
    let at_layer = tower.at_layer(layer);
    assert_eq!(rows[1].to_data(), at_layer.embed(&ids).unwrap().into_data());
    assert_eq!(at_layer.provenance().layer, Some(layer));
    assert!(rows[0].clone().sub(rows[1].clone()).abs().max().into_scalar::<f32>() > 1e-2);
    let norms = rows[1].clone().powf_scalar(2.0).sum_dim(1).into_data().try_to_vec::<f32>().unwrap();
    assert!(norms.iter().all(|norm| (norm - 1.0).abs() < 1e-5), "{norms:?}");
    // A model's own pooled output is of its last layer.
    let clip = open("clip").at_layer(layer);
    assert!(matches!(clip.embed_texts(&["a cat"]), Err(TowerError::Pooling(_))));
}

#[test]
fn sentence_embeddings_match_the_reference() {
    for model in MODELS {
        let mut tower = open_pooled(model, Dtype::F32).unwrap();
        let (expected, texts) = (expected(model), texts());
        for _ in 0..2 {
            let data = tower.embed_texts(&texts).unwrap().into_data();
            let values = data.try_to_vec::<f32>().unwrap();
            for (row, expected) in expected.pooled.iter().enumerate() {
                let found = &values[row * expected.len()..][..expected.len()];
                assert_close(found, expected, 1e-4, &format!("{model}, text {row}"));
            }
            // Again, as the pooled output of the model.
            tower.pooling = TextPooling::Pooled;
        }
    }
}

#[test]
fn default_poolings_are_those_of_the_models() {
    let expected = [
        // Normalized.
        ("bert_mean", TextPooling::Pooled),
        ("bert_cls", TextPooling::Class),
        ("mpnet", TextPooling::Mean),
        ("roberta", TextPooling::Last),
        ("gte_new", TextPooling::Mean),
        ("modernbert_old", TextPooling::Class),
        // Of the model itself.
        ("clip", TextPooling::Pooled),
        ("siglip", TextPooling::Pooled),
    ];
    for (model, pooling) in expected {
        assert_eq!(open(model).pooling, pooling, "{model}");
    }
}

#[test]
fn results_do_not_depend_on_the_batch_or_padding() {
    for model in MODELS {
        let (tower, expected) = (open(model), expected(model));
        let texts: Vec<&TokenIds> = expected.ids.iter().collect();
        let fill = i64::from(tower.tokenizer.padding().id);
        for side in [PaddingSide::Left, PaddingSide::Right] {
            let together = states(&*tower.encoder, &texts, side, fill);
            // Another padding token.
            let other = states(&*tower.encoder, &texts, side, 9);
            for (row, text) in texts.iter().enumerate() {
                let alone = &states(&*tower.encoder, &[text], side, fill)[0];
                assert_close(&together[row], alone, 1e-5, &format!("{model}, text {row}, {side:?}"));
                assert_close(&other[row], alone, 1e-5, &format!("{model}, text {row}, {side:?}"));
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let texts: Vec<String> = (0..200).map(|i| format!("a {} cat {}", "very ".repeat(i % 7), i)).collect();
    let tower = open("mpnet");
    let embed = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| tower.embed_texts(&texts).unwrap().into_data().try_to_vec::<f32>().unwrap())
    };
    let one = embed(1);
    assert_eq!(one, embed(2));
    assert_eq!(one, embed(5));
}

#[test]
fn half_precision_is_close() {
    for model in MODELS {
        let expected = expected(model);
        for (dtype, tolerance) in [(Dtype::F16, 0.02), (Dtype::BF16, 0.15)] {
            let tower = match open_pooled(model, dtype) {
                Ok(tower) => tower,
                Err(error) => {
                    assert!(
                        ["t5", "t5_gated", "gemma3"].contains(&model) && dtype == Dtype::F16,
                        "{model}: {error}"
                    );
                    assert!(error.to_string().contains("exceed the range of f16"), "{error}");
                    continue;
                }
            };
            let rows = tower.embed(&expected.ids).unwrap();
            assert_eq!(rows.dtype(), burn::tensor::DType::F32);
            let found = rows.into_data().try_to_vec::<f32>().unwrap();
            let what = format!("{model} in {dtype:?}");
            assert_close(&found, &expected.pooled.concat(), tolerance, &what);
        }
    }
}

#[test]
fn describes_the_tokenizer() {
    let description = |model| open(model).tokenizer.describe();
    let bert = description("bert_mean");
    assert!(
        bert.ends_with("at most 25 tokens with [CLS] [SEP], cut at the right, padded with 2 at the right"),
        "{bert}"
    );
    let roberta = description("roberta");
    assert!(
        roberta.ends_with("at most 38 tokens with <s> </s>, cut at the left, padded with 1 at the left"),
        "{roberta}"
    );
    // Another vocabulary and normalizer, with the same limits and special tokens.
    assert_ne!(description("bert_cls").split(',').next(), bert.split(',').next());
}

#[test]
fn cuts_very_long_texts_before_tokenization() {
    for model in ["bert_mean", "roberta"] {
        let tower = open(model);
        let long = tower.tokenizer.tokenize(&"a cat, d\u{e9}j\u{e0} vu ".repeat(5000)).unwrap();
        assert_eq!(tower.tokenizer.tokenize(&"a cat, d\u{e9}j\u{e0} vu ".repeat(2_000_000)).unwrap(), long);
    }
}

#[test]
fn embeds_no_texts() {
    for model in MODELS {
        let (tower, expected) = (open_pooled(model, Dtype::F32).unwrap(), expected(model));
        assert_eq!(tower.embed(&[]).unwrap().dims(), [0, expected.pooled[0].len()], "{model}");
        let tower = open(model);
        let [_, dim] = tower.embed(&expected.ids[..1]).unwrap().dims();
        assert_eq!(tower.embed(&[]).unwrap().dims(), [0, dim], "{model}");
    }
}
