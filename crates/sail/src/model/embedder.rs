//! Models as embedders of an index.

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, InputError, Pixels, RgbImage, Side};
use sail_search::{EmbedError, Embedder, IndexModel, ModelIdentity};
use sail_support::hex;
use sha2::{Digest, Sha256};

use super::{SailError, SailModel, unit};

impl<H: AlignmentHead + Sync> Embedder for SailModel<H> {
    fn identity(&self) -> Result<ModelIdentity, EmbedError> {
        let head = self.head.to_bytes().map_err(EmbedError::new)?;
        let sha256 = hex(&Sha256::digest(&head));
        Ok(ModelIdentity::new(self.vision.provenance(), self.text.provenance(), sha256))
    }

    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        self.vision.preprocessor.preprocess(image)
    }

    fn embed_images(&self, images: &[Pixels]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let batches = images.chunks(self.batch).map(|images| self.align_pixels(images));
        let embeddings = batches.collect::<Result<Vec<_>, _>>();
        rows(embeddings.and_then(|embeddings| unit(Side::Image, Tensor::cat(embeddings, 0))))
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        rows(self.encode_texts(texts))
    }

    fn count_tokens(&self, text: &str) -> Result<Option<usize>, EmbedError> {
        let tokens = self.text.tokenizer.tokenize(text).map_err(EmbedError::new)?;
        Ok(Some(tokens.0.len()))
    }
}

fn rows(embeddings: Result<Tensor<2>, SailError>) -> Result<Vec<Vec<f32>>, EmbedError> {
    let embeddings = embeddings.map_err(EmbedError::new)?;
    let dim = embeddings.dims()[1];
    let values = embeddings.try_into_vec_as::<f32>().map_err(EmbedError::new)?;
    Ok(values.chunks(dim).map(<[f32]>::to_vec).collect())
}

impl<H: AlignmentHead + Sync> SailModel<H> {
    /// Returns this model as that of an [index](sail_search::update).
    ///
    /// # Errors
    /// [`SailError::Head`] if the head cannot be serialized.
    pub fn index_model(&self) -> Result<IndexModel<'_>, SailError> {
        let value = |parameter: Tensor<1>| parameter.into_data().iter::<f32>().next().unwrap_or_default();
        let (log_scale, bias) = (value(self.head.log_scale()), value(self.head.bias()));
        Ok(IndexModel { embedder: self, head: self.head.to_bytes()?, log_scale, bias })
    }
}

impl<H: AlignmentHead> SailModel<H> {
    /// Embeds one batch of preprocessed images, without normalization.
    pub(super) fn align_pixels(&self, images: &[Pixels]) -> Result<Tensor<2>, SailError> {
        // Images may be preprocessed to different sizes, but a batch of the backbone has only one.
        let parts = images.chunk_by(|a, b| a.size == b.size).map(|images| {
            let features =
                self.vision.embed(images).map_err(|source| SailError::Tower { side: Side::Image, source })?;
            Ok(self.align(Side::Image, features)?)
        });
        Ok(Tensor::cat(parts.collect::<Result<Vec<_>, SailError>>()?, 0))
    }
}
