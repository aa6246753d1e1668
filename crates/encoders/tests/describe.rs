//! Descriptions of models.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use sail_core::{ImagePooling, Modality};
use sail_encoders::{FamilyInfo, ModelDescription, ModelFolder, check, describe, families, reference_code};
use serde_json::json;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a tiny vision model with the preprocessing of its class.
fn vision(name: &str, class: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("vision").join(name)).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_str().unwrap().starts_with("expected")
            && entry.file_name() != "dense.safetensors"
        {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let settings = json!({"image_processor_type": format!("{class}ImageProcessor"), "size": {"height": 16, "width": 16}});
    std::fs::write(folder.path().join("preprocessor_config.json"), settings.to_string()).unwrap();
    folder
}

/// A tiny text model with other modules.
fn sentence(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for source in [fixture("text/bert_mean"), fixture("sentence").join(name)] {
        copy(&source, folder.path());
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn described(folder: &Path) -> ModelDescription {
    describe(&ModelFolder::open(folder).unwrap()).unwrap()
}

fn code(folder: &Path, side: Modality) -> Option<String> {
    reference_code(&ModelFolder::open(folder).unwrap(), side, "org/model").unwrap()
}

#[test]
fn families_are_listed_and_found() {
    let names: Vec<&str> = families().map(|family| family.name).collect();
    assert!(names.contains(&"DINOv2") && names.contains(&"BERT"), "{names:?}");
    for family in families() {
        assert!(family.images || family.texts, "{}", family.name);
        for model_type in family.model_types {
            assert_eq!(FamilyInfo::of(&json!({ "model_type": model_type })), Some(family));
        }
    }
    assert_eq!(FamilyInfo::of(&json!({"model_type": "gpt2"})), None);
}

#[test]
fn a_vision_model_is_described_as_it_computes() {
    let folder = vision("registers", "ViT");
    let model = described(folder.path());
    let image = model.image.as_ref().unwrap();
    assert_eq!((model.family, model.text.is_none()), ("DINOv2", true));
    assert_eq!((image.class_tokens, image.pooling, image.dim), (1, ImagePooling::Concat, 2 * image.width));
    assert!(image.registers > 0 && image.positions.contains("antialiasing"), "{image:?}");
    // The number of values in the file.
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values: usize =
        file.tensors().iter().map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum();
    assert_eq!(model.parameters, values as u64);
    let text = model.to_string();
    for line in
        ["family       DINOv2", "images", "  sizes      sides that are multiples of 4", "  pooling    concat"]
    {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[test]
fn a_text_model_is_described_as_it_computes() {
    let model = described(&fixture("text/bert_mean"));
    let text = model.text.unwrap();
    assert_eq!(
        (model.family, text.causal, text.window, text.pooling.as_str()),
        ("BERT", false, None, "mean")
    );
    assert!(text.positions.starts_with("a table of "), "{}", text.positions);
    let prompted = described(sentence("prompt").path()).text.unwrap();
    assert!(!prompted.prompt.is_empty() && !prompted.prompts.is_empty(), "{prompted:?}");
    let dense = described(sentence("dense").path()).text.unwrap();
    assert!(!dense.modules.is_empty() && dense.dim != dense.width, "{dense:?}");
}

#[test]
fn a_model_of_both_sides_needs_the_files_of_one() {
    let folder = vision("clip", "CLIP");
    let model = described(folder.path());
    assert!(model.image.is_some() && model.text.is_none());
    assert!(model.unavailable[0].starts_with("texts: "), "{:?}", model.unavailable);
    assert_eq!(model.sides().collect::<Vec<_>>(), [Modality::Image]);
}

#[test]
fn unknown_families_are_an_error_that_lists_the_known_ones() {
    let folder = vision("vit", "ViT");
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "gpt2"}"#).unwrap();
    let error = describe(&ModelFolder::open(folder.path()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("`model_type` of the model is \"gpt2\"") && error.contains("dinov2"), "{error}");
}

#[test]
fn programs_are_those_of_the_library_of_the_files() {
    let program = code(vision("registers", "ViT").path(), Modality::Image).unwrap();
    assert!(program.contains("AutoModel.from_pretrained(\"org/model\", dtype=\"float32\")"), "{program}");
    let registers = described(vision("registers", "ViT").path()).image.unwrap().registers;
    let row = format!("[:, 0], output.last_hidden_state[:, {}:].mean(1)], 1)", registers + 1);
    assert!(program.contains(&row), "{program}");
    let clip = code(vision("clip", "CLIP").path(), Modality::Image).unwrap();
    assert!(clip.contains("model.vision_model(") && clip.contains("row = output.pooler_output"), "{clip}");
    let timm = code(vision("convnext_timm", "ViT").path(), Modality::Image).unwrap();
    assert!(timm.contains("timm.create_model(\"hf-hub:org/model\", pretrained=True)"), "{timm}");
    assert_eq!(code(vision("ibot_original", "ViT").path(), Modality::Image), None);
    let text = code(&fixture("text/bert_mean"), Modality::Text).unwrap();
    assert!(text.contains("SentenceTransformer(\"org/model\"") && text.contains(check::TEXT), "{text}");
}

#[test]
fn programs_are_valid_python() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let mut write = |name: &str, program: Option<String>| {
        let path = folder.path().join(format!("{name}.py"));
        std::fs::write(&path, program.unwrap_or_else(|| panic!("no program for {name}"))).unwrap();
        files.push(path);
    };
    for (name, class) in [
        ("registers", "ViT"),
        ("dinov3_vit", "DINOv3ViT"),
        ("vit_mae", "ViT"),
        ("clip", "CLIP"),
        ("siglip", "Siglip"),
        ("tipsv2", "Tipsv2"),
        ("timm_vit", "ViT"),
        ("open_clip", "CLIP"),
        ("resnet", "ViT"),
    ] {
        write(name, code(vision(name, class).path(), Modality::Image));
    }
    for name in ["bert_mean", "clip", "siglip", "tipsv2", "qwen3"] {
        write(&format!("text_{name}"), code(&fixture("text").join(name), Modality::Text));
    }
    write("text_open_clip", code(&fixture("vision/open_clip"), Modality::Text));
    let compiled =
        std::process::Command::new("python3").args(["-m", "py_compile"]).args(files).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}
