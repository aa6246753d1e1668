//! Benchmark of searches: time, size and recall, of text queries and of image queries apart.
//!
//! ```text
//! cargo bench --bench search -- write FOLDER ROWS HEAD IMAGES TEXTS
//! cargo bench --bench search -- run FOLDER [NAME...]
//! ```
//! `write` embeds features of images and texts by a head and writes a collection of `ROWS` rows, 200 text queries and 200 image
//! queries, and their 100 nearest rows by a full scan. Text queries are captions of pairs that the head's training held out.
//! Images are repeated as often as needed with noise of their own covariance; image queries are such images that are not in
//! the collection. `run` prints a line of JSON per search: seconds to build, bytes in memory, milliseconds of each query on its
//! own, milliseconds of a query among 32, and recall at 10 and 100. `benches/search.py` runs it beside other libraries. With the
//! feature `approximate` there is the search `graph`, with `BEAM` candidates.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "approximate")]
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use sail_vl::burn::tensor::{Device, Tensor, TensorData};
use sail_vl::core::{AlignmentHead, FeatureSource, Modality, Provenance, gather_tensor, l2_normalize};
use sail_vl::data::{EmbeddingStore, Pairs, StoreConfig, StoreWriter, Unmatched, open_features};
use sail_vl::layers::Head;
#[cfg(feature = "approximate")]
use sail_vl::search::{ApproximateSearch, GraphConfig};
use sail_vl::search::{CodeKind, Codes, ExactSearch, FullSearch, VectorSearch, centre};
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Queries of each kind.
const QUERIES: usize = 200;
/// Rows that recall is measured at.
const DEPTHS: [usize; 2] = [10, 100];
/// Queries of a batch.
const BATCH: usize = 32;
/// Rows that the noise of a row is combined from.
const NOISE_TERMS: usize = 8;
/// Standard deviation of the noise, relative to that of the images.
const NOISE: f32 = 0.5;

