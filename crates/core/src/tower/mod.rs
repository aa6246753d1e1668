//! Towers: a frozen backbone with everything needed to turn raw input into embeddings.

mod error;
mod layer;
mod padding;
mod text;
mod vision;

pub use error::TowerError;
pub use text::TextTower;
pub use vision::VisionTower;
