//! Models by id, from a hub on this machine.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sail_encoders::{
    FileProgress, HubError, HubOptions, ModelError, ModelFolder, ModelSpec, fetch, open_dataset,
};
use serde_json::json;
use server::{Fault, MAIN, Server, V1, git_hash, sha256};
use tempfile::TempDir;

const CONFIG: &[u8] = br#"{"model_type": "tiny"}"#;

fn weights() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// A hub with one model, and an empty cache.
fn setup() -> (Server, TempDir) {
    let server = Server::start();
    let files: [(&str, &[u8]); 5] = [
        ("config.json", CONFIG),
        ("1_Pooling/config.json", b"{}"),
        ("README.md", b"not needed"),
        ("modeling_tiny.py", b"import os"),
        ("model.safetensors", &weights()),
    ];
    server.add("org/tiny", &files);
    (server, tempfile::tempdir().unwrap())
}

fn at(options: &HubOptions, revision: &str) -> HubOptions {
    HubOptions { revision: Some(revision.to_owned()), ..options.clone() }
}

fn error(id: &str, options: &HubOptions) -> ModelError {
    fetch(id, options).unwrap_err()
}

/// Every file below a folder that is neither a link nor a lock, by its path from there.
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

fn blob(cache: &Path, hash: &str) -> PathBuf {
    cache.join("models--org--tiny/blobs").join(hash)
}

#[test]
fn a_model_is_fetched_once() {
    let (server, cache) = setup();
    let progress = Arc::new(Mutex::new(Vec::new()));
    let told = progress.clone();
    let options = HubOptions {
        token: Some("hf_secret".into()),
        progress: Some(Arc::new(move |FileProgress { file, received, total }| {
            told.lock().unwrap().push((file.to_owned(), received, total));
        })),
        ..server.options(cache.path())
    };
    let folder = fetch("org/tiny", &options).unwrap();
    assert_eq!((folder.name(), folder.revision()), ("org/tiny", Some(MAIN)));
    assert_eq!(folder.model_type().unwrap(), "tiny");
    assert_eq!(folder.weights_sha256().unwrap(), sha256(&weights()));
    assert_eq!(folder.json("1_Pooling/config.json").unwrap(), Some(json!({})));

    // Neither code nor prose; the token went to the hub and nowhere else.
    let requests = server.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    let resolve = |name: &str| format!("/org/tiny/resolve/{MAIN}/{name}");
    let expected = [
        "/api/models/org/tiny/revision/main?blobs=true".to_owned(),
        resolve("config.json"),
        resolve("1_Pooling/config.json"),
        resolve("model.safetensors"),
        "/org/tiny/model.safetensors".to_owned(),
    ];
    assert_eq!(paths, expected);
    for request in requests {
        assert_eq!(
            request.token.as_deref(),
            (!request.is_large).then_some("Bearer hf_secret"),
            "{request:?}"
        );
    }

    // Each file's progress rises to its end.
    let progress = progress.lock().unwrap();
    for (name, size) in [("config.json", CONFIG.len() as u64), ("model.safetensors", 800_000)] {
        let received: Vec<u64> =
            progress.iter().filter(|(file, ..)| file == name).map(|told| told.1).collect();
        assert!(received.is_sorted() && received.last() == Some(&size), "{name}: {received:?}");
        assert!(progress.iter().all(|(file, _, total)| file != name || *total == size));
    }

    // The layout of `huggingface_hub`; git's own hash of CONFIG, by `git hash-object`.
    let root = cache.path().join("models--org--tiny");
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), MAIN);
    assert_eq!(git_hash(CONFIG), "acfb5d72b280d1928946c2d9ae9f53d92caafcee");
    assert_eq!(std::fs::read(root.join("blobs").join(git_hash(CONFIG))).unwrap(), CONFIG);
    #[cfg(unix)]
    for (name, target) in [
        ("model.safetensors", format!("../../blobs/{}", sha256(&weights()))),
        ("1_Pooling/config.json", format!("../../../blobs/{}", git_hash(b"{}"))),
    ] {
        let link = root.join("snapshots").join(MAIN).join(name);
        assert_eq!(std::fs::read_link(link).unwrap(), Path::new(&target));
    }

    // The second time by branch and by commit, and without a connection.
    for options in [options.clone(), at(&options, MAIN), HubOptions { offline: true, ..options.clone() }] {
        let again = fetch("org/tiny", &options).unwrap();
        assert_eq!(again.path(), folder.path());
    }
    assert_eq!(server.requests(), []);
    // A snapshot opened as a folder knows what it is.
    let opened = ModelFolder::open(folder.path()).unwrap();
    assert_eq!(opened.provenance().unwrap(), folder.provenance().unwrap());
}

