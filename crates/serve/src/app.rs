//! What the routes share.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::options::RouterOptions;
use crate::service::Service;

/// What the routes share.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) service: Arc<Service>,
    pub(crate) options: RouterOptions,
    /// One permit for each byte of the bodies under way.
    pub(crate) bodies: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(service: Arc<Service>, options: RouterOptions, bodies: Arc<Semaphore>) -> Self {
        Self(Arc::new(Shared { service, options, bodies }))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
