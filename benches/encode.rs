//! Benchmarks of the throughput of vision encoders, text encoders and image preprocessing.
//!
//! ```text
//! cargo bench --bench encode -- vision MODEL_FOLDER BATCH SIZE [ROUNDS]
//! cargo bench --bench encode -- text MODEL_FOLDER CAPTIONS [ROUNDS]
//! cargo bench --bench encode -- preprocess MODEL_FOLDER IMAGES THREADS [ROUNDS]
//! ```
//! Each prints `{"per_second": ...}` of the fastest round. `--precision bf16` after the other arguments computes in bf16.
//! `benches/encode_reference.py` is the Python reference.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use sail_vl::burn::tensor::{Device, Distribution, Tensor};
use sail_vl::core::{Dtype, ImagePreprocessor, Pixels};
use sail_vl::data::{DecodeLimits, decode_image};
use sail_vl::encoders::{ImageProcessor, ModelFolder, TextOptions, VisionOptions, load_text, load_vision};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Prints the throughput of the fastest round, after a warm-up round.
fn best(rounds: usize, items: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    work()?;
    let mut fastest = 0.0_f64;
    for _ in 0..rounds {
        let start = Instant::now();
        work()?;
        fastest = fastest.max(items as f64 / start.elapsed().as_secs_f64());
    }
    println!("{{\"per_second\": {fastest:.2}}}");
    Ok(())
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench` to the arguments.
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut dtype = Dtype::F32;
    if let Some(flag) = arguments.iter().position(|argument| argument == "--precision") {
        dtype = arguments.get(flag + 1).ok_or("--precision needs a value")?.parse()?;
        arguments.drain(flag..flag + 2);
    }
    let rest = arguments.get(1..).unwrap_or_default();
    let text = |index: usize| rest.get(index).ok_or("too few arguments, see benches/encode.rs");
    let number = |index: usize| -> Outcome<usize> { Ok(text(index)?.parse()?) };
    let rounds = |index: usize| rest.get(index).map_or(Ok(3), |rounds| rounds.parse());
    let device = Device::flex();
    match arguments.first().map(String::as_str) {
        Some("vision") => {
            let tower = load_vision(
                &ModelFolder::open(text(0)?)?,
                &VisionOptions { dtype, ..VisionOptions::default() },
                &device,
            )?;
            let (batch, size) = (number(1)?, number(2)?);
            let noise = Tensor::<4>::random([batch, 3, size, size], Distribution::Normal(0.0, 1.0), &device);
            let noise: Vec<f32> = noise.into_data().try_to_vec()?;
            let pixels = noise.chunks(3 * size * size);
            let pixels: Vec<Pixels> =
                pixels.map(|values| Pixels { size: [size; 2], values: values.to_vec() }).collect();
            best(rounds(3)?, batch, || {
                tower.embed(&pixels)?.into_data();
                Ok(())
            })
        }
        Some("text") => {
            let tower = load_text(
                &ModelFolder::open(text(0)?)?,
                &TextOptions { dtype, ..TextOptions::default() },
                &device,
            )?;
            let captions = std::fs::read_to_string(text(1)?)?;
            let captions: Vec<&str> = captions.lines().collect();
            best(rounds(2)?, captions.len(), || {
                tower.embed_texts(&captions)?.into_data();
                Ok(())
            })
        }
        Some("preprocess") => {
            let processor = ImageProcessor::open(text(0)?.as_ref())?;
            let paths = std::fs::read_dir(text(1)?)?.map(|entry| Ok(entry?.path()));
            let paths = paths.collect::<std::io::Result<Vec<PathBuf>>>()?;
            let threads = number(2)?;
            best(rounds(3)?, paths.len(), || preprocess(&processor, &paths, threads))
        }
        // `cargo bench` runs every bench without arguments.
        None => Ok(()),
        Some(other) => {
            Err(format!("unknown benchmark `{other}`, expected vision, text or preprocess").into())
        }
    }
}

fn preprocess(processor: &ImageProcessor, paths: &[PathBuf], threads: usize) -> Outcome<()> {
    let part = |first: usize| -> Result<(), String> {
        for path in paths.iter().skip(first).step_by(threads) {
            let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
            let image = decode_image(&bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
            std::hint::black_box(processor.preprocess(&image).map_err(|error| error.to_string())?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        for worker in workers {
            worker.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}
