//! Heads of the authors' code: import, export and invalid files. The files in `fixtures/reference` were written by PyTorch,
//! except for `exported.*`, which `generate.py` reads with PyTorch.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use sail_core::{AlignmentHead, HeadError, Provenance, l2_normalize};
use sail_layers::{ExportFormat, Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_support::torch::{Floats, save};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    images: Vec<f32>,
    texts: Vec<f32>,
    logits: BTreeMap<String, Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference").join(name)
}

fn import(path: impl AsRef<Path>) -> Result<Head, HeadError> {
    Head::import(path, None, &Device::flex())
}

fn logits(head: &Head, expected: &Expected) -> Vec<f32> {
    let input = |values: &[f32]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [3, values.len() / 3]), &Device::flex())
    };
    let images = l2_normalize(head.project_images(input(&expected.images)).unwrap());
    let texts = l2_normalize(head.project_texts(input(&expected.texts)).unwrap());
    let scale = head.log_scale().exp().unsqueeze();
    (images.matmul(texts.transpose()) * scale + head.bias().unsqueeze()).try_into_vec_as().unwrap()
}

#[test]
fn imported_heads_give_the_logits_of_pytorch() {
    let expected: Expected =
        serde_json::from_str(&std::fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    let kinds = [
        ("star", ProjectorConfig::Glu { width: 3 }),
        ("mlp", ProjectorConfig::MLP),
        ("linear", ProjectorConfig::Linear {}),
        ("sharelock", ProjectorConfig::ShareLock { hidden: 7, layers: 4, dropout: 0.2 }),
    ];
    for (name, projector) in kinds {
        let head = import(fixture(&format!("{name}.pt"))).unwrap();
        let config = head.config();
        assert_eq!(config.text, Some(SideConfig::new(5, projector)), "{name}");
        if name == "sharelock" {
            assert_eq!(config.image, Some(SideConfig::new(6, ProjectorConfig::Identity {})));
        }
        let reference = &expected.logits[name];
        let largest = reference.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (found, reference) in logits(&head, &expected).iter().zip(reference) {
            assert!((found - reference).abs() <= 1e-5 * largest, "{name}: {found}, expected {reference}");
        }
    }
}

#[test]
fn exports_are_what_pytorch_reads_and_import_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["star", "mlp", "linear", "sharelock"] {
        let head = import(fixture(&format!("{name}.pt"))).unwrap();
        for format in [ExportFormat::Pytorch, ExportFormat::Safetensors] {
            let path = folder.path().join(format!("exported.{format}"));
            head.export(&path, format).unwrap();
            assert_eq!(import(&path).unwrap().to_bytes().unwrap(), head.to_bytes().unwrap());
            if name == "star" {
                let committed = fixture(&format!("exported.{format}"));
                assert!(std::fs::read(path).unwrap() == std::fs::read(committed).unwrap(), "{format}");
            }
        }
    }
}

#[test]
fn heads_that_the_reference_does_not_have_are_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.pt");
    let export = |edit: fn(&mut HeadConfig)| {
        let mut config = HeadConfig::new(4, 4, 4, ProjectorConfig::Linear {});
        edit(&mut config);
        let head = Head::new(&config, 0, &Device::flex()).unwrap();
        head.export(&path, ExportFormat::Pytorch).unwrap_err().to_string()
    };
    let swiglu =
        export(|config| config.text = Some(SideConfig::new(4, ProjectorConfig::SwiGlu { width: 1 })));
    assert!(swiglu.contains("text side has the projector `swiglu`"), "{swiglu}");
    let norm = export(|config| config.image.as_mut().unwrap().norm = false);
    assert!(norm.contains("image side has no LayerNorm"), "{norm}");
    let identity = export(|config| config.text = Some(SideConfig::new(4, ProjectorConfig::Identity {})));
    assert!(identity.contains("text side has the projector `identity`"), "{identity}");
    assert!(!path.exists());
}

