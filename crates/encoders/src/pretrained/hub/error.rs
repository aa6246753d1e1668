//! Why a model or a data set cannot be had from the hub.

use std::path::PathBuf;

use super::RepoKind;

/// An id that does not lead to a model or a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A string that cannot be an id or a revision.
    #[error(
        "`{0}` is neither a folder nor an id of the hub, such as `facebook/dinov2-base` or `org/name@revision`"
    )]
    Id(String),
    /// An id, in a build that cannot reach the hub.
    #[error("`{0}` is not here, and this build cannot reach the hub: enable the feature `hub`")]
    Disabled(String),
    /// Nothing says where the cache is.
    #[error(
        "neither HF_HUB_CACHE nor HF_HOME nor a home folder says where to keep what is fetched: set HF_HOME"
    )]
    NoCache,
    /// The hub does not know the id, or hides it.
    #[error("{endpoint} has no {kind} `{id}`, or it is private: check the spelling, or set HF_TOKEN")]
    Unknown {
        /// What was looked for.
        kind: RepoKind,
        /// The id.
        id: String,
        /// The hub.
        endpoint: String,
    },
    /// The hub knows the id but not the branch, tag or commit.
    #[error("the {kind} `{id}` has no revision `{revision}`")]
    Revision {
        /// What was looked for.
        kind: RepoKind,
        /// The id.
        id: String,
        /// The branch, tag or commit that was asked for.
        revision: String,
    },
    /// The conditions have not been accepted, or the token does not reach it.
    #[error("`{id}` may not be downloaded with this token: accept its conditions at {page} and set HF_TOKEN")]
    Forbidden {
        /// The id.
        id: String,
        /// Where its conditions are.
        page: String,
    },
    /// Working offline, and the cache does not have all of it.
    #[error("`{id}` is not complete in the cache {cache}, and HF_HUB_OFFLINE forbids to fetch it")]
    Offline {
        /// The id.
        id: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// No connection, or one that broke off. What has arrived is kept: the next attempt goes on from there.
    #[error("cannot fetch {url}: check the network, or set HF_HUB_OFFLINE=1 to use the cache alone")]
    Network {
        /// What was asked for.
        url: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The hub answers, but not with what was asked for.
    #[error("{url} answered with {answer}: try again later")]
    Answer {
        /// What was asked for.
        url: String,
        /// The status, or what is wrong with the answer.
        answer: String,
    },
    /// A file that is not the one the hub announced. It has been deleted.
    #[error("{url} arrived damaged: its checksum is {found}, expected {expected}; fetch it again")]
    Checksum {
        /// The file.
        url: String,
        /// The checksum of what arrived.
        found: String,
        /// The checksum that the hub states.
        expected: String,
    },
    /// A data set without any file that is wanted.
    #[error("the data set `{id}` has none of the files that were looked for: {wanted}")]
    NoFiles {
        /// The id.
        id: String,
        /// What was looked for.
        wanted: String,
    },
    /// A file whose name would lead out of the cache, or cannot be a file's everywhere.
    #[error("the data set `{id}` has a file `{name}`, expected a plain relative path")]
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
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk is full. What has arrived is kept: the next attempt goes on from there.
    #[error("no space left for {path}: free some, or set HF_HUB_CACHE to another disk")]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
}
