//! Round trips of head files, and invalid files.

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sail_core::{AlignmentHead, HeadError, Processor, Provenance, Side, TokenLayout};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};

fn config() -> HeadConfig {
    HeadConfig::new(8, 6, 4, ProjectorConfig::Glu { width: 2 })
}

fn head() -> Head {
    let image = Provenance { pooling: Some("concat".into()), ..Provenance::new("facebook/dinov2-large") };
    Head::new(&config(), 5, &Device::flex()).unwrap().with_provenance(Some(&image), None)
}

/// The head's file with its tensors and metadata changed by `edit`.
fn edited(edit: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<u8>)>, &mut String)) -> Vec<u8> {
    let bytes = head().to_bytes().unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut json = header.metadata().as_ref().unwrap()["sail_head"].clone();
    let mut tensors: Vec<_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| (name.to_string(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    edit(&mut tensors, &mut json);
    let views = tensors.iter().map(|(name, shape, data)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
    });
    let metadata = [("sail_head".to_string(), json)].into();
    safetensors::serialize(views, Some(metadata)).unwrap()
}

fn load(bytes: Vec<u8>) -> Result<Head, HeadError> {
    Head::from_bytes(bytes, &Device::flex())
}

fn problems(bytes: Vec<u8>) -> Vec<String> {
    match load(bytes) {
        Err(HeadError::Tensors { problems }) => problems,
        other => panic!("expected tensor problems, found {other:?}"),
    }
}

#[test]
fn version_1_is_read_and_values_are_written_as_version_2() {
    let line =
        "tokenizer 0f, at most 8 tokens with [CLS] [SEP], cut at the right, padded with 0 at the right";
    let earlier = edited(|_, json| {
        assert!(json.contains("\"version\":1"), "a head without settings");
        let text = format!("\"pooling\":\"concat\",\"preprocessing\":\"{line}\"");
        *json = json.replace("\"pooling\":\"concat\"", &text);
    });
    let head = load(earlier).unwrap();
    let trained_on = head.trained_on(Side::Image).unwrap().clone();
    let Some(Processor::Settings(settings)) = &trained_on.processor else { panic!("{trained_on:?}") };
    assert_eq!((&settings["max_length"], trained_on.version()), (&8.into(), 2));
    let bytes = head.to_bytes().unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert!(header.metadata().as_ref().unwrap()["sail_head"].starts_with("{\"version\":2,"));
    assert_eq!(load(bytes).unwrap().trained_on(Side::Image), Some(&trained_on));
}

#[test]
fn heads_round_trip_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    for projector in [
        ProjectorConfig::Linear {},
        ProjectorConfig::MLP,
        ProjectorConfig::Glu { width: 3 },
        ProjectorConfig::SwiGlu { width: 2 },
        ProjectorConfig::ShareLock { hidden: 8, layers: 3, dropout: 0.2 },
        ProjectorConfig::ResidualMlp { expansion: 2, depth: 3, dropout: 0.6 },
    ] {
        let config = HeadConfig::new(8, 6, 4, projector);
        let head = Head::new(&config, 1, &Device::flex()).unwrap();
        head.save(&path).unwrap();
        let loaded = Head::load(&path, &Device::flex()).unwrap();
        assert_eq!(loaded.config(), &config);
        assert_eq!(loaded.to_bytes().unwrap(), std::fs::read(&path).unwrap());
        let x = Tensor::<2>::ones([2, 8], &Device::flex());
        let project = |head: &Head| head.project_images(x.clone()).unwrap().into_data();
        assert_eq!(project(&loaded), project(&head));
    }
}

/// FNV-1a of files written by the first release, when GLU and SwiGLU were separate layers.
#[test]
fn files_of_gated_heads_are_golden() {
    let fnv = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    for (projector, expected) in [
        (ProjectorConfig::Glu { width: 3 }, 0xef42_d62a_992b_56ac),
        (ProjectorConfig::SwiGlu { width: 2 }, 0xab50_44d0_3803_7232),
    ] {
        let head = Head::new(&HeadConfig::new(8, 6, 4, projector), 5, &Device::flex()).unwrap();
        assert_eq!(fnv(&head.to_bytes().unwrap()), expected);
    }
}

#[test]
fn a_side_may_be_missing_or_the_identity() {
    let mut config = config();
    config.text = None;
    config.image = Some(SideConfig::new(4, ProjectorConfig::Identity {}));
    let head = load(Head::new(&config, 0, &Device::flex()).unwrap().to_bytes().unwrap()).unwrap();
    let x = Tensor::<2>::ones([1, 4], &Device::flex());
    assert!(head.project_images(x.clone()).is_ok());
    assert!(matches!(head.project_texts(x), Err(HeadError::MissingSide { side: Side::Text })));
}

