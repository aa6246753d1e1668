//! Images by URL.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use sail_core::FeatureSource;
use sail_data::EmbeddingStore;
use sail_data::source::{ImageData, Record};
use sail_extract::{ExtractError, ExtractOptions, UrlFetch, read_skipped};

use crate::fakes::{Made, assert_same, image, images, options};

/// Images of which every second one is a URL.
fn by_url(position: u64) -> Record<ImageData> {
    match position % 2 {
        0 => image(position),
        _ => Record { key: image(position).key, value: Ok(ImageData::Url(format!("http://x/{position}"))) },
    }
}

fn content(url: &str) -> Cursor<Vec<u8>> {
    let position = url.rsplit('/').next().unwrap().parse().unwrap();
    let Ok(ImageData::Bytes(bytes)) = image(position).value else { panic!() };
    Cursor::new(bytes)
}

#[test]
fn rows_equal_those_of_local_images() {
    let folder = tempfile::tempdir().unwrap();
    let (out, expected) = (folder.path().join("urls"), folder.path().join("local"));
    images(&Made { count: 100, record: image }, &expected, &options()).unwrap();
    let urls = Some(UrlFetch::new(7, |url: &str| Ok(content(url))));
    images(&Made { count: 100, record: by_url }, &out, &ExtractOptions { urls, ..options() }).unwrap();
    assert_same(&out, &expected);
}

#[test]
fn failures_are_skipped_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let fetch = |url: &str| match url {
        "http://x/3" => Err("status 404".to_owned()),
        "http://x/5" => Ok(Cursor::new(Vec::new())),
        "http://x/7" => panic!("an unexpected bug"),
        _ => Ok(content(url)),
    };
    let source = Made { count: 10, record: by_url };
    let fetching = ExtractOptions { urls: Some(UrlFetch::new(3, fetch)), ..options() };
    let extraction = images(&source, &out, &fetching).unwrap();
    assert_eq!((extraction.rows, extraction.skipped), (7, 3));
    let skipped: Vec<(String, String)> =
        read_skipped(&out).unwrap().into_iter().map(|skipped| (skipped.key, skipped.reason)).collect();
    let expected = [
        ("p00003", "cannot fetch http://x/3: status 404"),
        ("p00005", "the file is empty"),
        ("p00007", "preprocessing panicked: an unexpected bug"),
    ];
    assert_eq!(skipped, expected.map(|(key, reason)| (key.to_owned(), reason.to_owned())));

    let out = folder.path().join("none");
    let extraction = images(&source, &out, &options()).unwrap();
    assert_eq!((extraction.rows, extraction.skipped), (5, 5));
    let skipped = &read_skipped(&out).unwrap()[0];
    assert_eq!(skipped.reason, "`http://x/1` is a URL, and this program does not fetch any");
}

#[test]
fn a_slow_server_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    // The first image arrives when 60 others have been fetched, by the other thread.
    let fetched = Arc::new((Mutex::new(0), Condvar::new()));
    let fetch = move |url: &str| {
        let (count, changed) = &*fetched;
        let mut count = count.lock().unwrap();
        if url == "http://x/1" {
            let limit = Duration::from_secs(60);
            let (count, waited) = changed.wait_timeout_while(count, limit, |count| *count < 60).unwrap();
            assert!(!waited.timed_out(), "fetched {count} others");
        } else {
            *count += 1;
            changed.notify_all();
        }
        Ok(content(url))
    };
    let urls = Some(UrlFetch::new(2, fetch));
    let record = |position| by_url(position * 2 + 1);
    let extraction = images(
        &Made { count: 90, record },
        &folder.path().join("store"),
        &ExtractOptions { urls, ..options() },
    );
    assert_eq!(extraction.unwrap().rows, 90);
}

#[test]
fn images_that_a_stop_did_not_fetch_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (out, expected) = (folder.path().join("stopped"), folder.path().join("expected"));
    let source = Made { count: 200, record: by_url };
    let all = || Some(UrlFetch::new(4, |url: &str| Ok(content(url))));
    images(&source, &expected, &ExtractOptions { urls: all(), ..options() }).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let (flag, calls) = (stop.clone(), AtomicUsize::new(0));
    let fetch = move |url: &str| match calls.fetch_add(1, Ordering::Relaxed) {
        0..40 => Ok(content(url)),
        _ => {
            flag.store(true, Ordering::Relaxed);
            Err("stopped".to_owned())
        }
    };
    let urls = Some(UrlFetch::new(4, fetch));
    let error = images(&source, &out, &ExtractOptions { urls, stop, ..options() }).unwrap_err();
    assert!(matches!(error, ExtractError::Stopped { .. }), "{error}");
    images(&source, &out, &ExtractOptions { urls: all(), resume: true, ..options() }).unwrap();
    assert_same(&out, &expected);
    let store = EmbeddingStore::open(&out).unwrap();
    assert_eq!((store.rows(), read_skipped(&out).unwrap().len()), (200, 0));
}
