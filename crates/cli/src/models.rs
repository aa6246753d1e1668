//! Models from the command line: a backbone to encode with, or a head with its backbones.

use std::path::Path;
use std::sync::Arc;

use bytesize::ByteSize;
use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{
    Adapter, AlignmentHead, Dtype, HeadError, ImagePooling, Quantization, Side, TextPooling, TextTower,
    VisionTower,
};
use sail_vl::encoders::{
    ModelError, ModelFolder, ModelSpec, PromptChoice, TextOptions, VisionOptions, load_text, load_vision,
};
use sail_vl::hub::{HubError, HubOptions};
use sail_vl::layers::Head;
use sail_vl::report::Facts;
use sail_vl::search::{Encoders, Index};
use sail_vl::{BackboneOptions, SailError, SailModel};

use crate::device_args::{DeviceArgs, DeviceListArgs};
use crate::error::CliError;
use crate::head_spec::{self, HeadSpec};
use crate::named::named;

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
    /// Memory for the model, such as 10GiB. The blocks of a larger model are read from disk for every batch, and batches are
    /// as large as fits.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Keep the weights of the model's blocks in fewer bits [default: in the precision]. Embeddings keep a cosine above 0.999,
    /// but are other features than those without it.
    #[arg(long, value_name = "TYPE", value_parser = named::<Quantization>())]
    quantize: Option<Quantization>,
    #[command(flatten)]
    pub(crate) device: DeviceListArgs,
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
        adapted: Option<&Path>,
        devices: &[Device],
    ) -> Result<Vec<VisionTower>, CliError> {
        let head = adapted.map(load_adapted).transpose()?;
        let (head, adapter) =
            head.map_or((None, None), |(head, adapter)| (Some(head), Some(Arc::new(adapter))));
        let options = VisionOptions {
            adapter,
            dtype: self.precision,
            pooling,
            image_size,
            memory: self.memory.map(|size| size.as_u64()),
            quantization: self.quantize,
            ..VisionOptions::default()
        };
        let folder = self.folder()?;
        let load = |device| load_vision(&folder, &options, device).map_err(|error| self.error(error));
        let towers: Vec<VisionTower> = devices.iter().map(load).collect::<Result<_, _>>()?;
        if let (Some(head), Some(tower)) = (head, towers.first()) {
            // Adapters are for one model and the settings of their training.
            head.accepts_provenance(Side::Image, &tower.provenance())
                .map_err(|error| CliError::Open(error.into()))?;
        }
        Ok(towers)
    }

    pub(crate) fn text(
        &self,
        pooling: Option<TextPooling>,
        prompt: &PromptArgs,
        truncate_dim: Option<usize>,
        devices: &[Device],
    ) -> Result<Vec<TextTower>, CliError> {
        let options = TextOptions {
            dtype: self.precision,
            pooling,
            prompt: prompt.choice(),
            truncate_dim,
            memory: self.memory.map(|size| size.as_u64()),
            quantization: self.quantize,
            ..TextOptions::default()
        };
        let folder = self.folder()?;
        let load = |device| load_text(&folder, &options, device).map_err(|error| self.error(error));
        devices.iter().map(load).collect()
    }

    fn error(&self, error: ModelError) -> CliError {
        match error {
            ModelError::Option(error) => error.into(),
            source => CliError::Model { spec: self.model.clone(), source },
        }
    }

    fn folder(&self) -> Result<ModelFolder, CliError> {
        open_folder(&self.model, self.revision.clone())
    }
}

/// Loads a head with adapters of the image encoder.
fn load_adapted(path: &Path) -> Result<(Head, Adapter), CliError> {
    let failed = |source| CliError::HeadFile { path: path.display().to_string(), source };
    let head = Head::load(path, &Device::flex()).map_err(failed)?;
    match head.adapter(Side::Image).map_err(failed)? {
        Some(adapter) => Ok((head, adapter)),
        None => {
            let message =
                format!("{} has no adapters of the image encoder: omit `--adapter`", path.display());
            Err(CliError::Usage(message))
        }
    }
}

