//! Frozen backbones of the SAIL workspace, with their preprocessing and pretrained weights.
//!
//! A published checkpoint becomes a tower, raw input in and rows out, in two steps: a [`ModelSpec`] or a
//! [`ModelFolder`] finds its files, [`load_vision`] or [`load_text`] builds it. The `model_type` of `config.json`
//! chooses the family:
//!
//! | `model_type` | models | gives |
//! |---|---|---|
//! | `dinov2`, `dinov2_with_registers` | DINOv2 small to giant | class token, patch tokens |
//! | `vit` | ViT, DINO | class token, patch tokens, pooled where the weights have a pooler |
//! | `efficientnet_lite` | EfficientNet-Lite 0 to 4 | patch tokens, pooled |
//! | `bert`, `distilbert`, `roberta`, `xlm-roberta`, `camembert`, `mpnet` | MiniLM, BGE, E5, MPNet and their like | token states, the sentence embedding |
//!
//! Everything here is inference: nothing is trained, dropout does not exist. A backbone of your own needs none of
//! it, only [`ImageEncoder`] or [`TextEncoder`].
#![cfg_attr(docsrs, feature(doc_cfg))]

mod gelu;
mod preprocess;
mod pretrained;
mod text;
mod vision;

pub use preprocess::{ImageProcessor, ImageProcessorConfig, Normalize, Resample, Resize};
#[cfg(feature = "hub")]
pub use pretrained::fetch;
pub use pretrained::{
    FileProgress, HubError, HubOptions, ModelError, ModelFolder, ModelSpec, ProgressFn, RepoKind,
    TextOptions, VisionOptions, load_text, load_vision, open_dataset,
};
pub use sail_core::{ImageEncoder, ImagePooling, TextEncoder, TextPooling};
pub use text::PretrainedTokenizer;
pub use vision::load_image_encoder;
