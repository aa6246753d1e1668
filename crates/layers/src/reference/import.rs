//! Reads heads of the reference implementation.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use burn::tensor::{DType, Device};
use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::{ModuleStore, SafetensorsStore, bridge};
use sail_core::{Check, HeadError};
use sail_support::{open_file, stand_in, torch};

use super::layout::{BIAS, LOG_SCALE, slots};
use super::settings::Settings;
use crate::{Head, HeadConfig, ProjectorConfig, SideConfig, file};

/// The counter of batches of a batch norm, which only its training uses.
const COUNTER: &str = ".num_batches_tracked";
/// Dropout of ShareLock in the reference implementation, which files do not record.
const DROPOUT: f64 = 0.2;

impl Head {
    /// Imports a head that the authors' code saved: a file of `torch.save`, with the weights or with the whole state of the
    /// training, or a safetensors file with the same names. No code in the file is executed.
    ///
    /// The sizes are those of the tensors. A YAML file with `target_dimension`, `linear_type` or `width_factor` is compared
    /// with them: `settings`, or the one beside the file that differs in the extension only, if there is one.
    ///
    /// The files do not name the backbones; record them with [`with_provenance`](Self::with_provenance).
    ///
    /// # Errors
    /// [`HeadError::Io`], [`HeadError::Import`] if the file is no such head, and [`HeadError::Tensors`] with every tensor that
    /// is missing, unexpected, not finite, or has the wrong shape.
    ///
    /// # Examples
    /// ```no_run
    /// use burn::tensor::Device;
    /// use sail_core::Provenance;
    /// use sail_layers::Head;
    ///
    /// let head = Head::import("sail_dinov2l_gte.pt", None, &Device::flex())?;
    /// let (vision, text) = ("facebook/dinov2-large", "Alibaba-NLP/gte-large-en-v1.5");
    /// let head = head.with_provenance(Some(&Provenance::new(vision)), Some(&Provenance::new(text)));
    /// head.save("head.safetensors")?;
    /// # Ok::<(), sail_core::HeadError>(())
    /// ```
    pub fn import(
        path: impl AsRef<Path>,
        settings: Option<&Path>,
        device: &Device,
    ) -> Result<Self, HeadError> {
        let path = path.as_ref();
        let tensors = Tensors::open(path)?;
        let config = tensors.config()?;
        config.check()?;
        let beside = if settings.is_none() { Settings::beside(path) } else { None };
        if let Some(settings) = settings.or(beside.as_deref()) {
            Settings::read(settings)?.check(&config)?;
        }
        Self::from_bytes(tensors.into_file(&config)?, device)
    }
}

fn refused(reason: impl Into<String>) -> HeadError {
    HeadError::Import { reason: reason.into() }
}

/// The tensors of a file by name, not read yet.
struct Tensors(BTreeMap<String, StoredTensor>);

impl Tensors {
    fn open(path: &Path) -> Result<Self, HeadError> {
        let mut start = Vec::new();
        let read = open_file(path).map_err(std::io::Error::from);
        let read = read.and_then(|file| file.take(512).read_to_end(&mut start));
        read.map_err(|source| HeadError::Io { path: path.to_owned(), source })?;
        if let Some(found) = stand_in(&start) {
            return Err(refused(format!("found {found}")));
        }
        // An archive, or a pickle of PyTorch before 1.6.
        let tensors = if start.starts_with(b"PK") || start.starts_with(b"\x80") {
            torch::open(path).map_err(refused)?
        } else {
            let mut store = SafetensorsStore::from_file(path);
            let tensors = store.get_all_tensors().map_err(|error| {
                refused(format!("neither a file of `torch.save` nor a safetensors file: {error}"))
            })?;
            tensors.values().cloned().collect()
        };
        Ok(Self(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect()))
    }

    /// Derives the configuration from the names and shapes.
    fn config(&self) -> Result<HeadConfig, HeadError> {
        if self.0.contains_key(LOG_SCALE) {
            return Err(refused("it is a head of sail already, which needs no import"));
        }
        let [image, text] = [self.side("vision")?, self.side("text")?];
        let dims = [&image, &text].map(|side| side.as_ref().map(|(_, dim)| *dim));
        let dim = match dims {
            [Some(image), Some(text)] if image != text => {
                return Err(refused(format!(
                    "the vision side has {image} dimensions, the text side {text}, expected the same"
                )));
            }
            [image, text] => image.or(text),
        };
        let Some(dim) = dim else {
            let names: Vec<&str> = self.0.keys().take(5).map(String::as_str).collect();
            return Err(refused(format!(
                "no `vision_mapping_network` and no `text_mapping_network`, found `{}`",
                names.join("`, `")
            )));
        };
        let [mut image, text] = [image, text].map(|side| side.map(|(side, _)| side));
        if let (None, Some(SideConfig { projector: ProjectorConfig::ShareLock { .. }, .. })) = (&image, &text)
        {
            image = Some(SideConfig::new(dim, ProjectorConfig::Identity {}));
        }
        Ok(HeadConfig { image, text, ..HeadConfig::new(dim, dim, dim, ProjectorConfig::Linear {}) })
    }

