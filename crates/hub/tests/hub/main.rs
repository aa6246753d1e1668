//! Downloads from a mock hub on localhost.

#![cfg(feature = "download")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod faults;
mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sail_hub::{FileProgress, HubError, HubOptions, Progress, RepoId, RepoKind, Repository, open_dataset};
use serde_json::json;
use server::{Fault, MAIN, Server, V1, git_hash, sha256};
use tempfile::TempDir;

const NAMES: &[u8] = b"cat\ndog\n";

/// 800,000 bytes.
fn archive() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// A hub with one data set, and an empty cache.
fn setup() -> (Server, TempDir) {
    let server = Server::start();
    let files: [(&str, &[u8]); 6] = [
        ("classnames.txt", NAMES),
        ("Some Images/a b.png", b"an image"),
        ("script.py", b"import os"),
        ("test/0.tar", &archive()),
        ("train/0.tar", b"train"),
        ("z.txt", b"z"),
    ];
    server.add("datasets/org/tiny", &files);
    (server, tempfile::tempdir().unwrap())
}

fn wanted(name: &str) -> bool {
    name == "classnames.txt" || name.starts_with("test/") || name.ends_with(".png")
}

fn open(spec: &str, options: &HubOptions) -> Result<PathBuf, HubError> {
    open_dataset(spec, wanted, "class names", options)
}

fn fetch(options: &HubOptions) -> Result<PathBuf, HubError> {
    open("org/tiny", options)
}

fn assert_complete(folder: &Path) {
    assert_eq!(std::fs::read(folder.join("classnames.txt")).unwrap(), NAMES);
    assert_eq!(std::fs::read(folder.join("Some Images/a b.png")).unwrap(), b"an image");
    assert!(std::fs::read(folder.join("test/0.tar")).unwrap() == archive());
}

/// Returns the relative paths of all files below a folder except links and locks.
fn files(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                walk(root, &path, files);
            } else if entry.file_type().unwrap().is_file() && path.extension().is_none_or(|end| end != "lock")
            {
                files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut files = Vec::new();
    walk(folder, folder, &mut files);
    files.sort();
    files
}

fn root(cache: &Path) -> PathBuf {
    cache.join("datasets--org--tiny")
}

/// The partial download of the archive.
fn partial(cache: &Path) -> PathBuf {
    root(cache).join("blobs").join(format!("{}.incomplete", sha256(&archive())))
}

/// The requests for large files since the last call, by the start of their range.
fn ranges(server: &Server) -> Vec<Option<u64>> {
    server.requests().into_iter().filter(|request| request.is_large).map(|request| request.range).collect()
}