#[test]
fn settings_that_contradict_the_tensors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.pt");
    std::fs::copy(fixture("star.pt"), &path).unwrap();
    let yaml = |text: &str| std::fs::write(folder.path().join("star.yaml"), text).unwrap();
    yaml("target_dimension: 1024\n");
    let beside = import(&path).unwrap_err().to_string();
    assert!(beside.contains("star.yaml: `target_dimension` is `1024`"), "{beside}");
    assert!(beside.contains("tensors are those of `4`"), "{beside}");
    let given = fixture("star.yaml");
    assert!(Head::import(&path, Some(&given), &Device::flex()).is_ok(), "another file was named");
    let missing = Head::import(&path, Some(Path::new("missing.yaml")), &Device::flex());
    assert!(matches!(missing, Err(HeadError::Io { .. })));
}

/// A file with tensors of zeros.
fn zeros(path: &Path, tensors: &[(&str, &[usize])]) {
    let bytes = [0; 64];
    let floats = tensors.iter().map(|(name, shape)| {
        let length = 4 * shape.iter().product::<usize>();
        Floats { name, shape: shape.to_vec(), bytes: &bytes[..length] }
    });
    std::fs::write(path, save(&floats.collect::<Vec<_>>()).unwrap()).unwrap();
}

#[test]
fn invalid_files_name_the_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.pt");
    let refused = |tensors: &[(&str, &[usize])]| {
        zeros(&path, tensors);
        import(&path).unwrap_err().to_string()
    };
    for (tensors, expected) in [
        (
            &[("visual.proj", &[2, 2][..])][..],
            "no `vision_mapping_network` and no `text_mapping_network`, found `visual.proj`",
        ),
        (
            &[("text_mapping_network.weight", &[2])],
            "`text_mapping_network.weight` has shape [2], expected a matrix",
        ),
        (&[("text_mapping_network.f1.weight", &[5, 2])], "shape [5, 2], expected a multiple of 2 rows"),
        (&[("text_mapping_network.f1.weight", &[4, 2])], "no tensor `text_mapping_network.g.weight`"),
        (
            &[("vision_mapping_network.weight", &[2, 3]), ("text_mapping_network.weight", &[4, 3])],
            "vision side has 2 dimensions, the text side 4",
        ),
        (&[("logit.log_scale", &[1])], "already"),
    ] {
        let error = refused(tensors);
        assert!(error.contains(expected), "{error}");
    }
    let error = refused(&[
        ("text_mapping_network.weight", &[2, 3]),
        ("text_mapping_network.bias", &[3]),
        ("text_layer_norm.weight", &[3]),
        ("text_layer_norm.bias", &[3]),
        ("logit_scale", &[]),
        ("text_mapping_network.extra", &[1]),
    ]);
    for expected in [
        "`logit_bias` is missing; ",
        "`text_mapping_network.bias` has shape [3], expected [2]; ",
        "`text_mapping_network.extra` is unexpected",
    ] {
        assert!(error.contains(expected), "{error}");
    }

    for (bytes, expected) in [
        (&b"<!DOCTYPE html>"[..], "an HTML page"),
        (b"PK\x03\x04", "corrupt archive"),
        (b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.", "not a file written by `torch.save`"),
        (b"", "neither a file of `torch.save` nor a safetensors file"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = import(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(matches!(import(folder.path().join("none.pt")), Err(HeadError::Io { .. })));
    // Pickles that call a function, which would write a file.
    for name in ["zip_call.bin", "legacy_call.bin", "plain_call.bin"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../encoders/tests/fixtures/pretrained").join(name);
        assert!(matches!(import(path), Err(HeadError::Import { .. })), "{name}");
        assert!(!Path::new("executed-by-pickle").exists(), "{name}");
    }
}

#[test]
fn values_that_are_not_finite_are_named_as_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linear.safetensors");
    import(fixture("linear.pt")).unwrap().export(&path, ExportFormat::Safetensors).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[start..].as_chunks_mut::<4>().0.fill(f32::INFINITY.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = import(&path).unwrap_err().to_string();
    assert!(error.contains("`logit_bias` has non-finite values; `logit_scale` has"), "{error}");
}

#[test]
fn the_backbones_are_recorded_by_the_caller() {
    let head = import(fixture("star.pt")).unwrap();
    assert!(head.config().image.as_ref().unwrap().trained_on.is_none());
    let vision = Provenance::new("facebook/dinov2-large");
    let head = head.with_provenance(Some(&vision), None);
    assert!(
        head.accepts_provenance(sail_core::Side::Image, &Provenance::new("facebook/dinov2-base")).is_err()
    );
}
