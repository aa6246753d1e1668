//! Opens a model from published backbones and a head file.

use std::path::Path;
use std::str::FromStr;

use burn::tensor::Device;
use sail_core::{AlignmentHead, ConfigError, Provenance, Side};
use sail_encoders::{ModelError, ModelFolder, ModelSpec, TextOptions, VisionOptions, load_text, load_vision};
use sail_hub::HubOptions;
use sail_layers::Head;

use super::{SailError, SailModel};

impl SailModel {
    /// Opens two backbones and the head that was trained on them, all on one device.
    ///
    /// A backbone is a local folder in the layout of the hub, or a hub id such as `facebook/dinov2-base`, optionally
    /// with a revision as in `facebook/dinov2-base@main`, which is downloaded unless it is in the hub's cache.
    /// Poolings, and the revision of an id without one, are those that the head records.
    ///
    /// # Errors
    /// Returns [`SailError::Head`] if the head cannot be loaded or was trained on other backbones, [`SailError::Model`]
    /// if a backbone cannot be found, downloaded or built, and [`SailError::Pooling`] if the head records an unknown
    /// pooling.
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

    /// Opens the backbones of a head. `None` stands for the backbone that the head records, at the recorded revision.
    ///
    /// # Errors
    /// The same as [`open`](Self::open), [`SailError::Unrecorded`] if a backbone is neither specified nor recorded, and
    /// [`SailError::Recorded`] if a recorded backbone cannot be loaded.
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

/// The backbone of one side: the requested one, or else the one that the head records.
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

/// Parses the pooling that the head records for a side.
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
