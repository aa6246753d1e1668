//! Memory of reading features. A single test in its own binary, because the allocator counts all threads.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use peak_alloc::PeakAlloc;
use sail_core::{FeatureSource, Modality, Provenance};
use sail_data::{BatchSampler, EmbeddingStore, Pairs, StoreConfig, StoreWriter};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

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

    // Two million rows, whose keys and offsets are 56 MB per side.
    let rows = 2_000_000;
    write(&many.join("images"), Modality::Image, 4, 0..rows);
    write(&many.join("texts"), Modality::Text, 4, (0..rows).rev());
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let joined = pairs(&many);
    let split = joined.split(1000, 42).unwrap();
    drop(joined);
    let sampler = BatchSampler::new(split.train.len(), 1024, 42).unwrap();
    let clone = split.train.clone();
    for step in 0..20 {
        clone.batch(&sampler.indices(0, step), 0, 42).unwrap();
    }
    // 21 for the index and 12 for the captions while they join; 4 for the captions and 4 for the split afterwards.
    let peak = (ALLOCATOR.peak_usage() - before) / rows;
    let kept = (ALLOCATOR.current_usage() - before) / rows;
    assert!(peak < 45, "peak of {peak} bytes per row");
    assert!(kept < 16, "{kept} bytes per row in the end");
    drop((split, clone));

    // 300 MB of image embeddings, all of which are read.
    let (rows, dim, batch) = (75_000, 2048, 1024);
    write(&wide.join("images"), Modality::Image, dim, 0..rows);
    write(&wide.join("texts"), Modality::Text, 4, 0..rows);
    let pairs = pairs(&wide);
    let sampler = BatchSampler::new(rows, batch, 42).unwrap();
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    for step in 0..2 * sampler.steps_per_epoch() {
        let batch = pairs.batch(&sampler.indices(0, step), 0, 42).unwrap();
        assert_eq!(batch.images.len(), 1024 * dim);
    }
    let peak = (ALLOCATOR.peak_usage() - before) >> 20;
    // A batch is 8 MiB, and each of up to 32 threads has a buffer of at most 1 MiB.
    assert!(peak < 60, "{peak} MiB");
}