#[test]
fn fetches_the_wanted_files_once() {
    let (server, cache) = setup();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    let options = HubOptions {
        token: Some("hf_secret".into()),
        progress: Some(Arc::new(
            move |FileProgress { file, progress: Progress { done: received, total, .. } }| {
                sink.lock().unwrap().push((file.to_owned(), received, total));
            },
        )),
        ..server.options(cache.path())
    };
    let folder = fetch(&options).unwrap();
    assert_eq!(folder, root(cache.path()).join("snapshots").join(MAIN));
    assert_complete(&folder);
    for name in ["script.py", "train/0.tar", "z.txt"] {
        assert!(!folder.join(name).exists(), "{name}");
    }

    // The token is sent to the hub only, not to the address of large files.
    let requests = server.requests();
    let mut paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert!(paths[0].starts_with("/api/"));
    paths.sort();
    let resolve = |name: &str| format!("/datasets/org/tiny/resolve/{MAIN}/{name}");
    let expected = [
        "/api/datasets/org/tiny/revision/main?blobs=true".to_owned(),
        resolve("Some%20Images/a%20b.png"),
        resolve("classnames.txt"),
        resolve("test/0.tar"),
        "/datasets/org/tiny/test/0.tar".to_owned(),
    ];
    assert_eq!(paths, expected);
    for request in requests {
        let expected = (!request.is_large).then_some("Bearer hf_secret");
        assert_eq!(request.token.as_deref(), expected, "{request:?}");
    }

    let events = events.lock().unwrap();
    for (name, size) in [("classnames.txt", NAMES.len() as u64), ("test/0.tar", 800_000)] {
        let received: Vec<u64> =
            events.iter().filter(|(file, ..)| file == name).map(|(_, received, _)| *received).collect();
        assert!(received.is_sorted() && received.last() == Some(&size), "{name}: {received:?}");
        assert!(events.iter().all(|(file, _, total)| file != name || *total == size));
    }

    // The layout of `huggingface_hub`; the hash is that of `git hash-object`.
    let root = root(cache.path());
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), MAIN);
    assert_eq!(git_hash(NAMES), "ff9bc6d884efbf0f36d5c056c3c15506f1dbf4d0");
    assert_eq!(std::fs::read(root.join("blobs").join(git_hash(NAMES))).unwrap(), NAMES);
    #[cfg(unix)]
    for (name, target) in [
        ("classnames.txt", format!("../../blobs/{}", git_hash(NAMES))),
        ("test/0.tar", format!("../../../blobs/{}", sha256(&archive()))),
    ] {
        assert_eq!(std::fs::read_link(folder.join(name)).unwrap(), Path::new(&target));
    }

    // From the cache: by branch, by commit, and offline.
    let commit = HubOptions { revision: Some(MAIN.into()), ..options.clone() };
    for options in [options.clone(), commit, HubOptions { offline: true, ..options.clone() }] {
        assert_eq!(fetch(&options).unwrap(), folder);
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn fetches_additional_files_of_a_cached_data_set() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    let folder = fetch(&options).unwrap();
    let all = |options: &HubOptions| open_dataset("org/tiny", |name| name.ends_with(".tar"), "tar", options);
    let offline = HubOptions { offline: true, ..options.clone() };
    assert!(matches!(all(&offline), Err(HubError::Offline { .. })));
    server.requests();
    assert_eq!(all(&options).unwrap(), folder);
    assert_eq!(ranges(&server).len(), 1);
    assert_eq!(std::fs::read(folder.join("train/0.tar")).unwrap(), b"train");
}

#[test]
fn opens_an_existing_path_without_the_hub() {
    let (server, cache) = setup();
    let path = cache.path().to_str().unwrap();
    assert_eq!(open(path, &server.options(cache.path())).unwrap(), cache.path());
    for neither in ["no such/path/x", "name", "../etc"] {
        let error = open(neither, &server.options(cache.path()));
        assert!(matches!(error, Err(HubError::Id(_))), "{neither}: {error:?}");
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn revisions_share_their_files() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    let folder = fetch(&options).unwrap();
    server.requests();
    for revision in ["v1", "refs/pr/1", V1] {
        let by_id = open(&format!("org/tiny@{revision}"), &options).unwrap();
        let by_option = fetch(&HubOptions { revision: Some(revision.into()), ..options.clone() }).unwrap();
        assert!(by_id == by_option && by_id.ends_with(V1), "{revision}: {by_id:?}, {by_option:?}");
    }
    // One listing per name of the commit, and no file.
    let requests: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let list = |revision: &str| format!("/api/datasets/org/tiny/revision/{revision}?blobs=true");
    assert_eq!(requests, [list("v1"), list("refs%2Fpr%2F1")]);
    // The revision of an id takes precedence.
    let options = HubOptions { revision: Some("v1".into()), ..options };
    assert_eq!(open("org/tiny@main", &options).unwrap(), folder);
}

#[test]
fn refresh_follows_a_moved_branch() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    assert!(fetch(&options).unwrap().ends_with(MAIN));
    server.state.lock().unwrap().edit = Some(|list| list["sha"] = V1.into());
    assert!(fetch(&options).unwrap().ends_with(MAIN));
    let refresh = HubOptions { refresh: true, ..options.clone() };
    assert!(fetch(&refresh).unwrap().ends_with(V1));
    assert!(fetch(&options).unwrap().ends_with(V1));
}

