//! Vision backbones: tiny models against the reference libraries.
#![allow(clippy::unwrap_used, clippy::panic)]

mod adapt;
mod bad_input;
mod dense;
mod fixtures;
mod names;
mod parity;
