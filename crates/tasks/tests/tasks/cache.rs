//! The feature cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sail_core::Provenance;
use sail_data::source::SourceOptions;
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_tasks::{FeatureCache, TaskError, WinogroundData, winoground};

use crate::lab::Lab;

#[test]
fn a_second_head_uses_cached_features() {
    let mut lab = Lab::new();
    let folder = lab.copy("winoground");
    let run = |lab: &Lab| {
        let data = WinogroundData::open(&folder, &SourceOptions::default()).unwrap();
        lab.cached(|model, cache| winoground(model, &data, cache)).unwrap()
    };
    let first = run(&lab);
    let embedded = lab.embedded();
    assert_eq!(embedded, [31, 31], "32 images but one, 32 captions of which two are the same");
    assert_eq!(run(&lab), first, "skips and their reasons included");
    let config = HeadConfig::new(24, 24, 8, ProjectorConfig::Linear {});
    lab.head = Head::new(&config, 3, &lab.vision.device).unwrap();
    assert_ne!(run(&lab).scores, first.scores);
    assert_eq!(lab.embedded(), embedded);

    // Another image, model or dtype: other stores.
    std::fs::copy(folder.join("images/ex_0_img_0.png"), folder.join("images/ex_6_img_1.png")).unwrap();
    assert_eq!(run(&lab).skipped.count, 0);
    assert_eq!(lab.embedded(), [embedded[0] + 32, embedded[1]]);
    lab.text.model = Provenance::new("another ear");
    run(&lab);
    assert_eq!(lab.embedded()[1], 2 * embedded[1]);
    assert_eq!(std::fs::read_dir(lab.path("cache")).unwrap().count(), 4);
}

#[test]
fn rejects_a_head_of_other_encoders() {
    let mut lab = Lab::new();
    let data = WinogroundData::open(&lab.copy("winoground"), &SourceOptions::default()).unwrap();
    lab.head = lab.head.with_provenance(None, Some(&Provenance::new("nose")));
    let error = lab.cached(|model, cache| winoground(model, &data, cache)).unwrap_err();
    assert!(matches!(error, TaskError::Head(_)), "{error}");
    assert_eq!(lab.embedded(), [0, 0]);
}

#[test]
fn resumes_an_interrupted_extraction() {
    let lab = Lab::new();
    let data = WinogroundData::open(&lab.copy("winoground"), &SourceOptions::default()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // After the first block.
    let mut observer = |event: sail_extract::Event<'_>| {
        let sail_extract::Event::Progress(progress) = event else { return };
        stop.store(progress.done > 0, Ordering::Relaxed);
    };
    let mut cache = FeatureCache::new(lab.path("cache"), &mut observer);
    (cache.images.block, cache.images.stop) = (4, stop.clone());
    let stopped = winoground(&lab.model(), &data, &mut cache);
    assert!(matches!(stopped, Err(TaskError::Extract(_))), "{stopped:?}");
    assert_eq!(lab.embedded()[0], 4);
    let result = lab.cached(|model, cache| {
        cache.images.block = 4;
        winoground(model, &data, cache)
    });
    assert_eq!(lab.embedded()[0], 31);
    let undisturbed = Lab::new().cached(|model, cache| winoground(model, &data, cache)).unwrap();
    assert_eq!(result.unwrap(), undisturbed);
}
