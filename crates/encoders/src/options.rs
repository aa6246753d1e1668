//! Options of models.

use std::sync::Arc;

use sail_core::{Adapter, Dtype, ImagePooling, Quantization, TextPooling};

use crate::preprocess::ImageProcessorConfig;
use crate::text::PromptChoice;

/// Options of a vision model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VisionOptions {
    /// The dtype of the computation.
    pub dtype: Dtype,
    /// The pooling. `None` is [`ImagePooling::Concat`], the default of SAIL, if the model has a class token and patches after
    /// its final norm; [`ImagePooling::Class`] for CLIP, whose patches have no norm; else [`ImagePooling::Pooled`]. For
    /// [`ImagePooling::Tokens`], a blank image is encoded to learn their layout.
    pub pooling: Option<ImagePooling>,
    /// The preprocessing; `None` is that of the model.
    pub processor: Option<ImageProcessorConfig>,
    /// Side of the square input images; `None` is that of the preprocessing.
    pub image_size: Option<usize>,
    /// Bytes of memory for weights and states. `None` is no limit. The blocks of a transformer that does not fit are read from
    /// the files for every batch, so batches should be large, see
    /// [`preferred_rows`](sail_core::ImageEncoder::preferred_rows).
    pub memory: Option<u64>,
    /// The form of the weights of the transformer blocks. `None` is that of the computation. With [`Quantization::Int8`] they
    /// take little more than a quarter of the memory of `f32` and are converted block by block for every pass, so batches
    /// should be large as well. Embeddings have a cosine above 0.999 to those without it, and are other features by their
    /// provenance.
    pub quantization: Option<Quantization>,
    /// Adapters that are merged into the weights of the blocks, of a transformer only.
    pub adapter: Option<Arc<Adapter>>,
}

/// Options of a text model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextOptions {
    /// The dtype of the computation.
    pub dtype: Dtype,
    /// The pooling. `None` is the pooling of the model's sentence embedding, as defined by the pooling module in
    /// `modules.json`, else the model's own (CLIP, SigLIP), else the mean. The modules after the pooling are applied to any
    /// pooling.
    pub pooling: Option<TextPooling>,
    /// The prompt before every text.
    pub prompt: PromptChoice,
    /// Whether to skip the modules after the pooling (`Dense`, `LayerNorm`, `Normalize`), as version 0.1 did.
    pub skip_modules: bool,
    /// Bytes of memory for weights and states. `None` is no limit. The blocks of a transformer that does not fit are read from
    /// the files for every batch, so batches should be large, see
    /// [`preferred_rows`](sail_core::TextEncoder::preferred_rows).
    pub memory: Option<u64>,
    /// As [`VisionOptions::quantization`].
    pub quantization: Option<Quantization>,
    /// The number of dimensions to keep, for models whose first dimensions are embeddings of their own (Matryoshka, arXiv
    /// 2205.13147); `None` is that of the model, which mostly keeps all. Embeddings that the model normalizes are normalized
    /// again.
    pub truncate_dim: Option<usize>,
    /// As [`VisionOptions::adapter`].
    pub adapter: Option<Arc<Adapter>>,
}
