//! A mock hub on localhost, which redirects requests for large files to another host name.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sail_hub::HubOptions;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commits of the branch `main` and the tag `v1`.
pub(crate) const MAIN: &str = "00112233445566778899aabbccddeeff00112233";
pub(crate) const V1: &str = "ffeeddccbbaa99887766554433221100ffeeddcc";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<u64>,
    pub(crate) token: Option<String>,
    /// Whether it was sent to the host of large files.
    pub(crate) is_large: bool,
}

/// Failures to simulate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fault {
    /// Change a byte of large files.
    pub(crate) corrupt: bool,
    /// Close the connection after this number of bytes of a large file.
    pub(crate) cut: Option<usize>,
    /// Ignore the ranges of requests.
    pub(crate) no_ranges: bool,
    /// Status of all responses.
    pub(crate) status: Option<u16>,
    /// Status of this number of responses, after which the server recovers.
    pub(crate) busy: Option<(u16, usize)>,
    /// The header `Retry-After` of responses with these statuses.
    pub(crate) retry_after: Option<&'static str>,
    /// Send this in the place of large files.
    pub(crate) instead: Option<&'static [u8]>,
    /// Send this in the place of listings.
    pub(crate) listing: Option<&'static [u8]>,
    /// Announce this length of listings.
    pub(crate) listing_length: Option<u64>,
    /// Send no more after this number of bytes of a response, without closing the connection.
    pub(crate) stall: Option<usize>,
    /// Answer requests for large files when this number of them is waiting.
    pub(crate) together: usize,
}

pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Files by name, by repository: the id of a model, or `datasets/` and the id of a data set.
    pub(crate) repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) fault: Fault,
    /// Number of requests for large files that have arrived.
    pub(crate) arrived: usize,
    /// Modifies listings.
    pub(crate) edit: Option<fn(&mut Value)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || respond(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn add(&self, id: &str, files: &[(&str, &[u8])]) {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        self.state.lock().unwrap().repositories.insert(id.to_owned(), files.collect());
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// Returns the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    pub(crate) fn options(&self, cache: &std::path::Path) -> HubOptions {
        HubOptions {
            endpoint: self.address.clone(),
            attempts: 3,
            retry_delay: Duration::from_millis(1),
            ..HubOptions::new(cache)
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn git_hash(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns whether a file is stored in LFS.
fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".pth", ".tar"].iter().any(|ending| name.ends_with(ending))
}

fn respond(mut stream: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let headers: BTreeMap<String, String> = lines
        .map_while(|line| line.ok().filter(|line| !line.is_empty()))
        .filter_map(|line| {
            line.split_once(": ").map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        })
        .collect();
    let range = headers.get("range").map(|range| range["bytes=".len()..range.len() - 1].parse().unwrap());
    let request = Request {
        path: first.split(' ').nth(1).unwrap().to_owned(),
        range,
        token: headers.get("authorization").cloned(),
        is_large: headers["host"].starts_with("localhost"),
    };
    let mut locked = state.lock().unwrap();
    locked.requests.push(request.clone());
    let fault = locked.fault;
    if request.is_large && fault.together > 0 {
        locked.arrived += 1;
        drop(locked);
        let begun = Instant::now();
        while state.lock().unwrap().arrived < fault.together {
            assert!(begun.elapsed() < Duration::from_secs(60), "expected {} requests", fault.together);
            std::thread::sleep(Duration::from_millis(5));
        }
        locked = state.lock().unwrap();
    }
    let port = stream.local_addr().unwrap().port();
    let retry_after = fault.retry_after.map(|value| format!("Retry-After: {value}\r\n")).unwrap_or_default();
    let response = match fault.busy {
        Some((status, left)) if left > 0 => {
            locked.fault.busy = Some((status, left - 1));
            response(status, &retry_after, b"")
        }
        _ if request.is_large => large(&locked, &request),
        _ => small(&locked, &request, port),
    };
    drop(locked);
    // The client may have disconnected.
    if let Some(stall) = fault.stall.filter(|&stall| request.is_large && stall < response.len()) {
        let _ = stream.write_all(&response[..stall]);
        // Until the client closes the connection.
        let _ = stream.read(&mut [0; 1]);
    } else {
        let _ = stream.write_all(&response);
    }
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn small(state: &State, request: &Request, port: u16) -> Vec<u8> {
    let refuse = |status, code: &str| response(status, &format!("X-Error-Code: {code}\r\n"), b"");
    if let Some(status) = state.fault.status {
        return response(status, "", b"");
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let is_list = path.starts_with("/api/");
    let (id, rest) = path
        .strip_prefix("/api/models/")
        // Keeps `datasets/`, as in the addresses of files.
        .or_else(|| path.strip_prefix("/api/"))
        .and_then(|path| path.split_once("/revision/"))
        .or_else(|| path[1..].split_once("/resolve/"))
        .unwrap();
    if id.ends_with("org/gated") && request.token.is_none() {
        return refuse(401, "GatedRepo");
    }
    let Some(files) = state.repositories.get(id) else { return refuse(401, "RepoNotFound") };
    let (revision, name) = rest.split_once('/').unwrap_or((rest, ""));
    let commit = match revision {
        "main" | MAIN => MAIN,
        "v1" | "refs%2Fpr%2F1" | V1 => V1,
        _ => return refuse(404, "RevisionNotFound"),
    };
    if is_list {
        assert_eq!(query, "blobs=true");
        if let Some(page) = state.fault.listing {
            return response(200, "", page);
        }
        if let Some(length) = state.fault.listing_length {
            return format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n{{").into_bytes();
        }
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            let mut file = json!({"rfilename": name, "size": bytes.len(), "blobId": git_hash(bytes)});
            if is_large(name) {
                file["lfs"] = json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
            }
            file
        };
        let mut list = json!({"sha": commit, "siblings": files.iter().map(file).collect::<Vec<_>>()});
        if let Some(edit) = state.edit {
            edit(&mut list);
        }
        return response(200, "", list.to_string().as_bytes());
    }
    match files.get(&name.replace("%20", " ")) {
        None => refuse(404, "EntryNotFound"),
        Some(_) if is_large(name) => {
            response(302, &format!("Location: http://localhost:{port}/{id}/{name}\r\n"), b"")
        }
        Some(bytes) => response(200, "", bytes),
    }
}

fn large(state: &State, request: &Request) -> Vec<u8> {
    if let Some(instead) = state.fault.instead {
        return response(200, "", instead);
    }
    let path = &request.path[1..];
    let file = |(id, files): (&String, &BTreeMap<String, Vec<u8>>)| {
        files.get(path.strip_prefix(id.as_str())?.strip_prefix('/')?).cloned()
    };
    let mut bytes = state.repositories.iter().find_map(file).unwrap();
    if state.fault.corrupt {
        bytes[10] ^= 1;
    }
    let total = bytes.len();
    let (status, start) = match request.range {
        Some(start) if !state.fault.no_ranges => (206, start as usize),
        _ => (200, 0),
    };
    let range = format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1);
    let mut response = response(status, if status == 206 { &range } else { "" }, &bytes[start..]);
    if let Some(cut) = state.fault.cut {
        let head = response.len() - (total - start);
        response.truncate(head + cut);
    }
    response
}