#[test]
fn errors_name_the_cause() {
    let (server, cache) = setup();
    server.add("org/model", &[("classnames.txt", NAMES)]);
    server.add("datasets/org/gated", &[("classnames.txt", NAMES)]);
    server.add("datasets/org/empty", &[("README.md", b"soon")]);
    let options = server.options(cache.path());
    let address = &server.address;
    for (spec, expected) in [
        ("org/none", format!("{address} has no dataset `org/none`, or it is private")),
        ("org/model", format!("{address} has no dataset `org/model`, or it is private")),
        (
            "org/gated",
            format!(
                "access to `org/gated` is denied: accept its conditions at {address}/datasets/org/gated, create a token in \
                 the settings of your account, and set HF_TOKEN"
            ),
        ),
        ("org/tiny@v9", "the dataset `org/tiny` has no revision `v9`".into()),
        ("org/empty", "`org/empty` has none of the files: class names".into()),
        ("org/tiny@../v1", "`org/tiny@../v1` is neither a folder nor an id".into()),
    ] {
        let error = open(spec, &options).unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
    let invalid = HubOptions { revision: Some("../v1".into()), ..options.clone() };
    assert!(matches!(fetch(&invalid), Err(HubError::Id(text)) if text == "org/tiny@../v1"));
    let token = HubOptions { token: Some("hf_secret".into()), ..options.clone() };
    assert!(open("org/gated", &token).is_ok());
    for (options, status, expected) in [
        (&options, 401, "check the spelling, or set HF_TOKEN"),
        (&token, 401, "check the spelling, and whether the token in use is valid"),
        (&options, 403, "is denied"),
        (&token, 403, "signed in as the owner of the token in use"),
        (&options, 404, "has no dataset"),
        (&options, 503, "status 503; try again"),
        (&options, 429, "status 429"),
    ] {
        server.fault(Fault { status: Some(status), ..Fault::default() });
        let error = fetch(options).unwrap_err().to_string();
        assert!(error.contains(expected), "{status}: {error}");
    }
}

#[test]
fn deletes_a_corrupt_download() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    server.fault(Fault { corrupt: true, ..Fault::default() });
    let error = fetch(&options).unwrap_err();
    let HubError::Checksum { found, expected, .. } = &error else { panic!("{error}") };
    assert_eq!(*expected, sha256(&archive()));
    assert_ne!(found, expected);
    assert!(!files(cache.path()).iter().any(|file| file.contains(expected)));
    let offline = HubOptions { offline: true, ..options.clone() };
    assert!(fetch(&offline).is_err());

    server.fault(Fault::default());
    assert_complete(&fetch(&options).unwrap());
}

#[test]
fn resumes_an_interrupted_download() {
    let (server, cache) = setup();
    // Within one call.
    server.fault(Fault { cut: Some(300_000), ..Fault::default() });
    assert_complete(&fetch(&server.options(cache.path())).unwrap());
    assert_eq!(ranges(&server), [None, Some(300_000), Some(600_000)]);

    // In a later call, after attempts without progress.
    let cache = tempfile::tempdir().unwrap();
    let options = server.options(cache.path());
    let partial = partial(cache.path());
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, &archive()[..1_000]).unwrap();
    server.fault(Fault { cut: Some(0), ..Fault::default() });
    let error = fetch(&options).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert_eq!(std::fs::read(&partial).unwrap(), &archive()[..1_000]);
    assert_eq!(ranges(&server), [Some(1_000); 3]);
    server.fault(Fault::default());
    assert_complete(&fetch(&options).unwrap());
    assert_eq!(ranges(&server), [Some(1_000)]);
    assert!(!partial.exists());
}

#[test]
fn partial_downloads_may_have_any_length() {
    for (length, no_ranges, expected) in [
        (1_000, true, vec![Some(1_000)]), // the server sends the whole file
        (800_000, false, vec![]),
        (900_000, false, vec![None]),
    ] {
        let (server, cache) = setup();
        server.fault(Fault { no_ranges, ..Fault::default() });
        let partial = partial(cache.path());
        std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
        let mut bytes = archive();
        bytes.resize(length, 7);
        std::fs::write(&partial, bytes).unwrap();
        assert_complete(&fetch(&server.options(cache.path())).unwrap());
        assert_eq!(ranges(&server), expected, "{length}");
    }
}