#[test]
fn every_layout_of_weights_is_fetched() {
    let (server, cache) = setup();
    let index = |ending: &str| {
        let map =
            json!({"a": format!("x-1.{ending}"), "b": format!("x-2.{ending}"), "c": format!("x-1.{ending}")});
        json!({"weight_map": map}).to_string()
    };
    let (safetensors, bin) = (index("safetensors"), index("bin"));
    let config = ("config.json", CONFIG);
    server.add(
        "org/single",
        &[config, ("pytorch_model.bin", b"1"), ("tf_model.h5", b"2"), ("model.safetensors", b"3")],
    );
    server.add("org/bin", &[config, ("pytorch_model.bin", b"1"), ("flax_model.msgpack", b"2")]);
    let shards: [(&str, &[u8]); 3] = [
        ("x-1.safetensors", b"1"),
        ("x-2.safetensors", b"2"),
        ("model.safetensors.index.json", safetensors.as_bytes()),
    ];
    server.add("org/shards", &[&[config, ("pytorch_model.bin", b"5")][..], &shards].concat());
    server.add(
        "org/bins",
        &[config, ("x-1.bin", b"1"), ("x-2.bin", b"2"), ("pytorch_model.bin.index.json", bin.as_bytes())],
    );
    server.add("org/other", &[config, ("tiny.pth", b"1"), ("training_args.bin", b"2")]);
    server.add("name", &[config, ("model.safetensors", b"1")]);
    for (id, expected) in [
        ("org/single", &["model.safetensors"][..]),
        ("org/bin", &["pytorch_model.bin"]),
        ("org/shards", &["x-1.safetensors", "x-2.safetensors"]),
        ("org/bins", &["x-1.bin", "x-2.bin"]),
        ("org/other", &["tiny.pth"]),
        ("name", &["model.safetensors"]),
    ] {
        let options = server.options(cache.path());
        let folder = id.parse::<ModelSpec>().unwrap().open(&options).unwrap();
        let found: Vec<_> =
            folder.weight_files().iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!((folder.name(), found.as_slice()), (id, expected));
        server.requests();
        fetch(id, &options).unwrap();
        assert_eq!(server.requests(), [], "{id}");
    }
}

#[test]
fn revisions_are_pinned_and_share_their_files() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    fetch("org/tiny", &options).unwrap();
    server.requests();
    for revision in ["v1", "refs/pr/1", V1] {
        let folder = format!("org/tiny@{revision}").parse::<ModelSpec>().unwrap().open(&options).unwrap();
        assert_eq!(folder.revision(), Some(V1), "{revision}");
    }
    // A list for each name of the commit; no file again.
    let requests: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let list = |revision: &str| format!("/api/models/org/tiny/revision/{revision}?blobs=true");
    assert_eq!(requests, [list("v1"), list("refs%2Fpr%2F1")]);
    assert_eq!(fetch("org/tiny", &options).unwrap().revision(), Some(MAIN));
}

#[test]
fn a_branch_that_moved_is_seen_on_request() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    fetch("org/tiny", &options).unwrap();
    server.state.lock().unwrap().edit = Some(|list| list["sha"] = V1.into());
    assert_eq!(fetch("org/tiny", &options).unwrap().revision(), Some(MAIN));
    let refresh = HubOptions { refresh: true, ..options.clone() };
    assert_eq!(fetch("org/tiny", &refresh).unwrap().revision(), Some(V1));
    assert_eq!(fetch("org/tiny", &options).unwrap().revision(), Some(V1));
}

