//! Frozen backbones of the SAIL workspace, one folder a family.
//!
//! The contracts stand in [`sail_core`]: [`ImageEncoder`], [`TextEncoder`], and pooling as a choice of its own.
//! No family has landed yet; until then features come from any program that writes a `.safetensors` file.

pub use sail_core::{ImageEncoder, ImagePooling, TextEncoder, TextPooling};
