//! HTTP downloads with retries, limits and prompt interruption.
//!
//! A [`Client`] sends a request from a thread of its own, so that a [`Stop`] is obeyed within a fraction of a second even
//! while a server is silent. [`Backoff`] waits between attempts as servers ask for. [`UrlFetcher`] combines both for the many
//! small files of a list of URLs, with a limit on their size and a cache.
//!
//! Requests to private addresses are refused unless [`ClientOptions::private_addresses`] allows them.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod backoff;
mod client;
mod error;
mod stop;
mod url_fetcher;

pub use backoff::{Backoff, RetryPolicy};
pub use client::{Client, ClientOptions, Response};
pub use error::FetchError;
pub use stop::Stop;
pub use url_fetcher::UrlFetcher;
