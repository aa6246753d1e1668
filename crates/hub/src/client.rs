//! Requests to the hub.
//!
//! `hf-hub` provides the connection: token, proxy, redirects to other hosts without the token. Its download is not used: it
//! renames a file before verifying it, trusts the name in a response header, and ignores the status when it resumes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use sail_support::hex;

use crate::cache::{RemoteFile, is_hash, write_error};
use crate::{FileProgress, HubError, HubOptions, RepoKind};

/// Maximum size of a listing in bytes.
const MAX_LISTING: u64 = 32 << 20;
/// Maximum number of consecutive attempts without progress.
const ATTEMPTS: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time without data from the server.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client for a repository on the hub.
pub(super) struct Client<'a> {
    api: Api,
    kind: RepoKind,
    id: &'a str,
    options: &'a HubOptions,
}

/// A response of a server.
struct Response {
    status: u16,
    /// The error code of the hub.
    error: String,
    /// Offset of the body in the file.
    start: u64,
    body: Box<dyn Read>,
}

impl<'a> Client<'a> {
    pub(super) fn new(kind: RepoKind, id: &'a str, options: &'a HubOptions) -> Result<Self, HubError> {
        let api = ApiBuilder::from_cache(Cache::new(options.cache.clone()))
            .with_endpoint(options.endpoint.clone())
            .with_token(options.token.clone())
            .with_user_agent("sail", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| network(&options.endpoint, std::io::Error::other(error)))?;
        Ok(Self { api, kind, id, options })
    }

    /// Requests the commit of a revision and its files.
    pub(super) fn list(&self, revision: &str) -> Result<(String, Vec<RemoteFile>), HubError> {
        let Self { id, options, kind, .. } = self;
        let revision_path = revision.replace('/', "%2F");
        let url = format!("{}/api/{kind}s/{id}/revision/{revision_path}?blobs=true", options.endpoint);
        let response = self.get(&url, 0)?;
        if response.status != 200 {
            return Err(self.error(&url, revision, &response));
        }
        let mut text = Vec::new();
        response.body.take(MAX_LISTING).read_to_end(&mut text).map_err(|source| network(&url, source))?;
        parse_listing(&text).map_err(|reason| HubError::Response { url, reason })
    }

    /// Downloads a file to `partial`, resuming an earlier attempt, and verifies it.
    pub(super) fn download(&self, commit: &str, file: &RemoteFile, partial: &Path) -> Result<(), HubError> {
        let _span =
            tracing::info_span!("download", repo = self.id, file = file.name, bytes = file.size).entered();
        let url = format!("{}/resolve/{commit}/{}", self.page(), encode(&file.name));
        let io = |source| write_error(partial, source);
        let mut out = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(partial)
            .map_err(io)?;
        let mut received = out.seek(SeekFrom::End(0)).map_err(io)?;
        let mut failures = 0;
        while received != file.size {
            let before = received;
            let result = self.receive(&url, commit, file, partial, &mut out, &mut received);
            if let Err(error) = result {
                failures = if received > before { 0 } else { failures + 1 };
                let is_network = matches!(error, HubError::Network { .. });
                if !is_network || failures == ATTEMPTS {
                    return Err(error);
                }
            }
        }
        out.sync_all().map_err(io)?;
        let found = hash(&mut out, file).map_err(io)?;
        if found != file.hash {
            drop(out);
            std::fs::remove_file(partial).map_err(io)?;
            return Err(HubError::Checksum { url, found, expected: file.hash.clone() });
        }
        self.report(file, received);
        Ok(())
    }