#[test]
fn what_the_hub_does_not_give() {
    let (server, cache) = setup();
    server.add("org/gated", &[("config.json", CONFIG), ("model.safetensors", b"1")]);
    server.add("org/empty", &[("config.json", CONFIG), ("README.md", b"soon")]);
    server.add("org/bare", &[("model.safetensors", b"1")]);
    server.add(
        "org/part",
        &[
            ("config.json", CONFIG),
            ("model.safetensors.index.json", br#"{"weight_map": {"a": "gone.safetensors"}}"#),
        ],
    );
    let options = server.options(cache.path());
    let address = &server.address;
    for (id, revision, expected) in [
        ("org/none", "main", format!("{address} has no model `org/none`, or it is private")),
        (
            "org/gated",
            "main",
            format!(
                "`org/gated` may not be downloaded with this token: accept its conditions at {address}/org/gated"
            ),
        ),
        ("org/tiny", "v9", "the model `org/tiny` has no revision `v9`".into()),
        ("org/empty", "main", "org/empty has no weights: looked for model.safetensors, ".into()),
        ("org/bare", "main", "org/bare has no configuration: looked for config.json".into()),
        ("org/part", "main", "org/part has no shard: looked for gone.safetensors".into()),
        ("../etc", "main", "`../etc@main` is neither a folder nor an id".into()),
        ("org/tiny", "../v1", "`org/tiny@../v1` is neither a folder nor an id".into()),
    ] {
        let error = error(id, &at(&options, revision)).to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
    let token = HubOptions { token: Some("hf_secret".into()), ..options.clone() };
    assert!(fetch("org/gated", &token).is_ok());
    for (status, expected) in [
        (403, "may not be downloaded"),
        (404, "has no model"),
        (503, "status 503: try again"),
        (429, "status 429"),
    ] {
        server.fault(Fault { status: Some(status), ..Fault::default() });
        let error = error("org/tiny", &options).to_string();
        assert!(error.contains(expected), "{status}: {error}");
    }
}

#[test]
fn a_damaged_file_is_deleted_and_not_used() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    server.fault(Fault { corrupt: true, ..Fault::default() });
    let error = error("org/tiny", &options);
    let ModelError::Hub(HubError::Checksum { found, expected, .. }) = &error else { panic!("{error}") };
    assert_eq!(*expected, sha256(&weights()));
    assert_ne!(found, expected);
    assert!(!files(cache.path()).iter().any(|file| file.contains(expected)));
    let offline = HubOptions { offline: true, ..options.clone() };
    assert!(fetch("org/tiny", &offline).is_err());

    server.fault(Fault::default());
    assert_eq!(fetch("org/tiny", &options).unwrap().weights_sha256().unwrap(), sha256(&weights()));
}

#[test]
fn a_connection_that_breaks_off_is_taken_up_where_it_ended() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    let ranges = || {
        let large = server.requests().into_iter().filter(|request| request.is_large);
        large.map(|request| request.range).collect::<Vec<_>>()
    };
    // In one call.
    server.fault(Fault { cut: Some(300_000), ..Fault::default() });
    let folder = fetch("org/tiny", &options).unwrap();
    assert_eq!(folder.weights_sha256().unwrap(), sha256(&weights()));
    assert_eq!(ranges(), [None, Some(300_000), Some(600_000)]);

    // In a later one: 1,000 bytes are there, and nothing comes.
    let cache = tempfile::tempdir().unwrap();
    let options = server.options(cache.path());
    let partial = blob(cache.path(), &format!("{}.incomplete", sha256(&weights())));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, &weights()[..1_000]).unwrap();
    server.fault(Fault { cut: Some(0), ..Fault::default() });
    let error = error("org/tiny", &options);
    assert!(matches!(error, ModelError::Hub(HubError::Network { .. })), "{error}");
    assert_eq!(std::fs::read(&partial).unwrap(), &weights()[..1_000]);
    assert_eq!(ranges(), [Some(1_000); 3]);
    server.fault(Fault::default());
    assert_eq!(fetch("org/tiny", &options).unwrap().weights_sha256().unwrap(), sha256(&weights()));
    assert_eq!(ranges(), [Some(1_000)]);
    assert!(!partial.exists());
}

