//! An image search service: a page, a JSON API, and the OpenAI embeddings API, on [axum](https://docs.rs/axum).
//!
//! A [`Service`] is a model and the index that it made. [`router`] gives it routes, to be nested in an axum program of your own
//! or served by [`serve`], which limits connections and stops gracefully. The command `sail serve` is little more than these
//! calls.
//!
//! # Examples
//! ```no_run
//! use std::sync::Arc;
//! use sail_search::Embedder;
//! use sail_serve::{ConnectionOptions, RouterOptions, ServeError, Service, ServiceOptions, router, serve};
//!
//! async fn run(model: Arc<dyn Embedder>) -> Result<(), ServeError> {
//!     let service = Arc::new(Service::new("photos.index", model, ServiceOptions::default())?);
//!     let hosts = RouterOptions::LOOPBACK.map(str::to_owned).to_vec();
//!     let router = router(service, RouterOptions { hosts: Some(hosts), ..RouterOptions::default() })?;
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await.map_err(ServeError::Listen)?;
//!     let never = std::future::pending();
//!     serve(listener, router, ConnectionOptions::default(), never).await
//! }
//! ```
//!
//! # Limits
//! A request that waits takes memory, so everything that waits is bounded: connections, the bytes of all request bodies, images
//! that are decoded at a time, inputs that wait for the model, and queries that wait for the search. What does not fit is refused
//! with status 503 and `Retry-After`. Clients that send or accept too slowly are cut off.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod app;
mod batch;
mod body;
mod connection;
mod error;
mod found;
mod guard;
mod metrics;
mod model;
mod options;
mod query;
mod routes;
mod service;
mod snapshot;

pub use connection::serve;
pub use error::{RequestError, ServeError};
pub use found::{Found, Labeled};
pub use options::{ConnectionOptions, RouterOptions, ServiceOptions};
pub use query::{Item, Term};
pub use routes::router;
pub use service::Service;