    /// Appends the body of one request to a file.
    fn receive(
        &self,
        url: &str,
        commit: &str,
        file: &RemoteFile,
        partial: &Path,
        out: &mut File,
        received: &mut u64,
    ) -> Result<(), HubError> {
        let io = |source| write_error(partial, source);
        if *received > file.size {
            *received = 0;
        }
        let mut response = self.get(url, *received)?;
        match response.status {
            // A server without support for ranges sends the whole file.
            200 => *received = 0,
            206 if response.start == *received => {}
            _ => return Err(self.error(url, commit, &response)),
        }
        if out.metadata().map_err(io)?.len() != *received {
            out.set_len(*received).map_err(io)?;
        }
        out.seek(SeekFrom::Start(*received)).map_err(io)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = response.body.read(&mut buffer).map_err(|source| network(url, source))?;
            if read == 0 {
                break;
            }
            if read as u64 > file.size - *received {
                let reason = format!("more than the {} bytes listed", file.size);
                return Err(HubError::Response { url: url.to_owned(), reason });
            }
            out.write_all(buffer.get(..read).unwrap_or_default()).map_err(io)?;
            *received += read as u64;
            self.report(file, *received);
        }
        if *received == file.size {
            Ok(())
        } else {
            Err(network(url, std::io::ErrorKind::UnexpectedEof.into()))
        }
    }

    fn report(&self, file: &RemoteFile, received: u64) {
        if let Some(progress) = &self.options.progress {
            progress(FileProgress { file: &file.name, received, total: file.size });
        }
    }

    /// Returns the address of the repository's page.
    fn page(&self) -> String {
        let folder = match self.kind {
            RepoKind::Model => "",
            RepoKind::Dataset => "datasets/",
        };
        format!("{}/{folder}{}", self.options.endpoint, self.id)
    }

    /// Requests an address, starting at an offset.
    fn get(&self, url: &str, start: u64) -> Result<Response, HubError> {
        let mut request =
            self.api.repo(Repo::new(self.id.to_owned(), self.kind.into())).info_request().uri(url);
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        let request = request
            .config()
            .http_status_as_error(false)
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build();
        let response = request.call().map_err(|error| network(url, error.into_io()))?;
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // `bytes 100-199/200`
        let start = header("content-range").strip_prefix("bytes ").and_then(|range| range.split_once('-'));
        Ok(Response {
            status: response.status().as_u16(),
            error: header("x-error-code").to_owned(),
            start: start.and_then(|(start, _)| start.parse().ok()).unwrap_or(0),
            body: Box::new(response.into_body().into_reader()),
        })
    }

    /// Returns the error for an unsuccessful response.
    fn error(&self, url: &str, revision: &str, response: &Response) -> HubError {
        let (kind, id, endpoint) = (self.kind, self.id.to_owned(), self.options.endpoint.clone());
        match (response.status, response.error.as_str()) {
            (_, "GatedRepo") | (403, _) => HubError::Forbidden { id, page: self.page() },
            (_, "RevisionNotFound") => HubError::Revision { kind, id, revision: revision.to_owned() },
            // Without a token, the hub responds with 401 to both missing and private repositories.
            (_, "RepoNotFound") | (401 | 404, "") => HubError::Unknown { kind, id, endpoint },
            (status, "") => HubError::Response { url: url.to_owned(), reason: format!("status {status}") },
            (status, error) => {
                HubError::Response { url: url.to_owned(), reason: format!("status {status} ({error})") }
            }
        }
    }
}

fn network(url: &str, source: std::io::Error) -> HubError {
    HubError::Network { url: url.to_owned(), source }
}

/// Percent-encodes a file name for an address.
fn encode(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

/// Parses the hub's description of a revision. Size and hash of every file are required to verify it.
fn parse_listing(text: &[u8]) -> Result<(String, Vec<RemoteFile>), String> {
    let json: Value = serde_json::from_slice(text).map_err(|error| format!("invalid listing: {error}"))?;
    let commit = json["sha"].as_str().filter(|sha| is_hash(sha, 40)).ok_or("no commit")?;
    let files = json["siblings"].as_array().ok_or("no files")?;
    let file = |json: &Value| {
        let large = &json["lfs"];
        let (hash, digits, size) = if large.is_object() {
            (&large["sha256"], 64, &large["size"])
        } else {
            (&json["blobId"], 40, &json["size"])
        };
        let name = json["rfilename"].as_str().ok_or("a file without a name")?.to_owned();
        let hash = hash.as_str().filter(|hash| is_hash(hash, digits));
        match (size.as_u64(), hash) {
            (Some(size), Some(hash)) => Ok(RemoteFile { name, size, hash: hash.to_owned() }),
            _ => Err(format!("no size or no checksum of `{name}`")),
        }
    };
    Ok((commit.to_owned(), files.iter().map(file).collect::<Result<_, String>>()?))
}

/// Computes the hash of a file, of the kind in its listing.
fn hash(content: &mut File, file: &RemoteFile) -> std::io::Result<String> {
    content.seek(SeekFrom::Start(0))?;
    let mut sha256 = Sha256::new();
    let mut sha1 = Sha1::new();
    let is_git = file.hash.len() == 40;
    if is_git {
        sha1.update(format!("blob {}\0", file.size));
    }
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = content.read(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        match (read, is_git) {
            (0, true) => return Ok(hex(&sha1.finalize())),
            (0, false) => return Ok(hex(&sha256.finalize())),
            (_, true) => sha1.update(bytes),
            (_, false) => sha256.update(bytes),
        }
    }
}
