//! Published configurations, against `published.txt` beside them.
//!
//! With `UPDATE_SNAPSHOTS` in the environment, the files are written instead.

use std::fmt::{Debug, Write};
use std::path::Path;

use serde_json::{Map, Value};

use super::{Source, VisionSide, text, vision};
use crate::pretrained::{Checkpoint, ModelError};
use crate::spec::BlockSpec;

/// One line for a specification without its blocks, and one for every run of equal blocks.
fn describe(spec: impl Debug, blocks: &[BlockSpec]) -> String {
    let mut text = format!("{spec:?}\n");
    for run in blocks.chunk_by(|a, b| a == b) {
        writeln!(text, "{} x {:?}", run.len(), run[0]).unwrap();
    }
    text
}

/// Compares what is read of every configuration in a folder of fixtures.
fn compare(folder: &str, read: impl Fn(&Source<'_>) -> Result<String, ModelError>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let configs = std::fs::read(folder.join("published.json")).unwrap();
    let configs: Map<String, Value> = serde_json::from_slice(&configs).unwrap();
    let mut found = String::new();
    for (name, config) in &configs {
        let source = Source { config, checkpoint: &Checkpoint::default() };
        let described = read(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
        writeln!(found, "{name}{described}").unwrap();
    }
    let path = folder.join("published.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (found, expected) in found.split("\n\n").zip(expected.split("\n\n")) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

#[test]
fn specifications_of_published_vision_models() {
    compare("vision", |source| match vision(source.config)? {
        VisionSide::Transformer(plan) => {
            let mut spec = plan(source)?.spec;
            let (pooling, blocks) = (spec.default_pooling(), std::mem::take(&mut spec.blocks));
            Ok(format!(", pooling {pooling:?}\n{}", describe(spec, &blocks)))
        }
        VisionSide::Convolutional(plan) => {
            let spec = plan(source)?.spec;
            Ok(format!(", pooling {:?}\n{}", spec.default_pooling(), describe(&spec, &[])))
        }
    });
}

#[test]
fn specifications_of_published_text_models() {
    compare("text", |source| {
        let mut spec = text(source)?.spec;
        let blocks = std::mem::take(&mut spec.blocks);
        Ok(format!("\n{}", describe(spec, &blocks)))
    });
}
