//! Frozen backbones with their preprocessing, from published checkpoints.
//!
//! A checkpoint becomes a tower in two steps: [`ModelSpec::open`] or [`ModelFolder::open`] finds its files, and
//! [`load_vision`] or [`load_text`] loads it. The `model_type` of `config.json` selects the family:
//!
//! | `model_type` | models | outputs |
//! |---|---|---|
//! | `dinov2`, `dinov2_with_registers` | DINOv2 small to giant | class token, patch tokens |
//! | `vit` | ViT, DINO | class token, patch tokens, pooled if the weights have a pooler |
//! | `efficientnet_lite` | EfficientNet-Lite 0 to 4 | patch tokens, pooled |
//! | `bert`, `distilbert`, `roberta`, `xlm-roberta`, `camembert`, `mpnet` | MiniLM, BGE, E5, MPNet and others | token states, sentence embedding |
//!
//! All backbones are for inference only. A custom backbone just implements [`ImageEncoder`] or [`TextEncoder`].
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activation;
mod attention;
mod config;
mod load;
mod preprocess;
mod pretrained;
mod text;
mod vision;

pub use load::{TextOptions, VisionOptions, load_text, load_vision};
pub use preprocess::{ImageProcessor, ImageProcessorConfig, Normalize, Resample, Resize};
pub use pretrained::{ModelError, ModelFolder, ModelSpec, TensorProblems};
pub use sail_core::{ImageEncoder, ImagePooling, TextEncoder, TextPooling};
pub use text::{PretrainedTokenizer, PromptChoice};
pub use vision::load_image_encoder;