/// A search to measure: its name, and how it is built from the collection.
type Candidate = (&'static str, fn(&Arc<dyn FeatureSource>) -> Outcome<Built>);

struct Built {
    search: Box<dyn VectorSearch>,
    /// Memory beyond the rows, which are on disk.
    bytes: usize,
}

/// Further searches are added here.
const CANDIDATES: &[Candidate] = &[
    ("full", |rows| Ok(Built { search: Box::new(FullSearch::new(rows.clone())), bytes: 0 })),
    ("int8", |rows| scan(rows, CodeKind::Int8)),
    ("bit", |rows| scan(rows, CodeKind::Bit)),
    #[cfg(feature = "approximate")]
    ("graph", graph),
];

fn scan(rows: &Arc<dyn FeatureSource>, kind: CodeKind) -> Outcome<Built> {
    let codes = Codes::encode(rows.as_ref(), kind, centre(rows.as_ref(), |_| {})?, |_| {})?;
    let bytes = codes.bytes();
    let mut search = ExactSearch::new(vec![Arc::new(codes)], rows.clone())?;
    if let Ok(candidates) = std::env::var("CANDIDATES") {
        search = search.with_candidates(candidates.parse()?);
    }
    Ok(Built { search: Box::new(search), bytes })
}

#[cfg(feature = "approximate")]
fn graph(rows: &Arc<dyn FeatureSource>) -> Outcome<Built> {
    let centre = centre(rows.as_ref(), |_| {})?;
    let codes = Arc::new(Codes::encode(rows.as_ref(), CodeKind::Int8, centre, |_| {})?);
    let stop = AtomicBool::new(false);
    let bytes = codes.bytes();
    let mut search =
        ApproximateSearch::build(vec![codes], rows.clone(), GraphConfig::default(), &stop, |_| {})?;
    if let Ok(beam) = std::env::var("BEAM") {
        search = search.with_beam(beam.parse()?);
    }
    Ok(Built { bytes: bytes + search.bytes(), search: Box::new(search) })
}

/// Queries of a kind and their nearest rows, in `queries.json`.
#[derive(Serialize, Deserialize)]
struct Queries {
    kind: String,
    /// `[queries, dim]`.
    values: Vec<f32>,
    /// The nearest first.
    nearest: Vec<Vec<usize>>,
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench` to the arguments.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["write", folder, rows, head, images, texts] => {
            write(Path::new(folder), rows.parse()?, Path::new(head), images, texts)
        }
        ["run", folder, names @ ..] => run(Path::new(folder), names),
        // `cargo bench` runs every bench without arguments.
        [] => Ok(()),
        _ => Err("expected write FOLDER ROWS HEAD IMAGES TEXTS or run FOLDER [NAME...]".into()),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((u128::from(self.0) * count as u128) >> 64) as usize
    }
}

/// Unit rows and their mean.
struct Images {
    rows: Vec<f32>,
    centre: Vec<f32>,
}

impl Images {
    /// An image, of `row` or if that is `None` of any, with noise of the covariance of all.
    fn noisy(&self, row: usize, random: &mut Random) -> Vec<f32> {
        let dim = self.centre.len();
        let mut values = self.rows[row * dim..][..dim].to_vec();
        let scale = NOISE / (NOISE_TERMS as f32).sqrt();
        for _ in 0..NOISE_TERMS {
            let other = &self.rows[random.below(self.rows.len() / dim) * dim..][..dim];
            let scale = if random.below(2) == 0 { scale } else { -scale };
            for ((value, other), centre) in values.iter_mut().zip(other).zip(&self.centre) {
                *value += scale * (other - centre);
            }
        }
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.iter_mut().for_each(|value| *value /= norm);
        values
    }
}

fn write(folder: &Path, rows: usize, head: &Path, images: &str, texts: &str) -> Outcome<()> {
    let device = Device::flex();
    let head = Head::load(head, &device)?;
    let (images, texts) = (open_features(images)?, open_features(texts)?);
    let pairs = Pairs::join(Arc::new(images), vec![Arc::new(texts)], Unmatched::Drop)?;
    let holdout = head.holdout().ok_or("the head does not record what its training held out")?;
    let held_out = pairs.split(holdout.rows, holdout.seed)?.holdout;

    let all: Vec<usize> = (0..pairs.images().rows()).collect();
    let embedded = unit(head.project_images(gather_tensor(pairs.images().as_ref(), &all, &device)?)?)?;
    let images = Images { centre: mean(&embedded, all.len()), rows: embedded };
    let dim = images.centre.len();
    let step = held_out.len().div_ceil(QUERIES).max(1);
    let captions: Vec<usize> =
        (0..held_out.len()).step_by(step).map(|pair| held_out.caption_rows(0, pair)[0] as usize).collect();
    let texts = gather_tensor(pairs.captions(0).as_ref(), &captions, &device)?;
    let texts = unit(head.project_texts(texts)?)?;

    let store = folder.join("rows");
    let mut writer =
        StoreWriter::create(&store, StoreConfig::new(Modality::Image, Provenance::new("bench"), dim))?;
    let mut random = Random(1);
    for row in 0..rows {
        let values = match row < all.len() {
            true => images.rows[row * dim..][..dim].to_vec(),
            false => images.noisy(row % all.len(), &mut random),
        };
        writer.push(&row.to_string(), &values)?;
    }
    let search = FullSearch::new(Arc::new(writer.finish()?));
    let similar = (0..QUERIES).flat_map(|_| images.noisy(random.below(all.len()), &mut random)).collect();
    let mut queries = Vec::new();
    for (kind, values) in [("text", texts), ("image", similar)] {
        let hits = search.search(&values, DEPTHS[1], None)?;
        let nearest = hits.iter().map(|hits| hits.iter().map(|hit| hit.row).collect()).collect();
        queries.push(Queries { kind: kind.to_owned(), values, nearest });
    }
    fs::write(folder.join("queries.json"), serde_json::to_vec(&queries)?)?;
    Ok(())
}

fn unit(embeddings: Tensor<2>) -> Outcome<Vec<f32>> {
    let data: TensorData = l2_normalize(embeddings).into_data();
    Ok(data.try_into_vec::<f32>()?)
}

fn mean(values: &[f32], rows: usize) -> Vec<f32> {
    let mut mean = vec![0.0; values.len() / rows];
    for row in values.chunks_exact(values.len() / rows) {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / rows as f32);
    }
    mean
}

fn run(folder: &Path, names: &[&str]) -> Outcome<()> {
    let rows: Arc<dyn FeatureSource> = Arc::new(EmbeddingStore::open(folder.join("rows"))?);
    let queries: Vec<Queries> = serde_json::from_slice(&fs::read(folder.join("queries.json"))?)?;
    if let Some(name) = names.iter().find(|name| CANDIDATES.iter().all(|(other, _)| other != *name)) {
        let known: Vec<&str> = CANDIDATES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no search `{name}`, expected some of {}", known.join(", ")).into());
    }
    for (name, build) in CANDIDATES.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        let start = Instant::now();
        let Built { search, bytes } = build(&rows)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut line = serde_json::json!({
            "name": name, "rows": rows.rows(), "build_seconds": seconds, "bytes": bytes,
        });
        for Queries { kind, values, nearest } in &queries {
            let mut milliseconds = Vec::new();
            let mut found = Vec::new();
            for query in values.chunks_exact(rows.dim()) {
                let start = Instant::now();
                found.extend(search.search(query, DEPTHS[1], None)?);
                milliseconds.push(1000.0 * start.elapsed().as_secs_f64());
            }
            milliseconds.sort_by(f64::total_cmp);
            let quantile =
                |share: f64| milliseconds[(share * (milliseconds.len() - 1) as f64).round() as usize];
            let start = Instant::now();
            search.search(&values[..values.len().min(BATCH * rows.dim())], DEPTHS[1], None)?;
            let batch = 1000.0 * start.elapsed().as_secs_f64() / BATCH.min(nearest.len()) as f64;
            let recall = DEPTHS.map(|depth| {
                let common = found.iter().zip(nearest).map(|(found, nearest)| {
                    let found = &found[..depth.min(found.len())];
                    found.iter().filter(|hit| nearest[..depth].contains(&hit.row)).count()
                });
                common.sum::<usize>() as f64 / (depth * nearest.len()) as f64
            });
            line[kind] = serde_json::json!({
                "p50": quantile(0.5), "p99": quantile(0.99), "batch": batch, "recall": recall,
            });
        }
        println!("{line}");
    }
    Ok(())
}
