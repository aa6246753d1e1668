//! Servers that are busy, silent or replaced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sail_hub::{HubError, HubOptions, RepoId, RepoKind, Repository, open_dataset};
use serde_json::json;

use crate::server::Fault;
use crate::{archive, assert_complete, fetch, open, partial, ranges, setup};

#[test]
fn waits_for_a_busy_server_as_it_asks() {
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (status, retry_after) in
        [(429, Some("0")), (503, Some(past)), (408, None), (500, None), (502, None), (503, None), (504, None)]
    {
        let (server, cache) = setup();
        // Without the header, the test would not end.
        let retry_delay = Duration::from_secs(if retry_after.is_some() { 1 << 20 } else { 0 });
        let options = HubOptions { retry_delay, connections: 1, ..server.options(cache.path()) };
        server.fault(Fault { busy: Some((status, 2)), retry_after, ..Fault::default() });
        assert_complete(&fetch(&options).unwrap());
        let requests = server.requests();
        assert_eq!(requests.len(), 2 + 5, "{status}");
        assert!(requests[..3].iter().all(|request| request.path == requests[0].path), "{status}");
    }
    // Neither longer than a user would wait, nor for what does not pass.
    let (server, cache) = setup();
    let options = server.options(cache.path());
    server.fault(Fault { busy: Some((429, 9)), retry_after: Some("86400"), ..Fault::default() });
    let error = fetch(&options).unwrap_err().to_string();
    assert!(error.contains("status 429, asking to wait 86400 s"), "{error}");
    assert_eq!(server.requests().len(), 1);
    server.fault(Fault { busy: Some((404, 9)), ..Fault::default() });
    assert!(matches!(fetch(&options), Err(HubError::Unknown { .. })));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn fetches_several_files_at_once() {
    let (server, cache) = setup();
    let names: Vec<String> = (0..12).map(|index| format!("{index:02}.tar")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    server.add("datasets/org/tiny", &files);
    server.fault(Fault { together: 4, ..Fault::default() });
    let options = HubOptions { connections: 4, ..server.options(cache.path()) };
    let folder = open_dataset("org/tiny", |_| true, "tar", &options).unwrap();
    for name in &names {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), name.as_bytes());
    }
    assert_eq!(ranges(&server).len(), 12);
    // The paths are in the order of the names, and the cause of a failure is named whatever else it stops.
    let id: RepoId = "org/tiny".parse().unwrap();
    let repository = Repository::new(RepoKind::Dataset, &id, &options).unwrap();
    let listing = repository.list().unwrap();
    let paths = listing.fetch_all(&names).unwrap();
    assert!(paths.iter().zip(&names).all(|(path, name)| path.ends_with(name)), "{paths:?}");
    let error = listing.fetch_all(&["00.tar", "none.tar", "01.tar"]);
    assert!(matches!(&error, Err(HubError::NoFiles { wanted, .. }) if wanted == "none.tar"), "{error:?}");
}

#[test]
fn a_failure_stops_the_other_downloads() {
    let (server, cache) = setup();
    server.add("datasets/org/tiny", &[("a.tar", &archive()), ("b.txt", b"b")]);
    server.state.lock().unwrap().edit = Some(|list| list["siblings"][1]["size"] = json!(2));
    server.fault(Fault { stall: Some(10_000), ..Fault::default() });
    let error = open_dataset("org/tiny", |_| true, "files", &server.options(cache.path())).unwrap_err();
    assert!(error.to_string().contains("1 bytes, expected the 2 bytes listed"), "{error}");
}

#[test]
fn stops_within_a_moment_while_a_server_is_silent() {
    for stall in [0, 10, 300_000] {
        let (server, cache) = setup();
        server.fault(Fault { stall: Some(stall), ..Fault::default() });
        let begun = Instant::now();
        let has_begun = server.state.clone();
        let options = HubOptions {
            // As soon as the archive has been requested, and what is sent of it has arrived.
            stop: Some(Arc::new(move || {
                let requested = has_begun.lock().unwrap().requests.iter().any(|request| request.is_large);
                requested && begun.elapsed() > Duration::from_secs(1)
            })),
            ..server.options(cache.path())
        };
        let error = fetch(&options).unwrap_err();
        assert!(matches!(error, HubError::Stopped { .. }), "{error}");
        // Far less than the time that a server may be silent.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let received = std::fs::metadata(partial(cache.path())).unwrap().len();
        assert!(received < 300_000 && (stall < 1_000 || received > 200_000), "{received}");
        // It can be resumed at once, in the same process.
        server.requests();
        server.fault(Fault::default());
        assert_complete(&fetch(&server.options(cache.path())).unwrap());
        assert_eq!(ranges(&server), [Some(received).filter(|&received| received > 0)]);
    }
}

#[test]
fn names_what_was_sent_in_the_place_of_a_file() {
    let page = b"<!DOCTYPE html><title>Log in to the network</title>";
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 800000\n";
    for (instead, expected) in [(&page[..], "an HTML page instead"), (pointer, "a Git LFS pointer instead")] {
        let (server, cache) = setup();
        let options = server.options(cache.path());
        // What was received before is kept.
        let partial = partial(cache.path());
        std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
        std::fs::write(&partial, &archive()[..1_000]).unwrap();
        server.fault(Fault { instead: Some(instead), ..Fault::default() });
        let error = fetch(&options).unwrap_err();
        assert!(matches!(error, HubError::StandIn { .. }) && error.to_string().contains(expected), "{error}");
        assert_eq!(std::fs::read(&partial).unwrap(), &archive()[..1_000]);
        server.fault(Fault::default());
        assert_complete(&fetch(&options).unwrap());
    }
    // With the length that is listed.
    let (server, cache) = setup();
    server.state.lock().unwrap().edit = Some(|list| list["siblings"][3]["lfs"]["size"] = json!(51));
    server.fault(Fault { instead: Some(page), ..Fault::default() });
    let error = fetch(&server.options(cache.path())).unwrap_err();
    assert!(matches!(error, HubError::StandIn { .. }), "{error}");
    assert!(!partial(cache.path()).exists());
    // In the place of the listing.
    server.fault(Fault { listing: Some(page), ..Fault::default() });
    let error = open("org/tiny@v1", &server.options(cache.path())).unwrap_err();
    assert!(matches!(error, HubError::StandIn { .. }), "{error}");
}

#[test]
fn says_that_a_listing_is_too_large() {
    let (server, cache) = setup();
    server.fault(Fault { listing_length: Some(100_000_000), ..Fault::default() });
    let error = fetch(&server.options(cache.path())).unwrap_err().to_string();
    assert!(
        error.starts_with("the list of files of the dataset `org/tiny` has more than 67108864 bytes"),
        "{error}"
    );
    assert!(error.contains("hf download"), "{error}");
}
