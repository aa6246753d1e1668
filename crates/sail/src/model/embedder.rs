//! Models as embedders of an index.

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, InputError, Pixels, RgbImage, Side};
use sail_search::{EmbedError, Embedder, Encoders, IndexModel, ModelIdentity};
use sail_support::hex;
use sha2::{Digest, Sha256};

use super::encode::{align_pixels, unit};
use super::{SailError, SailModel};

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
        let batches = images.chunks(self.batch).map(|images| align_pixels(&self.vision, &self.head, images));
        let embeddings = batches.collect::<Result<Vec<_>, _>>();
        rows(embeddings.and_then(|embeddings| unit(Side::Image, Tensor::cat(embeddings, 0))))
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        rows(self.encode_texts(texts))
    }
}

fn rows(embeddings: Result<Tensor<2>, SailError>) -> Result<Vec<Vec<f32>>, EmbedError> {
    let embeddings = embeddings.map_err(EmbedError::new)?;
    let dim = embeddings.dims()[1];
    let values = embeddings.try_into_vec_as::<f32>().map_err(EmbedError::new)?;
    Ok(values.chunks(dim).map(<[f32]>::to_vec).collect())
}

impl<H: AlignmentHead + Sync> SailModel<H> {
    /// Returns this model as that of an [index](sail_search::update). Set [`encoders`](IndexModel::encoders) if they are not where
    /// the head says.
    ///
    /// # Errors
    /// [`SailError::Head`] if the head cannot be serialized.
    pub fn index_model(&self) -> Result<IndexModel<'_>, SailError> {
        let value = |parameter: Tensor<1>| parameter.into_data().iter::<f32>().next().unwrap_or_default();
        let (log_scale, bias) = (value(self.head.log_scale()), value(self.head.bias()));
        Ok(IndexModel {
            embedder: self,
            head: self.head.to_bytes()?,
            encoders: Encoders::default(),
            log_scale,
            bias,
        })
    }
}
