//! Frozen backbones with their preprocessing, from published checkpoints.
//!
//! A checkpoint becomes a tower in two steps: [`ModelSpec::open`] or [`ModelFolder::open`] finds its files, and
//! [`load_vision`] or [`load_text`] loads it. The `model_type` of `config.json` selects the family. The files of OpenCLIP
//! and timm have none; theirs is `open_clip` or `timm`:
//!
//! | `model_type` | models | outputs |
//! |---|---|---|
//! | `dinov2`, `dinov2_with_registers`, `dinov3_vit` | DINOv2, DINOv3 | class token, patch tokens |
//! | `vit`, `vit_mae` | ViT, DINO, iBOT; MAE | class token, patch tokens, pooled if the weights have a pooler |
//! | `ijepa`, `aimv2`, `aimv2_vision_model` | I-JEPA, AIMv2 | patch tokens, pooled |
//! | `clip`, `clip_vision_model`, `metaclip_2`, `metaclip_2_vision_model` | CLIP, MetaCLIP | class token, patch tokens, pooled if the weights have a projection |
//! | `siglip`, `siglip_vision_model`, `siglip2`, `siglip2_vision_model` | SigLIP, SigLIP 2 | patch tokens, pooled |
//! | `open_clip` | both sides of OpenCLIP, also with towers of timm | class token, patch tokens, pooled; token states, pooled |
//! | `timm` | ViT, DeiT, DINOv2, DINOv3, EVA-02, Perception Encoder, towers of CLIP and SigLIP in timm; ConvNeXt, ResNet | class token, patch tokens, pooled, as far as the model has them |
//! | `perception_encoder` | both sides of Perception Encoder of its authors | class token, patch tokens, pooled; token states, pooled |
//! | `tipsv2`, `tipsv2_vision_model` | TIPSv2 | class token, patch tokens, pooled |
//! | `pixio` | Pixio | mean of the class tokens, patch tokens |
//! | `convnext`, `convnextv2`, `resnet` | ConvNeXt, ResNet, DINO ResNet-50 | patch tokens, pooled |
//! | `dinov3_convnext` | DINOv3 ConvNeXt | class token, patch tokens |
//! | `efficientnet_lite` | EfficientNet-Lite 0 to 4 | patch tokens, pooled |
//! | `bert`, `distilbert`, `roberta`, `xlm-roberta`, `camembert`, `mpnet` | MiniLM, BGE, E5, MPNet and others | token states, sentence embedding |
//! | `new`, `gte` | GTE v1.5, Arctic Embed 2 | token states, sentence embedding |
//! | `modernbert`, `nomic_bert`, `jina_embeddings_v3` | ModernBERT, nomic-embed-text 1 and 1.5, jina-embeddings-v3 | token states, sentence embedding |
//! | `t5` | Sentence-T5, GTR | token states, sentence embedding |
//! | `qwen2`, `qwen3`, `mistral` | GTE-Qwen2, Qwen3-Embedding, E5-Mistral | token states, sentence embedding |
//! | `llama`, `llama_bidirec` | LLM2Vec with merged adapters, Llama-Embed-Nemotron | token states, sentence embedding |
//! | `gemma3_text` | EmbeddingGemma | token states, sentence embedding |
//! | `nvembed` | NV-Embed 2 | states after latent attention, sentence embedding |
//! | `clip`, `clip_text_model`, `metaclip_2`, `metaclip_2_text_model` | the text side of CLIP and MetaCLIP | token states, pooled |
//! | `siglip`, `siglip2`, `siglip_text_model`, `siglip2_text_model` | the text side of SigLIP and SigLIP 2 | token states, pooled |
//! | `tipsv2`, `tipsv2_text_model` | the text side of TIPSv2 | token states |
//!
//! All backbones are for inference only. A custom backbone just implements [`ImageEncoder`] or [`TextEncoder`].
#![cfg_attr(docsrs, feature(doc_cfg))]
// A tensor is a large handle, and there are few enums of layers.
#![allow(clippy::large_enum_variant)]

mod adapt;
mod blocks;
pub mod check;
mod config;
mod convolutional;
mod describe;
mod families;
mod image_encoder;
mod load;
mod options;
mod preprocess;
mod pretrained;
mod random;
mod spec;
mod text;
mod trunk;

pub use adapt::load_vision_blocks;
pub use describe::{
    FamilyInfo, ImageDescription, ModelDescription, TextDescription, describe, families, reference_code,
};
pub use image_encoder::load_image_encoder;
pub use load::{load_text, load_vision};
pub use options::{TextOptions, VisionOptions};
pub use preprocess::{
    Arithmetic, CropRounding, ImageProcessor, ImageProcessorConfig, Normalize, Resample, Resize,
};
pub use pretrained::{ModelError, ModelFolder, ModelSpec, TensorProblems};
pub use random::{random_image_encoder, random_text_encoder};
pub use sail_core::{ImageEncoder, ImagePooling, TextEncoder, TextPooling};
pub use text::{PretrainedTokenizer, PromptChoice};
