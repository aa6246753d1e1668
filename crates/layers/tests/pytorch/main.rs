//! Layers against PyTorch: files with its weights, the outputs, and the gradients.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;
mod residual_mlp;
mod tokens;
