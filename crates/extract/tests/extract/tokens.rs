//! Stores of token states.

use std::ops::ControlFlow;
use std::path::Path;

use sail_core::{FeatureSource, StoreDtype, TokenLayout, TowerError, VisionTower};
use sail_data::EmbeddingStore;
use sail_extract::{Event, ExtractError, ExtractOptions, Part, extract_images, merge};

use crate::fakes::{DIM, Made, assert_same, image, image_source, images, options, tokens, vision};

fn extract(tower: &VisionTower, out: &Path, options: &ExtractOptions) -> Result<(), ExtractError> {
    extract_images(tower, &image_source(100), out, options, &mut |_: Event<'_>| ()).map(|_| ())
}

fn rows(path: &Path) -> Vec<f32> {
    let store = EmbeddingStore::open(path).unwrap();
    let all: Vec<usize> = (0..store.rows()).collect();
    let mut values = vec![0.0; all.len() * store.dim()];
    store.gather(&all, &mut values).unwrap();
    values
}

#[test]
fn parts_in_integers_are_close_to_the_states_and_merge_to_a_single_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    extract(&tokens(), &path("f32"), &options()).unwrap();
    let options = ExtractOptions { dtype: StoreDtype::Int8, ..options() };
    extract(&tokens(), &path("int8"), &options).unwrap();
    let parts = [1, 2].map(|index| {
        let part = Part { index, of: 2 };
        extract(&tokens(), &path(&part.index.to_string()), &ExtractOptions { part, ..options.clone() })
            .unwrap();
        path(&part.index.to_string())
    });
    merge(&parts, &path("merged"), |_| ControlFlow::Continue(())).unwrap();
    assert_same(&path("merged"), &path("int8"));

    let layout = TokenLayout::Image { class_token: false, grid: [2, 2], dim: DIM / 4 };
    let store = EmbeddingStore::open(path("int8")).unwrap();
    assert_eq!((store.provenance().unwrap().tokens, store.dim()), (Some(layout), DIM));
    let (exact, found) = (rows(&path("f32")), rows(&path("int8")));
    for (exact, found) in exact.chunks(layout.dim()).zip(found.chunks(layout.dim())) {
        let most = exact.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 254.0 * 1.001;
        assert!(exact.iter().zip(found).all(|(exact, found)| (exact - found).abs() <= most));
    }
    assert!(exact != found);
}

#[test]
fn pooled_stores_are_not_continued_with_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    images(&Made { count: 20, record: image }, &out, &options()).unwrap();
    let error = extract(&tokens(), &out, &ExtractOptions { resume: true, ..options() }).unwrap_err();
    assert!(error.to_string().contains("`pooling`"), "{error}");
}

#[test]
fn a_tower_of_tokens_has_a_layout() {
    let folder = tempfile::tempdir().unwrap();
    let tower = VisionTower { pooling: sail_core::ImagePooling::Tokens, ..vision() };
    let error = extract(&tower, &folder.path().join("store"), &options()).unwrap_err();
    let ExtractError::Tower { source: TowerError::Tokens { found, .. }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(found.row_values(), DIM);
}
