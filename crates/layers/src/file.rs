//! Saving and loading of heads.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_store::{ApplyError, BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sail_core::{AlignmentHead, Check, HeadError};
use sail_support::{read_bounded, stand_in, write_atomic};
use serde::{Deserialize, Serialize};

use crate::{Head, HeadConfig, Holdout};

/// The only entry of the file's metadata. The order of several entries would not be deterministic, and a head must
/// always serialise to the same bytes.
const METADATA: &str = "sail_head";

/// The newest version of the format. In version 1, the provenances have a line of text in the place of the settings; version 3
/// added weighted cosines and translations, version 4 layers of token states and adapters.
const VERSION: u32 = 4;

/// Maximum length of a file; the paper's largest head has 2.4 GB.
const MAX_BYTES: u64 = 64 << 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    version: u32,
    config: HeadConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holdout: Option<Holdout>,
}

fn format(reason: impl std::fmt::Display) -> HeadError {
    HeadError::Format { reason: reason.to_string() }
}

/// Tensor names and layouts are those of PyTorch (`weight` of shape `[out, in]`), without names of enum variants.
fn store(bytes: Option<Vec<u8>>) -> SafetensorsStore {
    SafetensorsStore::from_bytes(bytes)
        .clear_metadata()
        .with_to_adapter(BurnToPyTorchAdapter)
        .with_from_adapter(PyTorchToBurnAdapter)
        .skip_enum_variants(true)
}

pub(crate) fn to_bytes(head: &Head) -> Result<Vec<u8>, HeadError> {
    let head = head.clone().with_adapter_hashes()?;
    let (config, holdout) = (head.config().clone(), head.holdout().cloned());
    // A head without newer parts stays the file that earlier releases read.
    let holdout_version = if holdout.is_some() { 2 } else { 1 };
    let version = config.version().max(holdout_version);
    let description = Description { version, config, holdout };
    let json = serde_json::to_string(&description).map_err(format)?;
    let mut store = store(None).metadata(METADATA, json);
    head.valid().save_into(&mut store).map_err(format)?;
    store.get_bytes().map_err(format)
}

/// The file of a head with these tensors, all F32; [`Head::from_bytes`] checks them.
pub(crate) fn assemble(
    config: &HeadConfig,
    tensors: &[(String, Vec<usize>, Vec<u8>)],
) -> Result<Vec<u8>, HeadError> {
    let description = Description { version: config.version(), config: config.clone(), holdout: None };
    let json = serde_json::to_string(&description).map_err(format)?;
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in tensors {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(format)?));
    }
    safetensors::serialize(views, Some([(METADATA.to_owned(), json)].into())).map_err(format)
}

