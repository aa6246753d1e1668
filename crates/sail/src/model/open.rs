//! A model from published backbones and the file of a head.

use std::path::Path;

use burn::tensor::Device;
use sail_core::{AlignmentHead, Provenance, Side};
use sail_encoders::{ModelError, ModelFolder, ModelSpec, TextOptions, VisionOptions, load_text, load_vision};
use sail_hub::HubOptions;
use sail_layers::Head;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::{SailError, SailModel};

impl SailModel {
    /// Opens two backbones and the head that was trained on them, on one device.
    ///
    /// A backbone is a folder in the layout of the hub, or an id as in `facebook/dinov2-base`, optionally with a
    /// revision as in `facebook/dinov2-base@main`, which is fetched unless the hub's cache has it. What the head
    /// recorded of its training decides the rest: poolings, and the revision of an id that names none.
    ///
    /// # Errors
    /// [`SailError::Head`] for a head that cannot be loaded or was trained on other backbones, [`SailError::Model`]
    /// for a backbone that cannot be found, fetched or built, [`SailError::Pooling`] for a head whose pooling is not
    /// known.
    ///
    /// # Examples
    /// ```no_run
    /// use sail_vl::SailModel;
    /// use sail_vl::burn::tensor::Device;
    ///
    /// let (vision, text) = ("facebook/dinov2-base", "sentence-transformers/all-MiniLM-L6-v2");
    /// let model = SailModel::open(vision, text, "run/head.safetensors", &Device::flex())?;
    /// let embeddings = model.encode_texts(&["a photo of a cat", "a photo of a dog"])?;
    /// # Ok::<(), sail_vl::SailError>(())
    /// ```
    pub fn open(
        vision: &str,
        text: &str,
        head: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Self, SailError> {
        let head = Head::load(head, device)?;
        let (side, trained_on) = (Side::Image, head.trained_on(Side::Image));
        let model = |source| SailError::Model { side, source };
        let folder = folder(vision, trained_on).map_err(model)?;
        let mut vision = load_vision(&folder, &VisionOptions::default(), device).map_err(model)?;
        if let Some(pooling) = pooling(side, trained_on)? {
            vision.pooling = pooling;
        }

        let (side, trained_on) = (Side::Text, head.trained_on(Side::Text));
        let model = |source| SailError::Model { side, source };
        let folder = self::folder(text, trained_on).map_err(model)?;
        let mut text = load_text(&folder, &TextOptions::default(), device).map_err(model)?;
        if let Some(pooling) = self::pooling(side, trained_on)? {
            text.pooling = pooling;
        }

        Ok(Self::new(vision, text, head)?)
    }
}

fn folder(name: &str, trained_on: Option<&Provenance>) -> Result<ModelFolder, ModelError> {
    let spec: ModelSpec = name.parse()?;
    let mut options = HubOptions::from_env()?;
    if let (ModelSpec::Hub(id), Some(trained_on)) = (&spec, trained_on)
        && id.name() == trained_on.model
    {
        options.revision.clone_from(&trained_on.revision);
    }
    spec.open(&options)
}

/// The pooling that a side was trained with, by its name in configurations.
fn pooling<P: DeserializeOwned>(side: Side, trained_on: Option<&Provenance>) -> Result<Option<P>, SailError> {
    let Some(name) = trained_on.and_then(|provenance| provenance.pooling.as_deref()) else {
        return Ok(None);
    };
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    P::deserialize(name).map(Some).map_err(|error| SailError::Pooling { side, reason: error.to_string() })
}
