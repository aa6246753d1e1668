//! Rows per second and peak memory of backbones of real size with random weights, on the CPU.
//!
//! `cargo run --release -p sail-encoders --example family_speed -- [FILE [NAME...]]` measures all that `family_sizes.json`
//! lists, or those with a name that contains one of these, each in a process of its own, and adds the figures to FILE, which
//! `docs/models.md` is made from.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use burn::tensor::{Bool, Device, Int, Tensor};
use sail_core::{Dtype, TokenBatch};
use sail_encoders::{FamilyInfo, random_image_encoder, random_text_encoder};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Time to measure, after a first batch.
const DURATION: Duration = Duration::from_secs(4);

fn main() -> Outcome<()> {
    let sizes: Vec<Value> = serde_json::from_str(include_str!("family_sizes.json"))?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, index] = arguments.as_slice()
        && flag == "--measure"
    {
        let entry = sizes.get(index.parse::<usize>()?).ok_or("no such entry")?;
        println!("{}", measure(entry)?);
        return Ok(());
    }
    let (file, names) = match arguments.split_first() {
        Some((file, names)) => (Some(file), names),
        None => (None, &[][..]),
    };
    for (index, entry) in sizes.iter().enumerate() {
        let model = entry["model"].as_str().ok_or("an entry without `model`")?;
        if !names.is_empty() && !names.iter().any(|name| model.contains(name.as_str())) {
            continue;
        }
        let output =
            Command::new(std::env::current_exe()?).args(["--measure", &index.to_string()]).output()?;
        if !output.status.success() {
            eprintln!("{model}: {}", String::from_utf8_lossy(&output.stderr));
            continue;
        }
        let measured: Value = serde_json::from_slice(&output.stdout)?;
        println!("{measured}");
        if let Some(file) = file {
            let family = FamilyInfo::of(&entry["config"]).ok_or("a configuration of no family")?;
            add(file, family.name, measured)?;
        }
    }
    Ok(())
}

/// Replaces the figures of a model in the file.
fn add(path: &str, family: &str, measured: Value) -> Outcome<()> {
    let mut all: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let index = all.iter().position(|figures| figures["family"] == family).unwrap_or_else(|| {
        all.push(json!({ "family": family }));
        all.len() - 1
    });
    let known = all[index]["speed"].as_array().cloned().unwrap_or_default();
    let mut speed: Vec<Value> =
        known.into_iter().filter(|other| other["model"] != measured["model"]).collect();
    speed.push(measured);
    all[index]["speed"] = speed.into();
    std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
    Ok(())
}

fn measure(entry: &Value) -> Outcome<Value> {
    let device = Device::flex();
    let config = entry["config"].to_string();
    let rows = entry["batch"].as_u64().unwrap_or(8) as usize;
    let per_second = if let Some(side) = entry["pixels"].as_u64() {
        let encoder = random_image_encoder(&config, Dtype::F32, &device)?;
        let pixels = Tensor::zeros([rows, 3, side as usize, side as usize], &device);
        rate(rows, || {
            encoder.encode_images(pixels.clone())?.patches.map(|patches| patches.tokens.into_data());
            Ok(())
        })?
    } else {
        let tokens = entry["tokens"].as_u64().ok_or("an entry without `pixels` or `tokens`")? as usize;
        let encoder = random_text_encoder(&config, Dtype::F32, &device)?;
        // Some models pool a certain token, the end of the text.
        let last = entry["last"].as_i64().unwrap_or(1);
        let start = Tensor::<2, Int>::ones([rows, tokens - 1], &device);
        let ids = Tensor::cat(vec![start, Tensor::<2, Int>::ones([rows, 1], &device) * last], 1);
        let mask: Tensor<2, Bool> = ids.clone().greater_equal_elem(0);
        let batch = TokenBatch { ids, mask };
        rate(rows, || {
            encoder.encode_texts(batch.clone())?.tokens.into_data();
            Ok(())
        })?
    };
    Ok(json!({"model": entry["model"], "rows_per_second": round(per_second), "memory_mib": peak()?.round()}))
}

/// Runs batches for some seconds and returns the rows per second of the fastest: other processes only slow it down.
fn rate(rows: usize, mut run: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    run()?;
    let (start, mut fastest) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < DURATION {
        let batch = Instant::now();
        run()?;
        fastest = fastest.min(batch.elapsed().as_secs_f64());
    }
    Ok(rows as f64 / fastest)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Peak memory of the process in MiB.
fn peak() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
