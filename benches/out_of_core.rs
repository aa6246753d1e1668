//! Benchmark of training from stores larger than memory, compared with features in memory.
//!
//! ```text
//! cargo bench --bench out_of_core -- write FOLDER GIBIBYTES
//! cargo bench --bench out_of_core -- stored|memory FOLDER [STEPS]
//! ```
//! `write` writes a pair of stores with dimensions 2048 and 1024 in f16. `stored` trains a GLU of width 2 on batches of
//! 4,096 rows from the stores, `memory` on the rows of eight batches held in memory. Both print `{"seconds": [...]}` of
//! every step after the first.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sail_vl::burn::tensor::Device;
use sail_vl::core::{FeatureSource, Modality, Provenance};
use sail_vl::data::{EmbeddingStore, MatrixFeatures, Pairs, StoreConfig, StoreWriter};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::SigmoidLoss;
use sail_vl::train::{Event, Interrupter, TrainConfig, Trainer};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCH: usize = 4096;
/// Name, modality and dimension of each side.
const SIDES: [(&str, Modality, usize); 2] =
    [("images", Modality::Image, 2048), ("texts", Modality::Text, 1024)];

fn main() -> Outcome<()> {
    // Cargo adds `--bench` to the arguments.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let text = |index: usize| {
        arguments.get(index).map(String::as_str).ok_or("too few arguments, see benches/out_of_core.rs")
    };
    let steps = || arguments.get(2).map_or(Ok(5), |steps| steps.parse());
    match arguments.first().map(String::as_str) {
        Some("write") => write(Path::new(text(1)?), text(2)?.parse()?),
        Some("stored") => train(stored(Path::new(text(1)?))?, steps()?),
        Some("memory") => train(memory(Path::new(text(1)?))?, steps()?),
        // `cargo bench` runs every bench without arguments.
        None => Ok(()),
        Some(other) => Err(format!("unknown benchmark `{other}`, expected write, stored or memory").into()),
    }
}

fn write(folder: &Path, gibibytes: usize) -> Outcome<()> {
    let dims: usize = SIDES.iter().map(|(_, _, dim)| dim).sum();
    let rows = (gibibytes << 30) / (2 * dims);
    for (name, modality, dim) in SIDES {
        let config = StoreConfig::new(modality, Provenance::new("noise"), dim);
        let mut writer = StoreWriter::create(folder.join(name), config)?;
        // Rows are windows of one noise sequence; their values do not affect the speed.
        let noise: Vec<f32> = (0..dim + 4093).map(|i| (i as f32 * i as f32 * 0.618).sin()).collect();
        for row in 0..rows {
            let start = row % 4093;
            writer.push(&format!("{row:08}"), &noise[start..start + dim])?;
        }
        writer.close()?;
    }
    Ok(())
}

fn open(folder: &Path) -> Outcome<[Arc<dyn FeatureSource>; 2]> {
    let [images, texts] = SIDES.map(|(name, ..)| EmbeddingStore::open(folder.join(name)));
    Ok([Arc::new(images?), Arc::new(texts?)])
}

fn stored(folder: &Path) -> Outcome<Pairs> {
    let [images, texts] = open(folder)?;
    Ok(Pairs::new(images, vec![texts])?)
}

fn memory(folder: &Path) -> Outcome<Pairs> {
    let rows: Vec<usize> = (0..8 * BATCH).collect();
    let [images, texts] = open(folder)?.map(|store| -> Outcome<Arc<dyn FeatureSource>> {
        let mut values = vec![0.0; rows.len() * store.dim()];
        store.gather(&rows, &mut values)?;
        Ok(Arc::new(MatrixFeatures::new(store.dim(), values)?))
    });
    Ok(Pairs::new(images?, vec![texts?])?)
}

fn train(pairs: Pairs, steps: usize) -> Outcome<()> {
    let [image_dim, text_dim] = SIDES.map(|(_, _, dim)| dim);
    let config = HeadConfig::new(image_dim, text_dim, 1024, ProjectorConfig::Glu { width: 2 });
    let head = Head::new(&config, 0, &Device::flex())?;
    let config = TrainConfig::default().with_batch_size(BATCH).with_epochs(1 + steps);
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    let mut ends = Vec::new();
    let clock = |event: Event<'_>, _: &Head| {
        if let Event::Step(_) = event {
            ends.push(Instant::now());
            // The step in progress is the last one.
            if ends.len() == steps {
                handle.stop();
            }
        }
    };
    Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs)
        .interrupter(interrupter)
        .observer(clock)
        .run()?;
    let seconds: Vec<String> =
        ends.windows(2).map(|pair| format!("{:.6}", (pair[1] - pair[0]).as_secs_f64())).collect();
    println!("{{\"seconds\": [{}]}}", seconds.join(", "));
    Ok(())
}
