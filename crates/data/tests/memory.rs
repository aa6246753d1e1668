//! What reading features takes and keeps, measured as the process's resident size; so one test in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use sail_core::{FeatureSource, Modality, Provenance};
use sail_data::{BatchSampler, EmbeddingStore, Pairs, StoreConfig, StoreWriter};

/// A line of the process's status, in bytes.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

fn resident() -> usize {
    status("VmRSS")
}

fn peak() -> usize {
    status("VmHWM")
}

/// The peak is from here on.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn write(path: &Path, modality: Modality, dim: usize, rows: impl Iterator<Item = usize>) {
    let config = StoreConfig::new(modality, Provenance::new("m"), dim);
    let mut writer = StoreWriter::create(path, config).unwrap();
    let mut values = vec![1.0; dim];
    for row in rows {
        values[0] = (row % 1000) as f32;
        writer.push(&format!("image-{row:012}"), &values).unwrap();
    }
    writer.close().unwrap();
}

fn pairs(folder: &Path) -> Pairs {
    let open =
        |name: &str| -> Arc<dyn FeatureSource> { Arc::new(EmbeddingStore::open(folder.join(name)).unwrap()) };
    Pairs::new(open("images"), vec![open("texts")]).unwrap()
}

#[test]
fn memory_does_not_grow_with_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (many, wide) = (folder.path().join("many"), folder.path().join("wide"));

    // Keys: two million rows, whose keys and offsets alone are 56 MB a side.
    let rows = 2_000_000;
    write(&many.join("images"), Modality::Image, 4, 0..rows);
    write(&many.join("texts"), Modality::Text, 4, (0..rows).rev());
    reset_peak();
    let before = resident();
    let joined = pairs(&many);
    let split = joined.split(1000, 42).unwrap();
    drop(joined);
    let sampler = BatchSampler::new(split.train.len(), 1024, 42).unwrap();
    let clone = split.train.clone();
    for step in 0..20 {
        clone.batch(&sampler.indices(0, step), 0, 42).unwrap();
    }
    // 21 for the index and 8 for the captions while they join; 4 for the captions and 4 for the split afterwards.
    let (most, kept) = ((peak() - before) / rows, (resident() - before) / rows);
    assert!(most < 45, "{most} bytes a row at most");
    assert!(kept < 16, "{kept} bytes a row in the end");
    drop((split, clone));

    // Embeddings: 300 MB of images, all of which are read.
    let (rows, dim, batch) = (75_000, 2048, 1024);
    write(&wide.join("images"), Modality::Image, dim, 0..rows);
    write(&wide.join("texts"), Modality::Text, 4, 0..rows);
    let pairs = pairs(&wide);
    let sampler = BatchSampler::new(rows, batch, 42).unwrap();
    reset_peak();
    let before = resident();
    for step in 0..2 * sampler.steps_per_epoch() {
        let batch = pairs.batch(&sampler.indices(0, step), 0, 42).unwrap();
        assert_eq!(batch.images.len(), 1024 * dim);
    }
    let grown = (peak() - before.min(peak())) >> 20;
    // A batch is 8 MiB, and each of up to 32 threads reads through a buffer of at most one.
    assert!(grown < 60, "{grown} MiB on top of {} MiB", before >> 20);
}
