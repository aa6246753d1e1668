//! A model from published backbones and the file of a head.

use std::path::Path;
use std::str::FromStr;

use burn::tensor::Device;
use sail_core::{AlignmentHead, ConfigError, Provenance, Side};
use sail_encoders::{ModelError, ModelFolder, ModelSpec, TextOptions, VisionOptions, load_text, load_vision};
use sail_hub::HubOptions;
use sail_layers::Head;

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
        Self::with_head(Head::load(head, device)?, Some(vision), Some(text), device)
    }

    /// Opens the backbones of a head. A backbone that is not given is the one that the head records, at the recorded
    /// revision.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`SailError::Unrecorded`] if a backbone is neither given nor recorded, and
    /// [`SailError::Recorded`] if a recorded one cannot be loaded.
    ///
    /// # Examples
    /// ```no_run
    /// use sail_vl::SailModel;
    /// use sail_vl::burn::tensor::Device;
    /// use sail_vl::layers::Head;
    ///
    /// let device = Device::flex();
    /// let head = Head::load("run/head.safetensors", &device)?;
    /// let model = SailModel::with_head(head, None, None, &device)?;
    /// # Ok::<(), sail_vl::SailError>(())
    /// ```
    pub fn with_head(
        head: Head,
        vision: Option<&str>,
        text: Option<&str>,
        device: &Device,
    ) -> Result<Self, SailError> {
        let backbone = Backbone::new(&head, Side::Image, vision)?;
        let mut vision = backbone.load(|folder| load_vision(folder, &VisionOptions::default(), device))?;
        if let Some(pooling) = pooling(Side::Image, backbone.trained_on)? {
            vision.pooling = pooling;
        }
        let backbone = Backbone::new(&head, Side::Text, text)?;
        let mut text = backbone.load(|folder| load_text(folder, &TextOptions::default(), device))?;
        if let Some(pooling) = pooling(Side::Text, backbone.trained_on)? {
            text.pooling = pooling;
        }
        Ok(Self::new(vision, text, head)?)
    }
}

/// The backbone of one side: the one that was asked for, or the one that the head records.
struct Backbone<'a> {
    side: Side,
    name: &'a str,
    trained_on: Option<&'a Provenance>,
    is_recorded: bool,
}

impl<'a> Backbone<'a> {
    fn new(head: &'a Head, side: Side, name: Option<&'a str>) -> Result<Self, SailError> {
        let trained_on = head.trained_on(side);
        let recorded = trained_on.map(|provenance| provenance.model.as_str());
        let is_recorded = name.is_none();
        let name = name.or(recorded).ok_or(SailError::Unrecorded { side })?;
        Ok(Self { side, name, trained_on, is_recorded })
    }

    fn load<T>(&self, load: impl Fn(&ModelFolder) -> Result<T, ModelError>) -> Result<T, SailError> {
        self.folder().and_then(|folder| load(&folder)).map_err(|source| match self.is_recorded {
            true => SailError::Recorded { side: self.side, model: self.name.to_owned(), source },
            false => SailError::Model { side: self.side, source },
        })
    }

    fn folder(&self) -> Result<ModelFolder, ModelError> {
        let spec: ModelSpec = self.name.parse()?;
        let mut options = HubOptions::from_env()?;
        if let (ModelSpec::Hub(id), Some(trained_on)) = (&spec, self.trained_on)
            && id.name() == trained_on.model
        {
            options.revision.clone_from(&trained_on.revision);
        }
        spec.open(&options)
    }
}

/// The pooling that a side was trained with, by its name in configurations.
fn pooling<P: FromStr<Err = ConfigError>>(
    side: Side,
    trained_on: Option<&Provenance>,
) -> Result<Option<P>, SailError> {
    let Some(name) = trained_on.and_then(|provenance| provenance.pooling.as_deref()) else {
        return Ok(None);
    };
    name.parse()
        .map(Some)
        .map_err(|error: ConfigError| SailError::Pooling { side, reason: error.to_string() })
}
