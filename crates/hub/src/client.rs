//! Requests to the hub.

use sail_fetch::{Backoff, ClientOptions, FetchError, Response, RetryPolicy, Stop};
use sail_support::stand_in;
use serde_json::Value;

use crate::cache::{RemoteFile, is_hash};
use crate::{HubError, HubOptions, RepoKind, StopFn};

/// Maximum size of a listing in bytes, about 200,000 files.
const MAX_LISTING: u64 = 64 << 20;

/// A client for a repository on the hub.
pub(super) struct Client<'a> {
    client: sail_fetch::Client,
    kind: RepoKind,
    pub(super) id: &'a str,
    pub(super) options: &'a HubOptions,
}

impl<'a> Client<'a> {
    pub(super) fn new(kind: RepoKind, id: &'a str, options: &'a HubOptions) -> Result<Self, HubError> {
        // The endpoint is the user's choice, and mirrors are often in private networks.
        let connection = ClientOptions { private_addresses: true, ..ClientOptions::default() };
        Ok(Self { client: sail_fetch::Client::new(&connection), kind, id, options })
    }

    /// Requests the commit of a revision and its files.
    pub(super) fn list(&self, revision: &str) -> Result<(String, Vec<RemoteFile>), HubError> {
        let Self { id, options, kind, .. } = self;
        let revision_path = revision.replace('/', "%2F");
        let url = format!("{}/api/{kind}s/{id}/revision/{revision_path}?blobs=true", options.endpoint);
        let stop = stop(options.stop.as_ref());
        let mut backoff = self.backoff(&stop);
        let text = loop {
            let mut response = self.request(&url, 0, revision, &stop, &mut backoff)?;
            match response.read(MAX_LISTING) {
                Ok(text) => break text,
                Err(FetchError::TooLarge { max }) => {
                    return Err(HubError::ListingTooLarge { kind: *kind, id: (*id).to_owned(), max });
                }
                Err(failure) => backoff.wait(failure).map_err(|error| failed(&url, error))?,
            }
        };
        if let Some(found) = stand_in(&text) {
            return Err(HubError::StandIn { url, found });
        }
        parse_listing(&text).map_err(|reason| HubError::Response { url, reason })
    }

    /// Returns the address of a file.
    pub(super) fn address(&self, commit: &str, name: &str) -> String {
        format!("{}/resolve/{commit}/{}", self.page(), encode(name))
    }

    /// Returns the address of the repository's page.
    fn page(&self) -> String {
        let folder = match self.kind {
            RepoKind::Model => "",
            RepoKind::Dataset => "datasets/",
        };
        format!("{}/{folder}{}", self.options.endpoint, self.id)
    }

    pub(super) fn backoff<'s>(&self, stop: &'s Stop) -> Backoff<'s> {
        let HubOptions { attempts, retry_delay: delay, .. } = *self.options;
        Backoff::new(RetryPolicy { attempts, delay, ..RetryPolicy::default() }, stop)
    }

    /// Requests an address, starting at an offset, until it is answered with success.
    pub(super) fn request(
        &self,
        url: &str,
        start: u64,
        revision: &str,
        stop: &Stop,
        backoff: &mut Backoff<'_>,
    ) -> Result<Response, HubError> {
        let token = self.options.token.as_ref().map(|token| format!("Bearer {token}"));
        let range = format!("bytes={start}-");
        let token = token.as_deref().map(|token| ("Authorization", token));
        let range = (start > 0).then_some(("Range", range.as_str()));
        let headers: Vec<(&str, &str)> = token.into_iter().chain(range).collect();
        loop {
            match self.client.get(url, &headers, stop) {
                Ok(response) if matches!(response.status(), 200 | 206) => return Ok(response),
                Ok(response) => backoff.wait(response.status_error()).map_err(|error| match error {
                    FetchError::Status { .. } => self.error(url, revision, &response),
                    error => failed(url, error),
                })?,
                Err(failure) => backoff.wait(failure).map_err(|error| failed(url, error))?,
            }
        }
    }

    /// Returns the error for an unsuccessful response.
    fn error(&self, url: &str, revision: &str, response: &Response) -> HubError {
        let (kind, id, endpoint) = (self.kind, self.id.to_owned(), self.options.endpoint.clone());
        let token = self.options.token.is_some();
        match (response.status(), response.header("x-error-code")) {
            (_, "GatedRepo") | (403, _) => HubError::Forbidden { id, page: self.page(), token },
            (_, "RevisionNotFound") => HubError::Revision { kind, id, revision: revision.to_owned() },
            // Without a token, the hub responds with 401 to both missing and private repositories.
            (_, "RepoNotFound") | (401 | 404, "") => HubError::Unknown { kind, id, endpoint, token },
            (status, code) => {
                let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
                let wait = response.status_error().retry_after();
                let wait =
                    wait.map_or_else(String::new, |wait| format!(", asking to wait {} s", wait.as_secs()));
                HubError::Response { url: url.to_owned(), reason: format!("status {status}{code}{wait}") }
            }
        }
    }
}

pub(super) fn stop(stop: Option<&StopFn>) -> Stop {
    stop.cloned().map_or_else(Stop::default, |stop| Stop::new(move || stop()))
}

/// Returns the error for a failed request.
pub(super) fn failed(url: &str, error: FetchError) -> HubError {
    let url = url.to_owned();
    match error {
        FetchError::Stopped => HubError::Stopped { url },
        FetchError::Network(source) => HubError::Network { url, source },
        error => HubError::Network { url, source: std::io::Error::other(error) },
    }
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