#[test]
fn rejects_features_of_another_backbone() {
    let head = load(head().to_bytes().unwrap()).unwrap();
    let dimension = head.project_images(Tensor::ones([1, 7], &Device::flex())).unwrap_err().to_string();
    assert_eq!(
        dimension,
        "image features have 7 dimensions, expected 8: the head was made for another backbone"
    );
    let same = Provenance::new("facebook/dinov2-large");
    head.accepts(Side::Image, 8, Some(&same)).unwrap();
    head.accepts(Side::Image, 8, None).unwrap();
    let other = Provenance { pooling: Some("class".into()), ..same };
    let error = head.accepts(Side::Image, 8, Some(&other)).unwrap_err().to_string();
    assert!(
        error.contains("other image features: `pooling` is `class`, expected `concat`: encode with"),
        "{error}"
    );
    assert!(head.accepts(Side::Text, 6, Some(&other)).is_ok(), "its text backbone is unknown");
}

#[test]
fn heads_of_tokens_and_of_pooled_features_reject_each_other() {
    let layout = TokenLayout::Image { class_token: true, grid: [2, 2], dim: 4 };
    for projector in
        [ProjectorConfig::Token {}, ProjectorConfig::TokenTransformer { depth: 2, head_width: 2 }]
    {
        let config = HeadConfig { image: Some(SideConfig::of_tokens(layout, projector.clone())), ..config() };
        let head = Head::new(&config, 1, &Device::flex()).unwrap();
        let bytes = head.to_bytes().unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert!(header.metadata().as_ref().unwrap()["sail_head"].starts_with("{\"version\":4,"));
        let loaded = load(bytes.clone()).unwrap();
        assert_eq!((loaded.config(), loaded.to_bytes().unwrap()), (&config, bytes));

        let pooled = Provenance::new("dinov2");
        let tokens = Provenance { tokens: Some(layout), ..pooled.clone() };
        loaded.accepts(Side::Image, 20, Some(&tokens)).unwrap();
        let error = loaded.accepts(Side::Image, 4, Some(&pooled)).unwrap_err().to_string();
        assert!(
            error.contains("are pooled") && error.contains(&format!("`{}`", projector.name())),
            "{error}"
        );
        let error = self::head().accepts(Side::Image, 20, Some(&tokens)).unwrap_err().to_string();
        assert!(
            error.contains("a class token and 2x2 patches of 4 values") && error.contains("`glu`"),
            "{error}"
        );
        // Another grid has another number of values.
        let other = loaded.accepts(Side::Image, 28, Some(&tokens));
        assert!(matches!(other, Err(HeadError::Dimension { found: 28, expected: 20, .. })));
    }
}

#[test]
fn errors_name_every_invalid_tensor() {
    let bytes = edited(|tensors, _| {
        tensors.retain(|(name, ..)| name != "image.norm.bias");
        for (name, shape, _) in tensors.iter_mut() {
            if name == "text.projector.output.weight" {
                shape.reverse();
            }
        }
        tensors.push(("extra".into(), vec![1], vec![0; 4]));
    });
    let problems = problems(bytes);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(problems[0], "`extra` is unexpected");
    assert!(problems[1].contains("image.norm") && problems[1].ends_with("is missing"));
    assert!(problems[2].contains("text.projector.output.weight") && problems[2].contains("has shape"));
}

#[test]
fn rejects_non_finite_weights() {
    let bytes = edited(|tensors, _| {
        let (_, _, data) = tensors.iter_mut().find(|(name, ..)| name == "logit.bias").unwrap();
        data.copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert_eq!(problems(bytes), ["`logit.bias` has non-finite values"]);
}

#[test]
fn a_config_larger_than_the_file_allocates_nothing() {
    let bytes = edited(|_, json| *json = json.replace("\"width\":2", "\"width\":2000000"));
    assert!(problems(bytes)[0].contains("bytes of weights"));
}

#[test]
fn rejects_other_files() {
    let reason = |bytes| load(bytes).unwrap_err().to_string();
    assert!(reason(vec![]).starts_with("not a head file"));
    assert!(reason(b"neither safetensors nor a head".to_vec()).starts_with("not a head file"));
    assert!(reason(b"<!DOCTYPE html><title>404</title>".to_vec()).contains("an HTML page"));
    assert!(reason(b"version https://git-lfs.github.com/spec/v1\n".to_vec()).contains("git lfs pull"));
    let plain = safetensors::serialize::<&str, TensorView, _>([], None).unwrap();
    assert!(reason(plain).contains("`sail_head`"));
    assert!(
        reason(edited(|_, json| *json = json.replace("\"version\":1", "\"version\":5")))
            .contains("version 5")
    );
    assert!(reason(edited(|_, json| json.push('}'))).starts_with("not a head file"));
    let zero = load(edited(|_, json| *json = json.replace("\"width\":2", "\"width\":0")));
    assert!(matches!(zero, Err(HeadError::Config(error)) if error.field == "width"));
    let missing = Head::load("/no/such/head.safetensors", &Device::flex());
    assert!(matches!(missing, Err(HeadError::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn corrupt_files_never_panic(at in 0usize..4000, byte: u8, cut in 0usize..4000) {
        let mut bytes = head().to_bytes().unwrap();
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = load(bytes.clone());
        bytes.truncate(cut % length);
        prop_assert!(load(bytes).is_err());
    }
}
