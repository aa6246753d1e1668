//! Several layers in one pass.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::Tensor;
use sail_core::{
    DenseOptions, EncodeError, FeatureSource, ImageEncoder, ImageFeatures, Layer, PatchTokens, VisionTower,
};
use sail_data::EmbeddingStore;
use sail_extract::{
    Event, ExtractError, ExtractOptions, Extraction, extract_image_layers, extract_images_on,
};

use crate::fakes::{Eye, assert_same, image_source, options, vision};

/// An encoder with layers, of which deeper ones have larger features. Counts the images that are encoded.
struct Deep(Arc<AtomicUsize>);

impl ImageEncoder for Deep {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.encode_dense(pixels, DenseOptions::default())
    }

    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        let features = self.encode_layers(pixels, &[options.layer])?.pop();
        features.ok_or_else(|| EncodeError::Dense { requested: options, expected: "a layer".to_owned() })
    }

    fn encode_layers(&self, pixels: Tensor<4>, layers: &[Layer]) -> Result<Vec<ImageFeatures>, EncodeError> {
        self.0.fetch_add(pixels.dims()[0], Ordering::Relaxed);
        let features = Eye.encode_images(pixels)?;
        let of_layer = |layer: &Layer| {
            let depth = match layer {
                Layer::Last => 10,
                Layer::FromEnd(n) => 10 - n,
            };
            let pooled = features.pooled.clone().map(|rows| rows * depth as f32);
            let patches = features.patches.clone();
            let patches = patches
                .map(|PatchTokens { tokens, grid }| PatchTokens { tokens: tokens * depth as f32, grid });
            ImageFeatures { pooled, patches, ..features.clone() }
        };
        Ok(layers.iter().map(of_layer).collect())
    }
}

fn deep() -> (VisionTower, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (VisionTower { encoder: Arc::new(Deep(count.clone())), ..vision() }, count)
}

const LAYERS: [Layer; 3] = [Layer::FromEnd(3), Layer::Last, Layer::FromEnd(1)];

fn stores(folder: &Path) -> Vec<(Layer, PathBuf)> {
    LAYERS.map(|layer| (layer, folder.join(layer.to_string()))).to_vec()
}

/// Extracts layers and stops when `done` records are done.
fn extract(
    stores: &[(Layer, PathBuf)],
    options: &ExtractOptions,
    done: u64,
) -> Result<Vec<Extraction>, ExtractError> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = ExtractOptions { stop: stop.clone(), ..options.clone() };
    let mut observer = |event: Event<'_>| match event {
        Event::Progress(progress) if progress.done >= done => stop.store(true, Ordering::Relaxed),
        _ => {}
    };
    extract_image_layers(&[deep().0], &image_source(300), stores, &options, &mut observer)
}

#[test]
fn stores_are_those_of_towers_at_their_layers() {
    let (tower, encoded) = deep();
    are_those_of_towers(tower, &encoded);
    let (tower, encoded) = deep();
    let tower = tower.with_tokens().unwrap();
    encoded.store(0, Ordering::Relaxed);
    are_those_of_towers(tower, &encoded);
}

fn are_those_of_towers(tower: VisionTower, encoded: &AtomicUsize) {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(folder.path());
    let mut observer = |_: Event<'_>| ();
    let extractions = extract_image_layers(
        std::slice::from_ref(&tower),
        &image_source(300),
        &stores,
        &options(),
        &mut observer,
    )
    .unwrap();
    assert_eq!(encoded.load(Ordering::Relaxed) as u64, extractions[0].rows);
    for ((layer, path), extraction) in stores.iter().zip(&extractions) {
        let alone = folder.path().join("alone").join(layer.to_string());
        std::fs::create_dir_all(alone.parent().unwrap()).unwrap();
        let at_layer = tower.at_layer(*layer);
        extract_images_on(&[at_layer], &image_source(300), &alone, &options(), &mut observer).unwrap();
        assert_same(path, &alone);
        assert_eq!((extraction.rows, extraction.embedded), (extractions[0].rows, extractions[0].rows));
        let recorded = EmbeddingStore::open(path).unwrap().provenance().unwrap().clone();
        assert_eq!((recorded.layer.unwrap_or_default(), recorded.tokens), (*layer, tower.model.tokens));
    }
}

#[test]
fn stores_that_are_ahead_of_others_are_continued() {
    let folder = tempfile::tempdir().unwrap();
    let expected = stores(&folder.path().join("expected"));
    let found = stores(&folder.path().join("found"));
    for parent in ["expected", "found"] {
        std::fs::create_dir(folder.path().join(parent)).unwrap();
    }
    extract(&expected, &options(), u64::MAX).unwrap();

    // As after a kill: one store is complete, one has 12 blocks, one none.
    extract(&found[..1], &options(), u64::MAX).unwrap();
    extract(&found[1..2], &options(), 96).unwrap_err();
    let resume = ExtractOptions { resume: true, ..options() };
    extract(&found, &resume, 40).unwrap_err();
    extract(&found, &resume, 200).unwrap_err();
    let extractions = extract(&found, &resume, u64::MAX).unwrap();
    for ((_, found), (_, expected)) in found.iter().zip(&expected) {
        assert_same(found, expected);
    }
    assert_eq!(extractions[0].embedded, 0);
    assert!(extractions[1].embedded > 0 && extractions[1].embedded == extractions[2].embedded);
    // Complete stores are not modified.
    let again = extract(&found, &resume, u64::MAX).unwrap();
    assert!(again.iter().all(|extraction| extraction.embedded == 0));
}

#[test]
fn layers_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let twice = ["a", "b"].map(|name| (Layer::Last, folder.path().join(name)));
    for (stores, words) in [(vec![], "none"), (twice.to_vec(), "`last` twice")] {
        let Err(ExtractError::Config(error)) = extract(&stores, &options(), u64::MAX) else {
            panic!("{words}")
        };
        assert_eq!((error.field.as_str(), error.found.as_str()), ("layers", words));
    }
}