/// Finds the files of a model, downloading those that are not in the cache.
pub(crate) fn open_folder(model: &str, revision: Option<String>) -> Result<ModelFolder, CliError> {
    let error = |source| CliError::Model { spec: model.to_owned(), source };
    let spec: ModelSpec = model.parse().map_err(|source: HubError| error(source.into()))?;
    if matches!(spec, ModelSpec::Folder(_)) && revision.is_some() {
        let message = format!("`--revision` has no meaning for {model}, which is a folder");
        return Err(CliError::Usage(message));
    }
    let options = head_spec::hub_options(model)?;
    spec.open(&HubOptions { revision, ..options }).map_err(error)
}

/// The models of an index. Their settings are those that the index was made with.
#[derive(Args)]
pub(crate) struct IndexModelArgs {
    /// Where the vision model is: a folder, or an id on the hub [default: as the index records].
    #[arg(long, value_name = "FOLDER_OR_ID")]
    vision: Option<String>,
    /// Where the text model is [default: as the index records].
    #[arg(long, value_name = "FOLDER_OR_ID")]
    text: Option<String>,
    /// Memory for each of the two models, such as 10GiB. The blocks of a larger model are read from disk for every batch.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl IndexModelArgs {
    pub(crate) fn device(&self) -> Result<Device, CliError> {
        Ok(self.device.open()?)
    }

    /// Opens the models of an index.
    pub(crate) fn open(&self, index: &Index, device: &Device) -> Result<SailModel<Head>, CliError> {
        let options = BackboneOptions {
            vision: self.vision.clone(),
            text: self.text.clone(),
            memory: self.memory.map(|size| size.as_u64()),
            ..BackboneOptions::default()
        };
        let hub = head_spec::hub_options(&index.path().display().to_string())?;
        SailModel::for_index(index, &options, &hub, device).map_err(|error| match error {
            SailError::Unrecorded { .. } | SailError::Recorded { .. } => CliError::Backbone(error),
            error => CliError::Open(error),
        })
    }
}

/// A head with its backbones.
#[derive(Args)]
pub(crate) struct HeadArgs {
    /// The head file, or the name of a published pair: `sail-l-gte`, `sail-l-nv2`. Its backbones are used as the head was
    /// trained with them.
    #[arg(long, value_name = "FILE_OR_PAIR")]
    head: String,
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
    /// Memory for each of the two models, such as 10GiB. The blocks of a larger model are read from disk for every batch.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Keep the weights of the models' blocks in fewer bits [default: as the head was trained].
    #[arg(long, value_name = "TYPE", value_parser = named::<Quantization>())]
    quantize: Option<Quantization>,
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
            memory: self.memory.map(|size| size.as_u64()),
            quantization: self.quantize,
        };
        let hub = head_spec::hub_options(&self.head)?;
        let opened = match HeadSpec::parse(&self.head) {
            HeadSpec::Pair(pair) => pair.open(&options, &hub, device),
            HeadSpec::File(path) => Head::load(path, device)
                .map_err(SailError::from)
                .and_then(|head| SailModel::with_hub(head, &options, &hub, device)),
        };
        opened.map_err(|error| match error {
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

    /// Where the backbones are, if not where the head says; folders by their whole path.
    pub(crate) fn encoders(&self) -> Result<Encoders, CliError> {
        let place = |given: &Option<String>| match given {
            Some(folder) if Path::new(folder).is_dir() => {
                Ok(Some(std::path::absolute(folder)?.display().to_string()))
            }
            other => Ok::<_, CliError>(other.clone()),
        };
        Ok(Encoders { vision: place(&self.vision)?, text: place(&self.text)? })
    }

    /// Returns the option that sets a field of the provenance, if it was given.
    fn given(&self, side: Side, field: &str) -> Option<&'static str> {
        let (given, option) = match (field, side) {
            ("processor", Side::Image) => (self.size.is_some(), "--size"),
            ("pooling", Side::Image) => (self.vision_pooling.is_some(), "--vision-pooling"),
            ("pooling", Side::Text) => (self.text_pooling.is_some(), "--text-pooling"),
            ("quantization", _) => (self.quantize.is_some(), "--quantize"),
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
            .fact("head", &self.head)
            .fact("vision model", named(&self.vision, &model.vision().model.model))
            .fact("text model", named(&self.text, &model.text().model.model))
    }
}
