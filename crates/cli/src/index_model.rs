//! The model of an index, of which only what is needed is loaded.

use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{Provenance, RgbImage};
use sail_vl::search::{Index, IndexError};
use sail_vl::{BackboneOptions, LazyModel, SailError};

use crate::error::CliError;
use crate::head_spec::hub_options;

/// The model of an index. A tower is loaded when it is first used, and must be that of the index.
pub(crate) struct IndexTowers<'a> {
    index: &'a Index,
    model: LazyModel,
}

impl<'a> IndexTowers<'a> {
    /// Opens the head. The towers are where the index says unless they are named.
    pub(crate) fn new(
        index: &'a Index,
        [vision, text]: [Option<String>; 2],
        device: &Device,
    ) -> Result<Self, CliError> {
        let options = BackboneOptions { vision, text, ..BackboneOptions::default() };
        let hub = hub_options(&index.path().display().to_string())?;
        let model = LazyModel::for_index(index, &options, hub, device.clone()).map_err(CliError::Open)?;
        Ok(Self { index, model })
    }

    /// Embeds texts at unit length.
    pub(crate) fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, CliError> {
        let tower = self.model.text().map_err(open_error)?;
        self.check("text model", &tower.provenance(), &self.index.manifest().identity.text)?;
        rows(self.model.encode_texts(texts))
    }

    /// Embeds images at unit length.
    pub(crate) fn embed_images(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, CliError> {
        let tower = self.model.vision().map_err(open_error)?;
        self.check("vision model", &tower.provenance(), &self.index.manifest().identity.vision)?;
        rows(self.model.encode_images(images))
    }

    fn check(&self, what: &str, found: &Provenance, expected: &Provenance) -> Result<(), CliError> {
        if found == expected {
            return Ok(());
        }
        let path = self.index.path();
        let source = IndexError::Model {
            path: path.to_owned(),
            what: what.to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        };
        Err(CliError::Index { path: path.into(), source })
    }
}

fn open_error(error: SailError) -> CliError {
    match error {
        SailError::Unrecorded { .. } | SailError::Recorded { .. } => CliError::SearchModel(error),
        error => CliError::Open(error),
    }
}

fn rows(embeddings: Result<Tensor<2>, SailError>) -> Result<Vec<Vec<f32>>, CliError> {
    let embeddings = embeddings.map_err(CliError::Open)?;
    let dim = embeddings.dims()[1];
    let values = embeddings.try_into_vec_as::<f32>().map_err(|error| CliError::Open(error.into()))?;
    Ok(values.chunks(dim).map(<[f32]>::to_vec).collect())
}
