//! Low-rank adaptation of the last blocks of an encoder (LoRA, arXiv 2106.09685).

mod adapter;
mod blocks;
mod config;
mod layer;

pub use adapter::{AdaptedLayer, Adapter, AdapterConfig, AdapterWeights};
pub use blocks::{LowRank, TokenBlocks};
pub use config::LoraConfig;
pub use layer::LoraLayer;
