//! Vision backbones, on tiny models that the reference libraries made.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod dense;
mod fixtures;
mod parity;
