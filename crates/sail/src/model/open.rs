//! Opens a model from published backbones and a head file.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{
    Adapter, AlignmentHead, ConfigError, Dtype, HeadError, ImagePooling, Layer, Provenance, Quantization,
    Side, TextPooling, TextTower, TokenBlocks, VisionTower,
};
use sail_encoders::{
    ImageProcessorConfig, ModelError, ModelFolder, ModelSpec, PromptChoice, TextOptions, VisionOptions,
    load_text, load_vision, load_vision_blocks,
};
use sail_hub::HubOptions;
use sail_layers::Head;
use sail_search::{Encoders, Index};

use super::{SailError, SailModel};

impl SailModel {
    /// Opens two backbones and the head that was trained on them, all on one device.
    ///
    /// A backbone is a local folder in the layout of the hub, or a hub id such as `facebook/dinov2-base`, optionally
    /// with a revision as in `facebook/dinov2-base@main`, which is downloaded unless it is in the hub's cache.
    /// Their settings (preprocessing, pooling, prompt, precision, quantization), and the revision of an id without one, are those that the
    /// head records.
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
        let [vision, text] = [vision, text].map(|name| name.map(str::to_owned));
        Self::with_backbones(head, &BackboneOptions { vision, text, ..BackboneOptions::default() }, device)
    }

    /// Opens the backbones of a head with these options.
    ///
    /// # Errors
    /// The same as [`with_head`](Self::with_head). An option that contradicts what the head records is
    /// [`HeadError::Provenance`].
    ///
    /// # Examples
    /// ```no_run
    /// use sail_vl::burn::tensor::Device;
    /// use sail_vl::core::Dtype;
    /// use sail_vl::layers::Head;
    /// use sail_vl::{BackboneOptions, SailModel};
    ///
    /// let device = Device::flex();
    /// let head = Head::load("run/head.safetensors", &device)?;
    /// let options = BackboneOptions { precision: Some(Dtype::BF16), ..BackboneOptions::default() };
    /// let model = SailModel::with_backbones(head, &options, &device)?;
    /// # Ok::<(), sail_vl::SailError>(())
    /// ```
    pub fn with_backbones(head: Head, options: &BackboneOptions, device: &Device) -> Result<Self, SailError> {
        let hub = HubOptions::from_env()
            .map_err(|error| SailError::Model { side: Side::Image, source: error.into() })?;
        Self::with_hub(head, options, &hub, device)
    }

    /// As [`with_backbones`](Self::with_backbones), with options of the hub other than those of the environment.
    ///
    /// # Errors
    /// The same as [`with_backbones`](Self::with_backbones).
    pub fn with_hub(
        head: Head,
        options: &BackboneOptions,
        hub: &HubOptions,
        device: &Device,
    ) -> Result<Self, SailError> {
        let [vision, text] = records(&head);
        Self::with_records(head, [vision.as_ref(), text.as_ref()], options, hub, device)
    }

    /// Opens the model that an index was made with: the head in it, and the backbones where the options say, else where they were then.
    /// Their settings are those of the index.
    ///
    /// # Errors
    /// The same as [`with_backbones`](Self::with_backbones).
    ///
    /// # Examples
    /// ```no_run
    /// use sail_vl::burn::tensor::Device;
    /// use sail_vl::hub::HubOptions;
    /// use sail_vl::search::{Embedder, Index};
    /// use sail_vl::{BackboneOptions, SailModel};
    ///
    /// let index = Index::open("index")?;
    /// let hub = HubOptions::from_env()?;
    /// let model = SailModel::for_index(&index, &BackboneOptions::default(), &hub, &Device::flex())?;
    /// let hits = index.searcher()?.search(&model.embed_texts(&["a red car"])?[0], 10, Some(index.live()))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_index(
        index: &Index,
        options: &BackboneOptions,
        hub: &HubOptions,
        device: &Device,
    ) -> Result<Self, SailError> {
        let (identity, options) = (&index.manifest().identity, options_of(index, options));
        let head = index_head(index, device)?;
        Self::with_records(head, [Some(&identity.vision), Some(&identity.text)], &options, hub, device)
    }

    /// Opens the backbones, whose settings are those of the records.
    fn with_records(
        head: Head,
        [vision, text]: [Option<&Provenance>; 2],
        options: &BackboneOptions,
        hub: &HubOptions,
        device: &Device,
    ) -> Result<Self, SailError> {
        let vision = open_vision(vision, head.adapter(Side::Image)?, options, hub, device)?;
        let text = open_text(text, head.adapter(Side::Text)?, options, hub, device)?;
        Ok(Self::new(vision, text, head)?)
    }
}

