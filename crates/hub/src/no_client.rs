//! Stub of the client for builds without the feature `download`.

use std::marker::PhantomData;
use std::path::Path;

use crate::cache::RemoteFile;
use crate::{HubError, HubOptions, RepoKind, StopFn};

/// A client that cannot be created.
pub(super) struct Client<'a> {
    never: std::convert::Infallible,
    _lifetime: PhantomData<&'a ()>,
}

impl<'a> Client<'a> {
    pub(super) fn new(_: RepoKind, id: &'a str, _: &'a HubOptions) -> Result<Self, HubError> {
        Err(HubError::Disabled(id.to_owned()))
    }

    pub(super) fn list(&self, _: &str) -> Result<(String, Vec<RemoteFile>), HubError> {
        match self.never {}
    }

    pub(super) fn download(
        &self,
        _: &str,
        _: &RemoteFile,
        _: &Path,
        _: Option<&StopFn>,
    ) -> Result<(), HubError> {
        match self.never {}
    }
}
