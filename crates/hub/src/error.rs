//! Errors of the hub.

use std::path::PathBuf;

use sail_support::StandIn;

use crate::RepoKind;

/// An error of a model or a data set that cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither a path nor a valid id.
    #[error(
        "`{0}` is neither a folder nor an id on the hub, such as `facebook/dinov2-base` or `org/name@revision`"
    )]
    Id(String),
    /// The cache is incomplete, and this build cannot download.
    #[error("`{0}` is not complete in the cache, and this build cannot download: enable the feature `hub`")]
    Disabled(String),
    /// The location of the cache is unknown.
    #[error("unknown cache folder: there is neither HF_HUB_CACHE nor HF_HOME nor a home folder; set HF_HOME")]
    NoCache,
    /// The repository does not exist or is private.
    #[error(
        "{endpoint} has no {kind} `{id}`, or it is private: check the spelling, {}",
        if *token { "and whether the token in use is valid and may read it" } else { "or set HF_TOKEN" }
    )]
    Unknown {
        /// The kind of repository.
        kind: RepoKind,
        /// The id.
        id: String,
        /// Address of the hub.
        endpoint: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("the {kind} `{id}` has no revision `{revision}`")]
    Revision {
        /// The kind of repository.
        kind: RepoKind,
        /// The id.
        id: String,
        /// The branch, tag or commit.
        revision: String,
    },
    /// Access is denied: the conditions have not been accepted, or the token lacks permission.
    #[error(
        "access to `{id}` is denied: accept its conditions at {page}, {}",
        if *token {
            "signed in as the owner of the token in use, and allow the token to read gated repositories"
        } else {
            "create a token in the settings of your account, and set HF_TOKEN or run `hf auth login`"
        }
    )]
    Forbidden {
        /// The id.
        id: String,
        /// Address of its page.
        page: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The cache is incomplete, and downloads are disabled.
    #[error("`{id}` is not complete in the cache {cache}, and HF_HUB_OFFLINE disables downloads")]
    Offline {
        /// The id.
        id: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// The connection failed or was interrupted. The next attempt resumes the download.
    #[error("cannot fetch {url}: check the network, or set HF_HUB_OFFLINE=1 to use the cache alone")]
    Network {
        /// The address.
        url: String,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// The hub returned an unexpected response.
    #[error("unexpected response from {url}: {reason}; try again later")]
    Response {
        /// The address.
        url: String,
        /// The status, or what is invalid.
        reason: String,
    },
    /// The list of files is larger than a client should accept.
    #[error(
        "the list of files of the {kind} `{id}` has more than {max} bytes: download the files that are needed with `hf \
         download`, and pass their folder"
    )]
    ListingTooLarge {
        /// The kind of repository.
        kind: RepoKind,
        /// The id.
        id: String,
        /// The limit in bytes.
        max: u64,
    },
    /// Something else was sent in the place of a file, such as the login page of a network.
    #[error("{url} sent {found}")]
    StandIn {
        /// The address.
        url: String,
        /// What was sent.
        found: StandIn,
    },
    /// The download was asked to stop. The next attempt resumes it.
    #[error("stopped before {url} was complete; run it again to resume")]
    Stopped {
        /// The address.
        url: String,
    },
    /// A downloaded file does not have the listed checksum. It has been deleted.
    #[error("corrupt download of {url}: the checksum is {found}, expected {expected}; fetch it again")]
    Checksum {
        /// The address.
        url: String,
        /// The checksum of the download.
        found: String,
        /// The checksum in the listing.
        expected: String,
    },
    /// The repository has none of the requested files.
    #[error("`{id}` has none of the files: {wanted}")]
    NoFiles {
        /// The id.
        id: String,
        /// The requested files.
        wanted: String,
    },
    /// A file name could lead out of the cache, or is invalid on some operating systems.
    #[error("`{id}` has a file `{name}`, expected a plain relative path")]
    FileName {
        /// The id.
        id: String,
        /// The name.
        name: String,
    },
    /// The cache cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// The disk is full. The next attempt resumes the download.
    #[error("no space left for {path}: free some, or set HF_HUB_CACHE to another disk")]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
}