#[test]
fn what_is_on_the_disk_may_be_of_any_length() {
    for (length, no_ranges, expected) in [
        (1_000, true, vec![Some(1_000)]), // the server sends the whole again
        (800_000, false, vec![]),
        (900_000, false, vec![None]),
    ] {
        let (server, cache) = setup();
        server.fault(Fault { no_ranges, ..Fault::default() });
        let partial = blob(cache.path(), &format!("{}.incomplete", sha256(&weights())));
        std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
        let mut bytes = weights();
        bytes.resize(length, 7);
        std::fs::write(&partial, bytes).unwrap();
        let folder = fetch("org/tiny", &server.options(cache.path())).unwrap();
        assert_eq!(folder.weights_sha256().unwrap(), sha256(&weights()), "{length}");
        let large = server.requests().into_iter().filter(|request| request.is_large);
        assert_eq!(large.map(|request| request.range).collect::<Vec<_>>(), expected, "{length}");
    }
}

#[test]
fn no_network_and_offline() {
    let (server, cache) = setup();
    // A port that nobody listens at.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = HubOptions { endpoint: format!("http://{closed}"), ..HubOptions::new(cache.path()) };
    let offline = HubOptions { offline: true, ..down.clone() };
    let network = error("org/tiny", &down);
    assert!(matches!(network, ModelError::Hub(HubError::Network { .. })), "{network}");
    assert!(network.to_string().ends_with("set HF_HUB_OFFLINE=1 to use the cache alone"), "{network}");
    assert!(matches!(error("org/tiny", &offline), ModelError::Hub(HubError::Offline { .. })));
    assert!(files(cache.path()).is_empty());

    fetch("org/tiny", &server.options(cache.path())).unwrap();
    assert!(fetch("org/tiny", &offline).is_ok());
    assert!(fetch("org/tiny", &down).is_ok());
    assert!(matches!(error("org/tiny", &at(&offline, "v1")), ModelError::Hub(HubError::Offline { .. })));
    // Another tool has fetched less: whether there is a tokenizer is not known, so online the hub is asked.
    std::fs::remove_dir_all(cache.path().join("models--org--tiny/.no_exist")).unwrap();
    assert!(fetch("org/tiny", &offline).is_ok());
    assert!(matches!(error("org/tiny", &down), ModelError::Hub(HubError::Network { .. })));
}

#[test]
fn a_hostile_hub_cannot_write_outside_the_cache() {
    let edits: [fn(&mut serde_json::Value); 8] = [
        |list| list["sha"] = "../../../../escaped".into(),
        |list| list["sha"] = json!(null),
        |list| *list = json!([]),
        |list| list["siblings"] = json!({}),
        |list| list["siblings"][3]["lfs"]["sha256"] = "../../../escaped".into(),
        |list| list["siblings"][3]["lfs"]["sha256"] = "A".repeat(64).into(),
        |list| list["siblings"][3]["rfilename"] = "../../../../escaped.safetensors".into(),
        |list| list["siblings"][3]["lfs"]["size"] = json!(-1),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let (server, folder) = setup();
        let cache = folder.path().join("cache");
        server.state.lock().unwrap().edit = Some(edit);
        let error = error("org/tiny", &server.options(&cache));
        assert!(
            matches!(error, ModelError::Hub(HubError::Answer { .. }) | ModelError::Missing { .. }),
            "{number}: {error}"
        );
        assert!(
            files(folder.path()).iter().all(|file| file.starts_with("cache/models--org--tiny/")),
            "{number}"
        );
    }
    // More or less than announced.
    for (size, expected) in [(10, "more than the 10 bytes announced"), (900_000, "cannot fetch")] {
        let (server, cache) = setup();
        server.state.lock().unwrap().edit = Some(if size == 10 {
            |list| list["siblings"][3]["lfs"]["size"] = json!(10)
        } else {
            |list| list["siblings"][3]["lfs"]["size"] = json!(900_000)
        });
        let error = error("org/tiny", &server.options(cache.path())).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let (server, cache) = setup();
    let partial = blob(cache.path(), &format!("{}.incomplete", sha256(&weights())));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = error("org/tiny", &server.options(cache.path()));
    assert!(matches!(error, ModelError::Hub(HubError::DiskFull { .. })), "{error:?}");
    assert!(error.to_string().ends_with("free some, or set HF_HUB_CACHE to another disk"), "{error}");
}

#[test]
fn two_at_once_download_once() {
    let (server, cache) = setup();
    let options = server.options(cache.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fetch("org/tiny", &options).unwrap());
        }
    });
    assert_eq!(server.requests().into_iter().filter(|request| request.is_large).count(), 1);
}

