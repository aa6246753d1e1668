//! Models from the command line: a backbone to encode with, or a head with its backbones.

use std::path::PathBuf;

use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{Dtype, HeadError, ImagePooling, Side, TextPooling, TextTower, VisionTower};
use sail_vl::encoders::{
    ModelError, ModelFolder, ModelSpec, PromptChoice, TextOptions, VisionOptions, load_text, load_vision,
};
use sail_vl::hub::{HubError, HubOptions};
use sail_vl::layers::Head;
use sail_vl::report::Facts;
use sail_vl::{BackboneOptions, SailError, SailModel};

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
    precision: Dtype,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// The prompt of a text model.
#[derive(Args)]
pub(crate) struct PromptArgs {
    /// The prompt that is put before every text: the name of one of the model's prompts, a text such as "query: ", or
    /// `none` [default: the model's default prompt; with a head, the one that it was trained with].
    #[arg(long, value_name = "NAME|TEXT|none")]
    prompt: Option<String>,
}

impl PromptArgs {
    fn choice(&self) -> PromptChoice {
        self.prompt.clone().map_or(PromptChoice::Default, PromptChoice::Written)
    }
}

impl ModelArgs {
    pub(crate) fn vision(
        &self,
        pooling: Option<ImagePooling>,
        image_size: Option<usize>,
        device: &Device,
    ) -> Result<VisionTower, CliError> {
        let options =
            VisionOptions { dtype: self.precision, pooling, image_size, ..VisionOptions::default() };
        load_vision(&self.folder()?, &options, device).map_err(|error| self.error(error))
    }

    pub(crate) fn text(
        &self,
        pooling: Option<TextPooling>,
        prompt: &PromptArgs,
        device: &Device,
    ) -> Result<TextTower, CliError> {
        let prompt = prompt.choice();
        let options = TextOptions { dtype: self.precision, pooling, prompt, ..TextOptions::default() };
        load_text(&self.folder()?, &options, device).map_err(|error| self.error(error))
    }

    fn error(&self, error: ModelError) -> CliError {
        match error {
            ModelError::Option(error) => error.into(),
            source => CliError::Model { spec: self.model.clone(), source },
        }
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
    /// How the token states of images are pooled [default: as the head was trained].
    #[arg(long, value_name = "POOLING", value_parser = named::<ImagePooling>())]
    vision_pooling: Option<ImagePooling>,
    /// How the token states of texts are pooled [default: as the head was trained].
    #[arg(long, value_name = "POOLING", value_parser = named::<TextPooling>())]
    text_pooling: Option<TextPooling>,
    /// Side of the square that images are resized to [default: as the head was trained].
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Data type that the models compute in [default: as the head was trained, else f32].
    #[arg(long, value_name = "DTYPE", value_parser = named::<Dtype>())]
    precision: Option<Dtype>,
    #[command(flatten)]
    prompt: PromptArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl HeadArgs {
    pub(crate) fn device(&self) -> Result<Device, CliError> {
        Ok(self.device.open()?)
    }

    pub(crate) fn open(&self, device: &Device) -> Result<SailModel<Head>, CliError> {
        let options = BackboneOptions {
            vision: self.vision.clone(),
            text: self.text.clone(),
            image_pooling: self.vision_pooling,
            image_size: self.size,
            text_pooling: self.text_pooling,
            prompt: self.prompt.choice(),
            precision: self.precision,
        };
        let head = Head::load(&self.head, device).map_err(|error| CliError::Open(error.into()))?;
        SailModel::with_backbones(head, &options, device).map_err(|error| match error {
            SailError::Unrecorded { .. } | SailError::Recorded { .. } => CliError::Backbone(error),
            SailError::Head(HeadError::Provenance { side, contradiction }) => {
                match self.given(side, contradiction.field) {
                    Some(option) => CliError::Usage(format!(
                        "`{option}` contradicts the head, which was trained on other {side} features: `{}` is {}, \
                         expected {}: omit the option",
                        contradiction.field, contradiction.found, contradiction.expected
                    )),
                    None => CliError::Open(HeadError::Provenance { side, contradiction }.into()),
                }
            }
            error => CliError::Open(error),
        })
    }

    /// Returns the option that sets a field of the provenance, if it was given.
    fn given(&self, side: Side, field: &str) -> Option<&'static str> {
        let (given, option) = match (field, side) {
            ("processor", Side::Image) => (self.size.is_some(), "--size"),
            ("pooling", Side::Image) => (self.vision_pooling.is_some(), "--vision-pooling"),
            ("pooling", Side::Text) => (self.text_pooling.is_some(), "--text-pooling"),
            ("precision", _) => (self.precision.is_some(), "--precision"),
            ("prompt", Side::Text) => (self.prompt.prompt.is_some(), "--prompt"),
            _ => return None,
        };
        given.then_some(option)
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
