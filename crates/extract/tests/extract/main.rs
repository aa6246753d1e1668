//! End-to-end tests of extraction with small towers and sources.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fakes;
mod layers;
mod parts;
mod refusals;
mod resume;
mod rows;
mod tokens;
mod urls;