/// The settings of both backbones that a head records.
pub(super) fn records(head: &Head) -> [Option<Provenance>; 2] {
    [Side::Image, Side::Text].map(|side| head.trained_on(side).cloned())
}

/// The options of a model that an index was made with.
pub(super) fn options_of(index: &Index, options: &BackboneOptions) -> BackboneOptions {
    let Encoders { vision, text } = index.manifest().encoders.clone();
    let (vision, text) = (options.vision.clone().or(vision), options.text.clone().or(text));
    BackboneOptions { vision, text, ..options.clone() }
}

/// Opens the vision backbone with the recorded settings and the adapters of the head.
pub(super) fn open_vision(
    record: Option<&Provenance>,
    adapter: Option<Adapter>,
    options: &BackboneOptions,
    hub: &HubOptions,
    device: &Device,
) -> Result<VisionTower, SailError> {
    let backbone = Backbone::new(record, Side::Image, options.vision.as_deref(), hub)?;
    let vision =
        VisionOptions { adapter: adapter.map(Arc::new), ..vision_options(options, backbone.trained_on)? };
    Ok(backbone.load(|folder| load_vision(folder, &vision, device))?.at_layer(backbone.layer()))
}

/// Opens the text backbone with the recorded settings and the adapters of the head.
pub(super) fn open_text(
    record: Option<&Provenance>,
    adapter: Option<Adapter>,
    options: &BackboneOptions,
    hub: &HubOptions,
    device: &Device,
) -> Result<TextTower, SailError> {
    let backbone = Backbone::new(record, Side::Text, options.text.as_deref(), hub)?;
    let text = TextOptions { adapter: adapter.map(Arc::new), ..text_options(options, backbone.trained_on)? };
    let by_name = text.pooling == Some(TextPooling::Pooled) && options.text_pooling.is_none();
    let mut text = backbone.load(|folder| load_text(folder, &text, device))?;
    if by_name {
        // Version 1 recorded the name `pooled` instead of what it stands for.
        (text.pooling, text.model.pooling) = (TextPooling::Pooled, None);
    }
    Ok(text.at_layer(backbone.layer()))
}

/// Opens the blocks of the vision backbone behind stored token states, see [`load_vision_blocks`].
pub(crate) fn open_vision_blocks(
    states: &Provenance,
    name: Option<&str>,
    (pooling, is_trained): (Option<ImagePooling>, bool),
    hub: &HubOptions,
    device: &Device,
) -> Result<Arc<dyn TokenBlocks>, SailError> {
    let backbone = Backbone::new(Some(states), Side::Image, name, hub)?;
    backbone.load(|folder| load_vision_blocks(folder, states, pooling, is_trained, device))
}

/// Loads the head of an index, which must be the one that it was made with.
pub(super) fn index_head(index: &Index, device: &Device) -> Result<Head, SailError> {
    let bytes = index.read_head().map_err(|error| HeadError::Format { reason: error.to_string() })?;
    Ok(Head::from_bytes(bytes, device)?)
}

/// The backbones of a head and their settings. What is not set is what the head records, else the default of the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackboneOptions {
    /// The vision model: a folder, or an id on the hub.
    pub vision: Option<String>,
    /// The text model.
    pub text: Option<String>,
    /// The pooling of images.
    pub image_pooling: Option<ImagePooling>,
    /// Side of the square input images.
    pub image_size: Option<usize>,
    /// The pooling of texts.
    pub text_pooling: Option<TextPooling>,
    /// The prompt before every text.
    pub prompt: PromptChoice,
    /// The dtype of both computations.
    pub precision: Option<Dtype>,
    /// Bytes of memory for each backbone, see [`VisionOptions::memory`].
    pub memory: Option<u64>,
    /// The form of the weights of both backbones, see [`VisionOptions::quantization`].
    pub quantization: Option<Quantization>,
}

