//! Models from the command line: a backbone to encode with, or a head with its backbones.

use std::path::PathBuf;

use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{Dtype, ImagePooling, TextPooling, TextTower, VisionTower};
use sail_vl::encoders::{ModelFolder, ModelSpec, TextOptions, VisionOptions, load_text, load_vision};
use sail_vl::hub::{HubError, HubOptions};
use sail_vl::layers::Head;
use sail_vl::report::Facts;
use sail_vl::{SailError, SailModel};

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::named::named;
use crate::progress;

/// A backbone to encode with.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The model: a folder, or an id on the Hugging Face hub, optionally with a revision (`id@revision`).
    #[arg(long, value_name = "FOLDER_OR_ID")]
    model: String,
    /// Former spelling of the revision.
    #[arg(long, hide = true)]
    revision: Option<String>,
    /// Data type that the model computes in.
    #[arg(long, value_name = "DTYPE", default_value = "f32", value_parser = named::<Dtype>())]
    pub(crate) precision: Dtype,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

impl ModelArgs {
    pub(crate) fn vision(
        &self,
        pooling: Option<ImagePooling>,
        image_size: Option<usize>,
        device: &Device,
    ) -> Result<VisionTower, CliError> {
        let options = VisionOptions { dtype: self.precision, pooling, image_size };
        load_vision(&self.folder()?, &options, device)
            .map_err(|source| CliError::Model { spec: self.model.clone(), source })
    }

    pub(crate) fn text(&self, pooling: Option<TextPooling>, device: &Device) -> Result<TextTower, CliError> {
        let options = TextOptions { dtype: self.precision, pooling };
        load_text(&self.folder()?, &options, device)
            .map_err(|source| CliError::Model { spec: self.model.clone(), source })
    }

    /// Finds the model's files, downloading those that are not in the cache.
    fn folder(&self) -> Result<ModelFolder, CliError> {
        let model = |source| CliError::Model { spec: self.model.clone(), source };
        let spec: ModelSpec = self.model.parse().map_err(|error: HubError| model(error.into()))?;
        if matches!(spec, ModelSpec::Folder(_)) && self.revision.is_some() {
            let message = format!("`--revision` has no meaning for {}, which is a folder", self.model);
            return Err(CliError::Usage(message));
        }
        let options = HubOptions::from_env().map_err(|error| model(error.into()))?;
        let progress = Some(progress::downloads());
        spec.open(&HubOptions { revision: self.revision.clone(), progress, ..options }).map_err(model)
    }
}

/// A head with its backbones.
#[derive(Args)]
pub(crate) struct HeadArgs {
    /// The head file. Its backbones are used as the head was trained with them.
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// The vision model that the head was trained on: a folder, or an id on the hub (`id@revision`) [default: the
    /// model that the head records].
    #[arg(long, value_name = "FOLDER_OR_ID")]
    vision: Option<String>,
    /// The text model that the head was trained on [default: the model that the head records].
    #[arg(long, value_name = "FOLDER_OR_ID")]
    text: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl HeadArgs {
    pub(crate) fn device(&self) -> Result<Device, CliError> {
        Ok(self.device.open()?)
    }

    pub(crate) fn open(&self, device: &Device) -> Result<SailModel<Head>, CliError> {
        let open = || {
            let head = Head::load(&self.head, device)?;
            SailModel::with_head(head, self.vision.as_deref(), self.text.as_deref(), device)
        };
        open().map_err(|error: SailError| match error {
            SailError::Unrecorded { .. } | SailError::Recorded { .. } => CliError::Backbone(error),
            error => CliError::Open(error),
        })
    }

    /// The head and the models that it uses, for a report.
    pub(crate) fn facts(&self, model: &SailModel<Head>, facts: Facts) -> Facts {
        let named = |given: &Option<String>, recorded: &str| given.clone().unwrap_or(recorded.to_owned());
        facts
            .fact("head", self.head.display().to_string())
            .fact("vision model", named(&self.vision, &model.vision().model.model))
            .fact("text model", named(&self.text, &model.text().model.model))
    }
}
