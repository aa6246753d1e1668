//! Text backbones: tiny models against the reference libraries, and invalid input.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod decoders;
mod open_clip;
mod parity;
mod sentence;
mod spellings;

use std::path::Path;

use burn::tensor::Device;
use sail_core::{Dtype, TextTower};
use sail_encoders::{ModelError, ModelFolder, TextOptions, load_text};

/// Opens the tower of a folder with its default pooling.
fn open_text_tower(folder: &Path, dtype: Dtype, device: &Device) -> Result<TextTower, ModelError> {
    load_text(&ModelFolder::open(folder)?, &TextOptions { dtype, ..TextOptions::default() }, device)
}