fn vision_options(
    options: &BackboneOptions,
    trained_on: Option<&Provenance>,
) -> Result<VisionOptions, SailError> {
    // A size is applied to the preprocessing of the model, as in the encoding.
    let recorded = trained_on.and_then(|provenance| provenance.processor.as_ref());
    let recorded = recorded.filter(|_| options.image_size.is_none());
    Ok(VisionOptions {
        dtype: precision(options, trained_on),
        pooling: match options.image_pooling {
            None => pooling(Side::Image, trained_on)?,
            given => given,
        },
        processor: recorded.and_then(ImageProcessorConfig::from_processor),
        image_size: options.image_size,
        memory: options.memory,
        quantization: quantization(options, trained_on),
        adapter: None,
    })
}

fn text_options(
    options: &BackboneOptions,
    trained_on: Option<&Provenance>,
) -> Result<TextOptions, SailError> {
    // Without a pooling, nothing is known about modules and prompts.
    let recorded = trained_on.filter(|provenance| provenance.pooling.is_some());
    let prompt = recorded.map_or(PromptChoice::Default, |provenance| match &provenance.prompt {
        None => PromptChoice::None,
        Some(prompt) => PromptChoice::Text(prompt.text.clone()),
    });
    Ok(TextOptions {
        dtype: precision(options, trained_on),
        pooling: match options.text_pooling {
            None => pooling(Side::Text, trained_on)?,
            given => given,
        },
        prompt: if options.prompt == PromptChoice::Default { prompt } else { options.prompt.clone() },
        skip_modules: recorded.is_some_and(|provenance| provenance.modules.is_empty()),
        memory: options.memory,
        quantization: quantization(options, trained_on),
        truncate_dim: recorded.and_then(truncate_dim),
        adapter: None,
    })
}

/// Returns the dimension to which embeddings are cut, if they are.
fn truncate_dim(provenance: &Provenance) -> Option<usize> {
    let dim = provenance.modules.iter().find_map(|module| module.get("truncate")?.as_u64());
    dim.and_then(|dim| usize::try_from(dim).ok())
}

fn precision(options: &BackboneOptions, trained_on: Option<&Provenance>) -> Dtype {
    options.precision.or(trained_on.and_then(|provenance| provenance.precision)).unwrap_or_default()
}

fn quantization(options: &BackboneOptions, trained_on: Option<&Provenance>) -> Option<Quantization> {
    options.quantization.or(trained_on.and_then(|provenance| provenance.quantization))
}

/// The backbone of one side: the requested one, or else the recorded one.
struct Backbone<'a> {
    side: Side,
    name: &'a str,
    trained_on: Option<&'a Provenance>,
    is_recorded: bool,
    hub: &'a HubOptions,
}

impl<'a> Backbone<'a> {
    fn new(
        trained_on: Option<&'a Provenance>,
        side: Side,
        name: Option<&'a str>,
        hub: &'a HubOptions,
    ) -> Result<Self, SailError> {
        let recorded = trained_on.map(|provenance| provenance.model.as_str());
        let is_recorded = name.is_none();
        let name = name.or(recorded).ok_or(SailError::Unrecorded { side })?;
        Ok(Self { side, name, trained_on, is_recorded, hub })
    }

    fn load<T>(&self, load: impl Fn(&ModelFolder) -> Result<T, ModelError>) -> Result<T, SailError> {
        self.folder().and_then(|folder| load(&folder)).map_err(|source| match self.is_recorded {
            true => SailError::Recorded { side: self.side, model: self.name.to_owned(), source },
            false => SailError::Model { side: self.side, source },
        })
    }

    /// The layer that the head was trained on.
    fn layer(&self) -> Layer {
        self.trained_on.and_then(|provenance| provenance.layer).unwrap_or_default()
    }

    fn folder(&self) -> Result<ModelFolder, ModelError> {
        let spec: ModelSpec = self.name.parse()?;
        let mut options = self.hub.clone();
        if let (ModelSpec::Hub(id), Some(trained_on)) = (&spec, self.trained_on)
            && id.name() == trained_on.model
        {
            options.revision.clone_from(&trained_on.revision);
        }
        spec.open(&options)
    }
}

/// Parses the pooling that the head records for a side. `None` also for several poolings, which only a model defines.
fn pooling<P: FromStr<Err = ConfigError>>(
    side: Side,
    trained_on: Option<&Provenance>,
) -> Result<Option<P>, SailError> {
    let Some(name) = trained_on.and_then(|provenance| provenance.pooling.as_deref()) else {
        return Ok(None);
    };
    if name.contains('+') {
        return Ok(None);
    }
    name.parse()
        .map(Some)
        .map_err(|error: ConfigError| SailError::Pooling { side, reason: error.to_string() })
}
