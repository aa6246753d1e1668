//! The forward passes: one for vision transformers, one for text transformers.

mod layers;
pub(crate) mod micro_batch;
pub(crate) mod text;
pub(crate) mod vision;