    /// Returns the configuration of a side and its output dimension.
    fn side(&self, side: &str) -> Result<Option<(SideConfig, usize)>, HeadError> {
        let network = format!("{side}_mapping_network");
        let matrix = |layer: &str| self.matrix(&format!("{network}{layer}.weight"));
        let required = |layer: &str| {
            let name = format!("{network}{layer}.weight");
            matrix(layer)?.ok_or_else(|| refused(format!("no tensor `{name}`")))
        };
        let multiple = |layer: &str, [rows, columns]: [usize; 2]| match rows.checked_div(columns) {
            Some(factor) if factor * columns == rows => Ok(factor),
            _ => Err(refused(format!(
                "`{network}{layer}.weight` has shape [{rows}, {columns}], expected a multiple of {columns} rows"
            ))),
        };
        let (projector, input, dim) = if let Some([dim, input]) = matrix("")? {
            (ProjectorConfig::Linear {}, input, dim)
        } else if let Some(first @ [_, input]) = matrix(".proj.0")? {
            (ProjectorConfig::Mlp { expansion: multiple(".proj.0", first)? }, input, required(".proj.2")?[0])
        } else if let Some(first @ [_, input]) = matrix(".f1")? {
            (ProjectorConfig::Glu { width: multiple(".f1", first)? }, input, required(".g")?[0])
        } else if let Some([hidden, input]) = matrix(".layers.0")? {
            let has = |layer: &usize| self.0.contains_key(&format!("{network}.layers.{}.weight", 4 * layer));
            let layers = 1 + (1..).take_while(has).count();
            let [dim, _] = required(&format!(".layers.{}", 4 * (layers - 1)))?;
            let hidden = if layers == 1 { input } else { hidden };
            (ProjectorConfig::ShareLock { hidden, layers, dropout: DROPOUT }, input, dim)
        } else {
            return Ok(None);
        };
        Ok(Some((SideConfig::new(input, projector), dim)))
    }

    fn matrix(&self, name: &str) -> Result<Option<[usize; 2]>, HeadError> {
        let Some(tensor) = self.0.get(name) else { return Ok(None) };
        match *tensor.shape.as_slice() {
            [rows, columns] => Ok(Some([rows, columns])),
            ref shape => Err(refused(format!("`{name}` has shape {shape:?}, expected a matrix"))),
        }
    }

    /// Returns the contents of our file of the head. Problems are named as in the imported file.
    fn into_file(mut self, config: &HeadConfig) -> Result<Vec<u8>, HeadError> {
        let mut problems = Vec::new();
        let mut found = Vec::new();
        for slot in slots(config).map_err(|error| refused(error.to_string()))? {
            let Some(tensor) = self.0.remove(&slot.theirs) else {
                problems.push(format!("`{}` is missing", slot.theirs));
                continue;
            };
            let shape = tensor.shape.as_slice();
            let is_scalar = [LOG_SCALE, BIAS].contains(&slot.ours.as_str()) && shape.is_empty();
            if shape == slot.shape || is_scalar {
                found.push((slot, tensor));
            } else {
                problems.push(format!("`{}` has shape {shape:?}, expected {:?}", slot.theirs, slot.shape));
            }
        }
        self.0.retain(|name, _| !name.ends_with(COUNTER));
        problems.extend(self.0.keys().map(|name| format!("`{name}` is unexpected")));
        let mut read = Vec::with_capacity(found.len());
        if problems.is_empty() {
            for (slot, tensor) in found {
                match values(&tensor) {
                    Ok(bytes) => read.push((slot.ours, slot.shape, bytes)),
                    Err(reason) => problems.push(format!("`{}` {reason}", slot.theirs)),
                }
            }
        }
        if problems.is_empty() {
            return file::assemble(config, &read);
        }
        problems.sort();
        Err(HeadError::Tensors { problems })
    }
}

/// Reads the values of a tensor in F32.
fn values(tensor: &StoredTensor) -> Result<Vec<u8>, String> {
    if !tensor.dtype.is_float() {
        return Err(format!("has dtype {:?}, expected floats", tensor.dtype));
    }
    let unreadable = |error: &dyn std::error::Error| format!("cannot be read: {error}");
    let data = bridge::to_data(tensor).map_err(|error| unreadable(&error))?;
    let data = data.try_cast(DType::F32).map_err(|error| unreadable(&error))?;
    let bytes = data.as_bytes();
    if bytes.as_chunks().0.iter().all(|value| f32::from_le_bytes(*value).is_finite()) {
        return Ok(bytes.to_vec());
    }
    Err("has non-finite values".to_owned())
}