#[test]
fn works_offline_from_the_cache_only() {
    let (server, cache) = setup();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = HubOptions { endpoint: format!("http://{closed}"), ..server.options(cache.path()) };
    let offline = HubOptions { offline: true, ..down.clone() };
    let network = fetch(&down).unwrap_err();
    assert!(matches!(network, HubError::Network { .. }), "{network}");
    assert!(network.to_string().ends_with("set HF_HUB_OFFLINE=1 to use the cache alone"), "{network}");
    assert!(matches!(fetch(&offline), Err(HubError::Offline { .. })));
    assert!(files(cache.path()).is_empty());

    fetch(&server.options(cache.path())).unwrap();
    assert_complete(&fetch(&offline).unwrap());
    assert_complete(&fetch(&down).unwrap());
    assert!(matches!(open("org/tiny@v1", &offline), Err(HubError::Offline { .. })));
}

#[test]
fn rejects_malformed_listings() {
    let edits: [fn(&mut serde_json::Value); 7] = [
        |list| list["sha"] = "../../../../escaped".into(),
        |list| list["sha"] = json!(null),
        |list| *list = json!([]),
        |list| list["siblings"] = json!({}),
        |list| list["siblings"][3]["lfs"]["sha256"] = "../../../escaped".into(),
        |list| list["siblings"][3]["lfs"]["sha256"] = "A".repeat(64).into(),
        |list| list["siblings"][3]["lfs"]["size"] = json!(-1),
    ];
    for (index, edit) in edits.into_iter().enumerate() {
        let (server, folder) = setup();
        server.state.lock().unwrap().edit = Some(edit);
        let error = fetch(&server.options(&folder.path().join("cache"))).unwrap_err();
        assert!(matches!(error, HubError::Response { .. }), "{index}: {error}");
        assert_eq!(files(folder.path()), [""; 0], "{index}");
    }
    // More or fewer bytes than listed.
    for (size, expected) in [
        (10, "800000 bytes, expected the 10 bytes listed"),
        (900_000, "800000 bytes, expected the 900000 bytes listed"),
    ] {
        let (server, cache) = setup();
        server.state.lock().unwrap().edit = Some(if size == 10 {
            |list| list["siblings"][3]["lfs"]["size"] = json!(10)
        } else {
            |list| list["siblings"][3]["lfs"]["size"] = json!(900_000)
        });
        let error = fetch(&server.options(cache.path())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rejects_file_names_outside_the_cache() {
    for name in
        ["../../../../escaped.png", "/tmp/escaped.png", "a/../../../../../escaped.png", "a\\..\\b.png"]
    {
        let (server, folder) = setup();
        let options = server.options(&folder.path().join("cache"));
        server.add("datasets/org/tiny", &[("a.png", b"1"), (name, b"2")]);
        let error = fetch(&options);
        assert!(matches!(error, Err(HubError::FileName { .. })), "{name}: {error:?}");
        // Also if it is fetched individually.
        let id: RepoId = "org/tiny".parse().unwrap();
        let repository = Repository::new(RepoKind::Dataset, &id, &options).unwrap();
        let error = repository.list().unwrap().fetch(name);
        assert!(matches!(error, Err(HubError::FileName { .. })), "{name}: {error:?}");
        assert_eq!(files(folder.path()), [""; 0]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn reports_a_full_disk() {
    let (server, cache) = setup();
    let partial = partial(cache.path());
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = fetch(&server.options(cache.path())).unwrap_err();
    assert!(matches!(error, HubError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().ends_with("free some, or set HF_HUB_CACHE to another disk"), "{error}");
}

#[test]
fn concurrent_calls_download_once() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_complete(&fetch(&options).unwrap()));
        }
    });
    assert_eq!(ranges(&server).len(), 1);
}
