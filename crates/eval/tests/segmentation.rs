//! Segmentation against a PyTorch implementation of mmsegmentation's rules, and invalid input.

#![allow(clippy::unwrap_used, clippy::panic)]

use sail_eval::{
    Confusion, Decision, IGNORED, LabelMap, LogitMap, Segmentation, SegmentationError, SlidingWindow, Window,
    WindowSum,
};
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("fixtures/segmentation.json")).unwrap();
    all[name].as_array().unwrap().clone()
}

fn of<T: serde::de::DeserializeOwned>(case: &Value, name: &str) -> T {
    serde_json::from_value(case[name].clone()).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }
}

#[test]
fn resize_matches_pytorch() {
    for case in cases("resizes") {
        let map = LogitMap::new(of(&case, "size"), of(&case, "classes"), of(&case, "values")).unwrap();
        let resized = map.resize(of(&case, "to")).unwrap();
        assert_close(resized.values(), &of::<Vec<f32>>(&case, "expected"));
    }
}

#[test]
fn sliding_windows_match_mmsegmentation() {
    for case in cases("slides") {
        let (size, classes): ([usize; 2], usize) = (of(&case, "size"), of(&case, "classes"));
        let (window, stride) = (of(&case, "window"), of(&case, "stride"));
        let sliding = SlidingWindow { short_side: size[0].min(size[1]), window, stride };
        assert_eq!(sliding.resized(of(&case, "size")).unwrap(), size);
        let windows = sliding.windows(size).unwrap();
        let expected: Vec<Value> = of(&case, "windows");
        let places: Vec<[usize; 2]> = expected.iter().map(|window| of(window, "place")).collect();
        assert_eq!(windows.iter().map(|window| window.place).collect::<Vec<_>>(), places);

        let mut sum = WindowSum::new(size, classes).unwrap();
        for (&window, expected) in windows.iter().zip(&expected) {
            assert_eq!(window.size, of::<[usize; 2]>(expected, "size"));
            let logits = LogitMap::new(of(&case, "grid"), classes, of(expected, "values")).unwrap();
            sum.add(window, &logits).unwrap();
        }
        let mean = sum.mean().unwrap();
        assert_close(mean.values(), &of::<Vec<f32>>(&case, "mean"));

        let original = of(&case, "original");
        for (name, background_threshold) in [("labels", None), ("background", Some(of(&case, "threshold")))] {
            let decision = Decision { scale: of(&case, "scale"), background_threshold };
            let labels = mean.labels(original, &decision).unwrap();
            assert_eq!(labels.labels(), of::<Vec<u16>>(&case, name), "{name}");
        }
    }
}

#[test]
fn scores_match_mmsegmentation() {
    for case in cases("confusions") {
        let mut confusion = Confusion::new(of(&case, "classes")).unwrap();
        for maps in of::<Vec<Value>>(&case, "maps") {
            // The fixture has the ignored label of 8-bit masks.
            let labels =
                |name| of::<Vec<u16>>(&maps, name).into_iter().map(|l| if l == 255 { IGNORED } else { l });
            let map = |name| LabelMap::new(of(&maps, "size"), labels(name).collect()).unwrap();
            confusion.add(&map("prediction"), &map("truth")).unwrap();
        }
        assert_eq!(confusion.counts(), of::<Vec<u64>>(&case, "counts"));
        let (found, expected) = (confusion.scores(), of::<Segmentation>(&case, "expected"));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a}, expected {b}");
        close(found.miou, expected.miou);
        close(found.pixel_accuracy, expected.pixel_accuracy);
        close(found.baseline.miou, expected.baseline.miou);
        close(found.baseline.pixel_accuracy, expected.baseline.pixel_accuracy);
        assert_eq!(found.baseline.class, expected.baseline.class);
        assert_eq!((found.n_images, found.n_pixels), (expected.n_images, expected.n_pixels));
        for (found, expected) in [
            (&found.per_class_iou, &expected.per_class_iou),
            (&found.per_class_accuracy, &expected.per_class_accuracy),
        ] {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found.is_some(), expected.is_some());
                close(found.unwrap_or_default(), expected.unwrap_or_default());
            }
        }
        assert_eq!(found.per_class_iou[5], None);
        assert_eq!(found.per_class_iou[4], Some(0.0));
        assert_eq!(found.per_class_accuracy[4], None);
    }
}

#[test]
fn scores_without_pixels_are_zero() {
    let mut confusion = Confusion::new(2).unwrap();
    let ignored = LabelMap::new([1, 2], vec![IGNORED; 2]).unwrap();
    confusion.add(&LabelMap::new([1, 2], vec![0, 1]).unwrap(), &ignored).unwrap();
    let scores = confusion.scores();
    assert_eq!((scores.miou, scores.pixel_accuracy, scores.n_pixels), (0.0, 0.0, 0));
    assert_eq!(scores.per_class_iou, [None, None]);
}

