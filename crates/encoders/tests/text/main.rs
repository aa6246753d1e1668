//! Text models: tiny ones against the reference libraries, and bad input.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod parity;

use std::path::Path;

use burn::tensor::{Device, FloatDType};
use sail_core::TextTower;
use sail_encoders::{ModelError, ModelFolder, TextOptions, load_text};

/// The tower of a folder, with its own pooling.
fn open_text_tower(folder: &Path, precision: FloatDType, device: &Device) -> Result<TextTower, ModelError> {
    load_text(&ModelFolder::open(folder)?, &TextOptions { precision, pooling: None }, device)
}
