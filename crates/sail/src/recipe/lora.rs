//! Adapters of the encoder of a side, trained with the head.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{
    AdapterConfig, Check, ConfigError, FeatureSource, ImagePooling, LoraConfig, Provenance, Side, TokenBlocks,
};
use sail_hub::HubOptions;
use sail_support::resolve;
use serde::{Deserialize, Serialize};

use super::RecipeError;
use crate::model::open_vision_blocks;

/// Trains low-rank adapters of the last blocks of the image encoder with the head (LoRA, arXiv 2106.09685).
///
/// The images of the recipe are then token states: a store that was encoded with the pooling `tokens` and an inner layer, the
/// input of the blocks. The blocks run with the head, and the text side keeps its frozen features.
///
/// # Examples
/// ```
/// use sail_vl::recipe::{LoraRecipe, Recipe};
/// let recipe = Recipe::new("tokens/minus-3", "texts").with_lora_image(LoraRecipe::new("8:2".parse()?));
/// # Ok::<(), sail_vl::core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LoraRecipe {
    /// Rank, blocks and layers.
    pub adapters: LoraConfig,
    /// The model: a folder, or an id on the hub; by default the one that the features record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The pooling of the images; by default that of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<ImagePooling>,
}

impl LoraRecipe {
    /// Creates the recipe of adapters of the model that the features record.
    pub fn new(adapters: LoraConfig) -> Self {
        Self { adapters, model: None, pooling: None }
    }

    /// Sets the model.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<Option<String>>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the pooling.
    #[must_use]
    pub fn with_pooling(mut self, pooling: impl Into<Option<ImagePooling>>) -> Self {
        self.pooling = pooling.into();
        self
    }

    /// Takes the spelling of the same folder.
    pub(super) fn adopt(&mut self, found: &Self) {
        if let (Some(model), Some(found)) = (&mut self.model, &found.model)
            && resolve(Path::new(model.as_str())) == resolve(Path::new(found))
        {
            model.clone_from(found);
        }
    }

    /// Loads the blocks behind stored token states, and chooses the layers to adapt.
    pub(super) fn open(&self, images: &dyn FeatureSource, device: &Device) -> Result<Adapted, RecipeError> {
        let states = images.provenance().ok_or_else(|| ConfigError {
            field: "lora_image".to_owned(),
            found: "set".to_owned(),
            expected: "images in a store, which records the layer and the layout of its token states"
                .to_owned(),
        })?;
        let hub = HubOptions::from_env()?;
        let (is_trained, model) = (self.adapters.rank > 0, self.model.as_deref());
        let blocks = open_vision_blocks(states, model, (self.pooling, is_trained), &hub, device)
            .map_err(|error| RecipeError::Blocks { side: Side::Image, source: Box::new(error) })?;
        let adapter = self.adapters.resolve(&blocks.layers())?;
        Ok(Adapted { blocks, adapter })
    }
}

impl Check for LoraRecipe {
    fn check(&self) -> Result<(), ConfigError> {
        self.adapters.check()
    }
}

/// The blocks in front of a side, and their adapters.
pub(super) struct Adapted {
    pub(super) blocks: Arc<dyn TokenBlocks>,
    pub(super) adapter: Option<AdapterConfig>,
}

/// What a side takes: the rows of a source, or what blocks make of them.
pub(super) struct SideFeatures {
    pub(super) dim: usize,
    /// Of the rows; that of blocks is their own.
    pub(super) provenance: Option<Provenance>,
    pub(super) adapted: Option<Adapted>,
}

impl SideFeatures {
    pub(super) fn new(source: &dyn FeatureSource, adapted: Option<Adapted>) -> Self {
        match adapted {
            Some(adapted) => Self { dim: adapted.blocks.dim(), provenance: None, adapted: Some(adapted) },
            None => Self { dim: source.dim(), provenance: source.provenance().cloned(), adapted: None },
        }
    }
}
