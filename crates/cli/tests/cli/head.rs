//! `sail head import` and `export`, and the heads of published pairs.

use std::path::Path;

use sail_vl::burn::tensor::Device;
use sail_vl::layers::{ExportFormat, Head, HeadConfig, ProjectorConfig};

use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN};

/// A lab with the head that the authors' code would save, and its settings.
fn lab() -> Lab {
    let lab = Lab::empty();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers/tests/fixtures/reference");
    for name in ["star.pt", "star.yaml", "exported.pt", "exported.safetensors"] {
        std::fs::copy(fixtures.join(name), lab.path(name)).unwrap();
    }
    lab
}

/// Puts a file into the hub's cache of a lab.
fn cache(lab: &Lab, repository: &str, name: &str, write: impl FnOnce(&Path)) {
    let commit = "00112233445566778899aabbccddeeff00112233";
    let folder = lab.path("hub").join(format!("models--{}", repository.replace('/', "--")));
    std::fs::create_dir_all(folder.join("snapshots").join(commit)).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), commit).unwrap();
    write(&folder.join("snapshots").join(commit).join(name));
}

#[test]
fn imports_and_exports_heads() {
    let lab = lab();
    let models = "--vision facebook/dinov2-large --text org/model";
    let ran = lab.run(&format!("head import star.pt {models} --out head.safetensors")).succeeded();
    assert!(
        ran.out.contains("6 -> layer norm, Glu { width: 3 }, trained on facebook/dinov2-large"),
        "{}",
        ran.out
    );
    let shown = lab.run("head show head.safetensors --json").json();
    assert_eq!(shown["config"]["text"]["trained_on"]["model"], "org/model");
    for name in ["exported.pt", "exported.safetensors"] {
        lab.run(&format!("head export head.safetensors -o new-{name}")).succeeded();
        assert!(lab.read(&format!("new-{name}")) == lab.read(name), "{name}");
        lab.run(&format!("head import {name} {models} -o again-{name}")).succeeded();
        assert!(lab.read(&format!("again-{name}")) == lab.read("head.safetensors"), "{name}");
    }
    lab.run("head export head.safetensors -o as.bin --format pt").succeeded();
    assert!(lab.read("as.bin") == lab.read("exported.pt"));
}

#[test]
fn refuses_what_it_cannot_import_or_export() {
    let lab = lab();
    lab.run("head import star.pt --out head.safetensors").succeeded();
    lab.refuses("head import star.pt --out head.safetensors", 2, &["head.safetensors exists"]);
    lab.refuses("head export head.safetensors --out star.pt", 2, &["star.pt exists"]);
    lab.refuses("head export head.safetensors --out x.onnx", 2, &["x.onnx does not end in", "--format"]);
    lab.refuses("head import head.safetensors --out x", 1, &["head.safetensors", "already"]);
    lab.refuses("head import star.yaml --out x", 1, &["star.yaml", "neither a file of `torch.save`"]);
    std::fs::write(lab.path("other.yaml"), "linear_type: mlp\n").unwrap();
    let words = ["star.pt", "other.yaml: `linear_type` is `mlp`", "`star`"];
    lab.refuses("head import star.pt --config other.yaml --out x", 1, &words);
}

#[test]
fn a_published_pair_takes_the_place_of_a_head() {
    let lab = Lab::new(40);
    for (pair, file, text) in [
        ("sail-l-gte", "sail_dinov2l_gte.pt", 1024),
        // Not the dimension of NV-Embed-v2.
        ("sail-l-nv2", "sail_dinov2l_nv2.pt", 8),
    ] {
        lab.refuses(&format!("head show {pair}"), 1, &[pair, "le723z/sail"]);
        cache(&lab, "le723z/sail", file, |path| {
            let config = HeadConfig::new(2048, text, 4, ProjectorConfig::Linear {});
            Head::new(&config, 0, &Device::flex()).unwrap().export(path, ExportFormat::Pytorch).unwrap();
        });
    }
    let shown = lab.run("head show sail-l-gte --json").json();
    let trained_on = |side: &str| shown["config"][side]["trained_on"].clone();
    let vision = serde_json::json!({"model": "facebook/dinov2-large", "pooling": "concat"});
    assert_eq!(trained_on("image"), vision);
    assert_eq!(trained_on("text")["pooling"], "class");
    lab.run("head export sail-l-gte -o gte.safetensors").succeeded();
    lab.run("head import sail-l-gte -o gte-head.safetensors").succeeded();
    assert_eq!(lab.run("head show gte-head.safetensors --json").json(), shown);
    lab.refuses("head import sail-l-gte --text org/model -o x", 2, &["sail-l-gte is a published pair"]);
    lab.refuses("head show sail-l-nv2", 1, &["text features have 4096 dimensions, expected 8"]);
    let ran = lab.run("head show sail-l-nv2");
    assert!(ran.err.contains("nvidia/NV-Embed-v2 are licensed for non-commercial use only"), "{}", ran.err);
    // The features of other models.
    let dims = ["64 dimensions", "expected 2048"];
    lab.refuses("eval retrieval --head sail-l-gte --images images --texts texts", 1, &dims);
    assert_eq!((IMAGE_DIM, TEXT_DIM), (64, 48));

    // A file of that name comes first.
    lab.run(&format!("{TRAIN} --epochs 1 --out run")).succeeded();
    std::fs::copy(lab.path("run/head.safetensors"), lab.path("sail-l-gte")).unwrap();
    lab.run("eval retrieval --head sail-l-gte --images images --texts texts").succeeded();
}