impl Head {
    /// Saves the head and its configuration to one file, atomically.
    ///
    /// The tensors are `{image,text}.norm.{weight,bias}`, `{image,text}.projector.*` with PyTorch's names and
    /// `[out, in]` layout, `{image,text}.adapter.layers.N.{lora_a,lora_b}.weight` of sides with adapters, `logit.log_scale` and
    /// `logit.bias`; the configuration is JSON in the metadata.
    ///
    /// # Errors
    /// [`HeadError::Io`] if the file cannot be written; an existing file is then left unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), HeadError> {
        let path = path.as_ref();
        let bytes = self.to_bytes()?;
        write_atomic(path, |out| out.write_all(&bytes))
            .map_err(|source| HeadError::Io { path: path.to_owned(), source })
    }

    /// Creates a head with the given tensors, with the names and the layout of its [file](Head::save).
    ///
    /// # Shapes
    /// - weights: name, shape and values in row-major order, such as `image.projector.weight` with `[dim, input]`
    ///
    /// # Errors
    /// [`HeadError::Config`] if the configuration is invalid, and [`HeadError::Tensors`] with every tensor that is missing,
    /// unexpected, not finite or has the wrong shape.
    ///
    /// # Examples
    /// ```
    /// use burn::tensor::Device;
    /// use sail_layers::{Head, HeadConfig, ProjectorConfig};
    /// let error = Head::from_weights(&HeadConfig::new(8, 6, 4, ProjectorConfig::Linear {}), vec![], &Device::flex());
    /// assert!(error.unwrap_err().to_string().starts_with("the tensors of the head"));
    /// ```
    pub fn from_weights(
        config: &HeadConfig,
        weights: Vec<(String, Vec<usize>, Vec<f32>)>,
        device: &Device,
    ) -> Result<Self, HeadError> {
        config.check()?;
        let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect();
        let tensors: Vec<_> =
            weights.into_iter().map(|(name, shape, values)| (name, shape, bytes(values))).collect();
        Self::from_bytes(assemble(config, &tensors)?, device)
    }

    /// Loads a head from a file written by [`save`](Head::save).
    ///
    /// # Errors
    /// [`HeadError::Io`], [`HeadError::Format`] if the file is not a head, [`HeadError::Config`] if its configuration is
    /// invalid, and [`HeadError::Tensors`] with every tensor that is missing, unexpected, not finite, or has the wrong
    /// shape or dtype.
    ///
    /// # Examples
    /// ```
    /// # use burn::tensor::Device;
    /// # use sail_layers::{Head, HeadConfig, ProjectorConfig};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("head.safetensors");
    /// # let device = Device::flex();
    /// # Head::new(&HeadConfig::new(8, 6, 4, ProjectorConfig::GLU), 0, &device)?.save(&path)?;
    /// let head = Head::load(&path, &device)?;
    /// println!("{:?}", head.config());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, HeadError> {
        let path = path.as_ref();
        let bytes = read_bounded(path, MAX_BYTES)
            .map_err(|error| HeadError::Io { path: path.to_owned(), source: error.into() })?;
        Self::from_bytes(bytes, device)
    }

    /// Loads a head from the contents of a file.
    ///
    /// # Errors
    /// Those of [`load`](Head::load), except [`HeadError::Io`].
    pub fn from_bytes(bytes: Vec<u8>, device: &Device) -> Result<Self, HeadError> {
        if let Some(found) = stand_in(&bytes) {
            return Err(format(format_args!("found {found}")));
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
        let json = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
        let json = json.ok_or_else(|| format(format_args!("missing metadata entry `{METADATA}`")))?;
        let description: Description = serde_json::from_str(json).map_err(format)?;
        if !(1..=VERSION).contains(&description.version) {
            return Err(format(format_args!(
                "unsupported format version {}, expected 1 to {VERSION}: use a newer release",
                description.version
            )));
        }
        description.config.check()?;
        // The configuration may declare more weights than the file holds: check before allocating them.
        let mut problems = Vec::new();
        let tensors = SafeTensors::deserialize(&bytes).map_err(format)?;
        for (name, tensor) in tensors.iter() {
            if tensor.dtype() != Dtype::F32 {
                problems.push(format!("`{name}` has dtype {:?}, expected F32", tensor.dtype()));
            } else if !tensor.data().chunks_exact(4).all(is_finite) {
                problems.push(format!("`{name}` has non-finite values"));
            }
        }
        let expected = description.config.weight_bytes();
        let found: u128 = tensors.iter().map(|(_, tensor)| tensor.data().len() as u128).sum();
        if found < expected {
            problems.push(format!("{found} bytes of weights, expected {expected}"));
        }
        if !problems.is_empty() {
            problems.sort();
            return Err(HeadError::Tensors { problems });
        }
        let mut head = Head::new(&description.config, 0, device)?.with_holdout(description.holdout);
        let mut store = store(Some(bytes)).validate(false).allow_partial(true);
        let result = head.load_from(&mut store).map_err(format)?;
        problems.extend(result.missing.iter().map(|(name, _)| format!("`{name}` is missing")));
        problems.extend(result.unused.iter().map(|name| format!("`{name}` is unexpected")));
        problems.extend(result.errors.iter().map(|error| match error {
            ApplyError::ShapeMismatch { path, expected, found } => {
                format!("`{path}` has shape {found:?}, expected {expected:?}")
            }
            other => other.to_string(),
        }));
        if problems.is_empty() {
            let recorded = head.config().clone();
            let head = head.with_adapter_hashes()?;
            if *head.config() == recorded {
                return Ok(head);
            }
            problems.push(
                "the adapters are not those of the recorded features: their SHA-256 differs".to_owned(),
            );
        }
        problems.sort();
        Err(HeadError::Tensors { problems })
    }
}

fn is_finite(bytes: &[u8]) -> bool {
    bytes.try_into().is_ok_and(|bytes| f32::from_le_bytes(bytes).is_finite())
}
