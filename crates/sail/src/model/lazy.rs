//! A model whose backbones are loaded when they are needed.

use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, Provenance, RgbImage, Side, TextTower, VisionTower};
use sail_hub::HubOptions;
use sail_layers::Head;
use sail_search::Index;

use super::encode::{encode_images, encode_texts};
use super::open::{index_head, open_text, open_vision, options_of, records};
use super::{BATCH, BackboneOptions, SailError};

/// A head whose backbones are loaded when they are first used: a program that embeds texts only, such as the queries of a
/// search, never loads the vision backbone.
///
/// # Examples
/// ```no_run
/// use sail_vl::burn::tensor::Device;
/// use sail_vl::hub::HubOptions;
/// use sail_vl::layers::Head;
/// use sail_vl::{BackboneOptions, LazyModel};
///
/// let device = Device::flex();
/// let head = Head::load("photos.index/head.safetensors", &device)?;
/// let model = LazyModel::new(head, BackboneOptions::default(), HubOptions::from_env()?, device);
/// let query = model.encode_texts(&["a red car in the snow"])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LazyModel {
    head: Head,
    /// The settings of the backbones, images first.
    records: [Option<Provenance>; 2],
    options: BackboneOptions,
    hub: HubOptions,
    device: Device,
    vision: OnceLock<VisionTower>,
    text: OnceLock<TextTower>,
}

impl LazyModel {
    /// Creates a model of a head. `options` has what the head does not record, as in
    /// [`SailModel::with_hub`](super::SailModel::with_hub).
    pub fn new(head: Head, options: BackboneOptions, hub: HubOptions, device: Device) -> Self {
        let records = records(&head);
        Self::with_records(head, records, options, hub, device)
    }

    /// Opens the head of an index. The backbones are where the options say, else where they were when the index was made, and
    /// have the settings of the index.
    ///
    /// # Errors
    /// [`SailError::Head`] if the head cannot be read.
    pub fn for_index(
        index: &Index,
        options: &BackboneOptions,
        hub: HubOptions,
        device: Device,
    ) -> Result<Self, SailError> {
        let head = index_head(index, &device)?;
        let identity = index.manifest().identity.clone();
        let records = [Some(identity.vision), Some(identity.text)];
        Ok(Self::with_records(head, records, options_of(index, options), hub, device))
    }

    fn with_records(
        head: Head,
        records: [Option<Provenance>; 2],
        options: BackboneOptions,
        hub: HubOptions,
        device: Device,
    ) -> Self {
        let (vision, text) = (OnceLock::new(), OnceLock::new());
        Self { head: head.valid(), records, options, hub, device, vision, text }
    }

    /// Returns the head in inference mode.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the vision tower, which the first call loads.
    ///
    /// # Errors
    /// Those of [`SailModel::with_hub`](super::SailModel::with_hub).
    pub fn vision(&self) -> Result<&VisionTower, SailError> {
        load(&self.vision, || {
            let tower = open_vision(
                self.records[0].as_ref(),
                self.head.adapter(Side::Image)?,
                &self.options,
                &self.hub,
                &self.device,
            )?;
            self.head.accepts_provenance(Side::Image, &tower.provenance())?;
            Ok(tower)
        })
    }

    /// Returns the text tower, which the first call loads.
    ///
    /// # Errors
    /// Those of [`SailModel::with_hub`](super::SailModel::with_hub).
    pub fn text(&self) -> Result<&TextTower, SailError> {
        load(&self.text, || {
            let tower = open_text(
                self.records[1].as_ref(),
                self.head.adapter(Side::Text)?,
                &self.options,
                &self.hub,
                &self.device,
            )?;
            self.head.accepts_provenance(Side::Text, &tower.provenance())?;
            Ok(tower)
        })
    }

    /// Embeds images, as [`SailModel::encode_images`](super::SailModel::encode_images).
    ///
    /// # Shapes
    /// - result: `[images.len(), dim]`, rows of unit length, on the head's device
    ///
    /// # Errors
    /// Those of [`vision`](Self::vision) and of `encode_images`.
    pub fn encode_images(&self, images: &[RgbImage]) -> Result<Tensor<2>, SailError> {
        encode_images(self.vision()?, &self.head, BATCH, images)
    }

    /// Embeds texts, as [`SailModel::encode_texts`](super::SailModel::encode_texts).
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]` in the order of `texts`, rows of unit length, on the head's device
    ///
    /// # Errors
    /// Those of [`text`](Self::text) and of `encode_texts`.
    pub fn encode_texts(&self, texts: &[impl AsRef<str>]) -> Result<Tensor<2>, SailError> {
        encode_texts(self.text()?, &self.head, BATCH, texts)
    }
}

fn load<T>(cell: &OnceLock<T>, load: impl FnOnce() -> Result<T, SailError>) -> Result<&T, SailError> {
    match cell.get() {
        Some(tower) => Ok(tower),
        None => {
            let tower = load()?;
            Ok(cell.get_or_init(|| tower))
        }
    }
}
