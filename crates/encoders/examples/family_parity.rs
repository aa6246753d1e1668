//! The largest errors of the tiny models of the tests against the reference libraries, by family.
//!
//! `cargo run --release -p sail-encoders --example family_parity -- FILE` adds them to FILE, which `docs/models.md` is made
//! from. An error is relative to the largest value of the output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::{Dtype, TokenBatch};
use sail_encoders::{FamilyInfo, ModelFolder, TextOptions, load_image_encoder, load_text};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut errors: BTreeMap<&str, f32> = BTreeMap::new();
    for (kind, compare) in
        [("vision", images as fn(&Path, &SafeTensors<'_>) -> Outcome<f32>), ("text", texts)]
    {
        for folder in folders(&fixtures.join(kind))? {
            let config: Value = serde_json::from_str(&config(&folder)?)?;
            let Some(family) = FamilyInfo::of(&config) else {
                eprintln!("{}: of no family", folder.display());
                continue;
            };
            let bytes = std::fs::read(folder.join("expected.safetensors"))?;
            match compare(&folder, &SafeTensors::deserialize(&bytes)?) {
                Ok(error) => {
                    println!("{error:.1e} {} {}", family.name, folder.display());
                    let largest = errors.entry(family.name).or_default();
                    *largest = largest.max(error);
                }
                Err(error) => eprintln!("{}: {error}", folder.display()),
            }
        }
    }
    let Some(path) = std::env::args().nth(1) else { return Ok(()) };
    let mut all: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    for (family, error) in errors {
        // Two digits: the rest differs among CPUs.
        let error: f64 = format!("{error:.0e}").parse()?;
        match all.iter_mut().find(|figures| figures["family"] == family) {
            Some(figures) => figures["error"] = error.into(),
            None => all.push(json!({ "family": family, "error": error })),
        }
    }
    std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
    Ok(())
}

/// Folders with expected outputs, sorted by name.
fn folders(root: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root)?.collect::<Result<Vec<_>, _>>()?;
    let mut found: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    found.retain(|path| path.join("expected.safetensors").exists());
    found.sort();
    Ok(found)
}

fn config(folder: &Path) -> Outcome<String> {
    let paths = ["config.json", "open_clip_config.json"].map(|name| folder.join(name));
    let path = paths.iter().find(|path| path.exists());
    Ok(std::fs::read_to_string(path.ok_or_else(|| format!("{} has no configuration", folder.display()))?)?)
}

/// The file of weights, whose name differs among families.
fn weights(folder: &Path) -> Outcome<PathBuf> {
    let is_weights = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.contains("model.") || [".pt", ".pth"].iter().any(|end| name.ends_with(end))
    };
    let files = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let path = files.into_iter().map(|file| file.path()).find(is_weights);
    Ok(path.ok_or_else(|| format!("{} has no weights", folder.display()))?)
}

/// The values of a tensor and its shape, if it is there.
fn read(file: &SafeTensors<'_>, name: &str) -> Option<(Vec<f32>, Vec<usize>)> {
    let tensor = file.tensor(name).ok()?;
    let values = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Some((values.collect(), tensor.shape().to_vec()))
}

fn error(found: &[f32], expected: &[f32]) -> Outcome<f32> {
    if found.len() != expected.len() {
        return Err(format!("{} values, expected {}", found.len(), expected.len()).into());
    }
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    Ok(found.iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs())) / scale)
}

fn images(folder: &Path, file: &SafeTensors<'_>) -> Outcome<f32> {
    let device = Device::flex();
    let encoder = load_image_encoder(&config(folder)?, &weights(folder)?, Dtype::F32, &device)?;
    let mut largest = 0.0_f32;
    for index in 0.. {
        let Some((pixels, shape)) = read(file, &format!("{index}.pixels")) else { break };
        let features = encoder.encode_images(Tensor::from_data(TensorData::new(pixels, shape), &device))?;
        let patches = features.patches.map(|patches| patches.tokens.into_data());
        let class = features.class_token.map(Tensor::into_data);
        let pooled = features.pooled.map(Tensor::into_data);
        for (part, found) in [("patches", patches), ("class", class), ("pooled", pooled)] {
            if let (Some(found), Some((expected, _))) = (found, read(file, &format!("{index}.{part}"))) {
                largest = largest.max(error(&found.iter::<f32>().collect::<Vec<_>>(), &expected)?);
            }
        }
    }
    if folder.join("text.json").exists() {
        largest = largest.max(texts_beside(folder, &device)?);
    }
    Ok(largest)
}

/// The text side of a folder of images, of which the pooled outputs are known.
fn texts_beside(folder: &Path, device: &Device) -> Outcome<f32> {
    let inputs: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("text.json"))?)?;
    let texts: Vec<String> = serde_json::from_value(inputs["texts"].clone())?;
    let bytes = std::fs::read(folder.join("text.safetensors"))?;
    let (expected, _) = read(&SafeTensors::deserialize(&bytes)?, "pooled").ok_or("no pooled output")?;
    let tower = load_text(&ModelFolder::open(folder)?, &TextOptions::default(), device)?;
    let found: Vec<f32> = tower.embed_texts(&texts)?.into_data().iter::<f32>().collect();
    error(&found, &expected)
}

fn texts(folder: &Path, file: &SafeTensors<'_>) -> Outcome<f32> {
    let device = Device::flex();
    let tower = load_text(&ModelFolder::open(folder)?, &TextOptions::default(), &device)?;
    let integers = |name: &str| -> Outcome<Vec<i64>> {
        Ok(file.tensor(name)?.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect())
    };
    let (mut ids, lengths) = (integers("ids")?, integers("lengths")?);
    let (states, shape) = read(file, "tokens").ok_or("no token states")?;
    let mut expected = states.chunks(shape.get(1).copied().ok_or("no matrix")?);
    let mut largest = 0.0_f32;
    for length in lengths {
        let rest = ids.split_off(length as usize);
        let row = TensorData::new(std::mem::replace(&mut ids, rest), [1, length as usize]);
        let ids = Tensor::<2, Int>::from_data(row, &device);
        let mask: Tensor<2, Bool> = ids.clone().equal(ids.clone());
        let features = tower.encoder.encode_texts(TokenBatch { ids, mask })?;
        let found: Vec<f32> = features.tokens.into_data().iter::<f32>().collect();
        let expected: Vec<f32> = expected.by_ref().take(length as usize).flatten().copied().collect();
        largest = largest.max(error(&found, &expected)?);
    }
    Ok(largest)
}
