//! The service over real connections, with a small model and a small index.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod description;
mod http;
mod images;
mod limits;
mod mean_color;
mod server;
