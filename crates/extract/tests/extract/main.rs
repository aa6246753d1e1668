//! Extraction from end to end, with small towers and sources: what is written, what is skipped, and what survives.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fakes;
mod parts;
mod refusals;
mod resume;
mod rows;