#[test]
fn rejects_invalid_maps_without_counting_them() {
    let map = |size, labels: &[u16]| LabelMap::new(size, labels.to_vec()).unwrap();
    let mut confusion = Confusion::new(2).unwrap();
    let prediction = map([1, 2], &[0, 1]);
    let error = confusion.add(&prediction, &map([2, 1], &[0, 1])).unwrap_err();
    assert_eq!(error, SegmentationError::Size { found: [2, 1], expected: [1, 2] });
    let error = confusion.add(&prediction, &map([1, 2], &[0, 2])).unwrap_err();
    assert_eq!(error, SegmentationError::Label { what: "mask", label: 2, row: 0, column: 1, classes: 2 });
    let error = confusion.add(&map([1, 2], &[IGNORED, 1]), &prediction).unwrap_err();
    assert!(matches!(error, SegmentationError::Label { what: "prediction", .. }), "{error}");
    assert_eq!((confusion.scores().n_images, confusion.scores().n_pixels), (0, 0));
    for classes in [0, 65_536] {
        assert!(matches!(Confusion::new(classes), Err(SegmentationError::Config(_))));
    }
    let error = LabelMap::new([2, 2], vec![0; 3]).unwrap_err();
    assert!(matches!(error, SegmentationError::Length { found: 3, expected: 4, .. }));
}

#[test]
fn labels_above_255_are_classes() {
    let logits = (0..847).map(|class| f32::from(u8::from(class == 846))).collect();
    let decision = Decision { scale: 1.0, background_threshold: None };
    let prediction = LogitMap::new([1, 1], 847, logits).unwrap().labels([1, 2], &decision).unwrap();
    assert_eq!(prediction.labels(), [846, 846]);
    let mut confusion = Confusion::new(847).unwrap();
    confusion.add(&prediction, &LabelMap::new([1, 2], vec![846, 255]).unwrap()).unwrap();
    let scores = confusion.scores();
    assert_eq!((scores.per_class_iou[846], scores.per_class_iou[255]), (Some(50.0), Some(0.0)));
    assert_eq!((scores.n_pixels, confusion.counts()[255 * 847 + 846]), (2, 1));
}

#[test]
fn rejects_settings_out_of_range() {
    let config = |result: Result<(), SegmentationError>, field: &str| match result.unwrap_err() {
        SegmentationError::Config(error) => assert_eq!(error.field, field),
        other => panic!("{other}"),
    };
    let sliding = SlidingWindow::default();
    for (invalid, field) in [
        (SlidingWindow { short_side: 0, ..sliding }, "short_side"),
        (SlidingWindow { window: 449, ..sliding }, "window"),
        (SlidingWindow { stride: 0, ..sliding }, "stride"),
        (SlidingWindow { window: 100, ..sliding }, "stride"),
    ] {
        config(invalid.windows([448, 448]).map(drop), field);
    }
    assert_eq!(sliding.resized([300, 500]).unwrap(), [448, 747]);
    for size in [[0, 9], [1, 1000], [9, usize::MAX]] {
        config(sliding.resized(size).map(drop), "image");
    }
    let map = LogitMap::new([1, 1], 65_536, vec![0.0; 65_536]).unwrap();
    let decision = Decision { scale: 1.0, background_threshold: None };
    config(map.labels([1, 1], &decision).map(drop), "classes");
    let map = LogitMap::new([1, 1], 1, vec![0.0]).unwrap();
    config(map.labels([1, 1], &Decision { scale: f32::NAN, ..decision }).map(drop), "scale");
    let threshold = Decision { background_threshold: Some(1.5), ..decision };
    config(map.labels([1, 1], &threshold).map(drop), "background_threshold");
    config(map.resize([0, 1]).map(drop), "size");
    config(LogitMap::new([1, 1], 0, vec![]).map(drop), "classes");
    assert!(matches!(LogitMap::new([1, 2], 3, vec![0.0; 5]), Err(SegmentationError::Length { .. })));
}

#[test]
fn windows_must_be_inside_the_map_and_cover_it() {
    let mut sum = WindowSum::new([2, 3], 1).unwrap();
    let logits = LogitMap::new([1, 1], 1, vec![1.0]).unwrap();
    for window in [Window { place: [0, 2], size: [1, 2] }, Window { place: [usize::MAX, 0], size: [1, 1] }] {
        assert!(matches!(sum.add(window, &logits), Err(SegmentationError::Window { .. })));
    }
    let two = LogitMap::new([1, 1], 2, vec![1.0, 2.0]).unwrap();
    let whole = Window { place: [0, 0], size: [2, 3] };
    assert!(matches!(sum.add(whole, &two), Err(SegmentationError::Window { classes: 2, .. })));
    sum.add(Window { place: [0, 0], size: [2, 2] }, &logits).unwrap();
    assert_eq!(sum.clone().mean().unwrap_err(), SegmentationError::Uncovered { row: 0, column: 2 });
    sum.add(whole, &logits).unwrap();
    assert_eq!(sum.mean().unwrap().values(), [1.0; 6]);
}