#[test]
fn a_data_set_is_fetched_file_by_file() {
    let (server, cache) = setup();
    let tar = weights();
    let files: [(&str, &[u8]); 5] = [
        ("classnames.txt", b"cat\ndog\n"),
        ("test/0.tar", &tar),
        ("train/0.tar", b"not wanted"),
        ("Some Images/a b.png", b"an image"),
        ("script.py", b"import os"),
    ];
    server.add("datasets/org/tiny", &files);
    let options = server.options(cache.path());
    let wanted = |name: &str| name == "classnames.txt" || name.starts_with("test/") || name.ends_with(".png");
    let open = |options: &HubOptions| open_dataset("org/tiny", wanted, "class names", options);
    // A connection that breaks off is taken up again here too.
    server.fault(Fault { cut: Some(500_000), ..Fault::default() });
    let folder = open(&options).unwrap();
    assert_eq!(folder, cache.path().join("datasets--org--tiny/snapshots").join(MAIN));
    for (name, bytes) in files {
        let found = std::fs::read(folder.join(name)).ok();
        assert_eq!(found.as_deref(), wanted(name).then_some(bytes), "{name}");
    }
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[0], "/api/datasets/org/tiny/revision/main?blobs=true");
    assert!(
        paths.contains(&format!("/datasets/org/tiny/resolve/{MAIN}/Some%20Images/a%20b.png")),
        "{paths:?}"
    );

    // From the cache; another choice of files asks again and fetches what is new alone.
    let offline = HubOptions { offline: true, ..options.clone() };
    assert_eq!(open(&options).unwrap(), folder);
    assert_eq!(open(&offline).unwrap(), folder);
    assert_eq!(server.requests(), []);
    let train =
        |options: &HubOptions| open_dataset("org/tiny", |name| name.ends_with(".tar"), "archives", options);
    assert!(matches!(train(&offline), Err(HubError::Offline { .. })));
    server.fault(Fault::default());
    assert_eq!(train(&options).unwrap(), folder);
    assert_eq!(server.requests().into_iter().filter(|request| request.is_large).count(), 1);

    // A path is no id, and a model is no data set.
    let here = cache.path().to_str().unwrap();
    assert_eq!(open_dataset(here, |_| false, "nothing", &offline).unwrap(), cache.path());
    server.add("org/model", &[("config.json", CONFIG)]);
    let error = open_dataset("org/model", wanted, "class names", &options).unwrap_err().to_string();
    assert!(error.contains("has no dataset `org/model`, or it is private"), "{error}");
    let error = open_dataset("org/tiny@v9", wanted, "class names", &options).unwrap_err().to_string();
    assert_eq!(error, "the dataset `org/tiny` has no revision `v9`");
    let error = open_dataset("org/tiny", |_| false, "masks", &options).unwrap_err().to_string();
    assert_eq!(error, "the data set `org/tiny` has none of the files that were looked for: masks");
    for neither in ["no such/path/x", "name"] {
        assert!(matches!(open_dataset(neither, wanted, "x", &options), Err(HubError::Id(_))), "{neither}");
    }
}

#[test]
fn a_hostile_data_set_cannot_write_outside_the_cache() {
    for name in
        ["../../../../escaped.png", "/tmp/escaped.png", "a/../../../../../escaped.png", "a\\..\\b.png"]
    {
        let (server, folder) = setup();
        let cache = folder.path().join("cache");
        server.add("datasets/org/tiny", &[("a.png", b"1"), (name, b"2")]);
        let error =
            open_dataset("org/tiny", |name| name.ends_with(".png"), "images", &server.options(&cache));
        assert!(matches!(error, Err(HubError::FileName { .. })), "{name}: {error:?}");
        assert_eq!(files(folder.path()), [""; 0]);
    }
}
