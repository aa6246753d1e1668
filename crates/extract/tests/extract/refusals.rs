//! Errors of an extraction, which leave no invalid store.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use sail_core::{EncodeError, ImageEncoder, ImageFeatures, StoreDtype, VisionTower};
use sail_data::source::{ImageData, Record, RecordSource, Records};
use sail_data::{DataError, EmbeddingStore};
use sail_extract::{Event, ExtractError, ExtractOptions, Part, extract_images};

use crate::fakes::{
    Eye, Made, assert_same, image, image_source, images, options, texts, vision, with_faults,
};

#[test]
fn strict_rejects_the_first_unusable_record() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let strict = ExtractOptions { strict: true, ..options() };
    let error = images(&image_source(100), &out, &strict).unwrap_err();
    assert_eq!(error.to_string(), "record 3 (key `p00003`) is unusable: gone");
    let clean = |position| if position == 3 { image(3) } else { with_faults(position) };
    let error = images(&Made { count: 4, record: clean }, &out, &strict).unwrap_err();
    assert!(matches!(error, ExtractError::Exists { .. }), "{error}");
    // Without the option it resumes.
    let extraction = images(&image_source(100), &out, &ExtractOptions { resume: true, ..options() }).unwrap();
    assert_eq!(extraction.rows + extraction.skipped, 100);
}

#[test]
fn rejects_sources_without_usable_records() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let error = images(&image_source(0), &out, &options()).unwrap_err();
    assert!(matches!(error, ExtractError::NoRecords { .. }), "{error}");
    let part = ExtractOptions { part: Part { index: 4, of: 4 }, ..options() };
    let error = images(&Made { count: 3, record: image }, &out, &part).unwrap();
    assert_eq!(error.rows, 3);
    std::fs::remove_dir_all(&out).unwrap();
    let part = ExtractOptions { part: Part { index: 1, of: 4 }, ..options() };
    let error = images(&Made { count: 3, record: image }, &out, &part).unwrap_err();
    assert!(error.to_string().contains("3 records are 1 blocks of 8"), "{error}");
    assert!(!out.exists());

    let gone = |position| Record { key: format!("{position}"), value: Err("gone".to_owned()) };
    let error = images(&Made { count: 20, record: gone }, &out, &options()).unwrap_err();
    assert!(
        error.to_string().contains("all 20 records") && error.to_string().contains("skipped.jsonl"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(out.join("skipped.jsonl")).unwrap().lines().count(), 20);
    assert!(EmbeddingStore::open(&out).is_err());
    let empty = |position| Record { key: format!("{position}"), value: Ok(" \n".to_owned()) };
    let error =
        texts(&Made { count: 2, record: empty }, &folder.path().join("texts"), &options()).unwrap_err();
    assert!(matches!(error, ExtractError::AllSkipped { records: 2, .. }), "{error}");
}

#[test]
fn rejects_invalid_options() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    for (options, field) in [
        (ExtractOptions { block: 0, ..options() }, "`block` is 0"),
        (ExtractOptions { rows_per_shard: 0, ..options() }, "`rows_per_shard` is 0"),
        (ExtractOptions { limit: Some(0), ..options() }, "`limit` is 0"),
        (ExtractOptions { threads: 0, ..options() }, "`threads` is 0"),
        (ExtractOptions { part: Part { index: 3, of: 2 }, ..options() }, "`part` is 3/2"),
        (ExtractOptions { part: Part { index: 0, of: 0 }, ..options() }, "`part` is 0/0"),
    ] {
        match images(&image_source(9), &out, &options).unwrap_err() {
            ExtractError::Config(error) => assert!(error.to_string().starts_with(field), "{error}"),
            other => panic!("{other}"),
        }
    }
    assert!(!out.exists());
}

/// An encoder with invalid output.
struct Broken(fn(Tensor<2>) -> Tensor<2>);

impl ImageEncoder for Broken {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let features = Eye.encode_images(pixels)?;
        Ok(ImageFeatures { pooled: features.pooled.map(self.0), ..features })
    }
}

fn broken(answer: fn(Tensor<2>) -> Tensor<2>, dtype: StoreDtype) -> ExtractError {
    let folder = tempfile::tempdir().unwrap();
    let tower = VisionTower { encoder: Arc::new(Broken(answer)), ..vision() };
    let out = folder.path().join("store");
    let source = Made { count: 20, record: image };
    let options = ExtractOptions { dtype, ..options() };
    let error = extract_images(&tower, &source, &out, &options, &mut |_: Event<'_>| ()).unwrap_err();
    assert!(EmbeddingStore::open(&out).is_err(), "it is no store");
    error
}

#[test]
fn rejects_models_with_invalid_rows() {
    let error = broken(
        |rows| {
            let [batch, dim] = rows.dims();
            if batch < 3 {
                rows
            } else {
                rows.slice_assign([2..3, 5..6], Tensor::full([1, 1], f32::NAN, &Default::default()))
            }
            .reshape([batch, dim])
        },
        StoreDtype::F32,
    );
    assert!(error.to_string().contains("(key `p00003`) has the value NaN in column 5"), "{error}");
    let error = broken(|rows| rows * 0.0, StoreDtype::F32);
    assert!(error.to_string().contains("row 0 (key `p00000`) is all zeros"), "{error}");
    let error = broken(|rows| rows * 1e6, StoreDtype::F16);
    assert!(error.to_string().contains("bf16 or f32"), "{error}");
    let error = broken(
        |rows| {
            let [_, dim] = rows.dims();
            rows.narrow(0, 0, 1).narrow(1, 0, dim)
        },
        StoreDtype::F32,
    );
    assert!(matches!(error, ExtractError::RowCount { found: 2, expected: 8, .. }), "{error}");
}

#[test]
fn rejects_models_without_the_pooling() {
    let folder = tempfile::tempdir().unwrap();
    let tower = VisionTower { pooling: sail_core::ImagePooling::Concat, ..vision() };
    let out = folder.path().join("store");
    let error =
        extract_images(&tower, &image_source(9), &out, &options(), &mut |_: Event<'_>| ()).unwrap_err();
    assert!(matches!(&error, ExtractError::Tower { first, .. } if first == "p00000"), "{error}");
}

/// A source that fails or ends early.
struct Failing {
    records: u64,
    error: bool,
}

impl RecordSource<ImageData> for Failing {
    fn count(&self) -> Result<u64, DataError> {
        Ok(20)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let good = range.start..range.end.min(self.records);
        let end = self.error.then_some(Err(DataError::Empty));
        Ok(Box::new(good.map(|position| Ok(image(position))).chain(end)))
    }
}

#[test]
fn rejects_sources_that_fail_or_end_early() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let error = images(&Failing { records: 12, error: true }, &out, &options()).unwrap_err();
    assert!(matches!(error, ExtractError::Source(DataError::Empty)), "{error}");
    let resumed = ExtractOptions { resume: true, ..options() };
    let error = images(&Failing { records: 12, error: false }, &out, &resumed).unwrap_err();
    assert!(matches!(error, ExtractError::SourceChanged { position: 12, .. }), "{error}");
    images(&Failing { records: 20, error: false }, &out, &resumed).unwrap();
    let whole = folder.path().join("whole");
    images(&Made { count: 20, record: image }, &whole, &options()).unwrap();
    assert_same(&out, &whole);
    // Records after the count are not read.
    std::fs::remove_dir_all(&out).unwrap();
    images(&Failing { records: 20, error: true }, &out, &options()).unwrap();
    assert_same(&out, &whole);
}
