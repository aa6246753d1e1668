//! Writes heads for the reference implementation.

use std::path::Path;

use safetensors::{SafeTensorError, SafeTensors};
use sail_core::{AlignmentHead, HeadError, Named, display_and_parse_by_name};
use sail_support::torch::{Floats, save};
use sail_support::write_atomic;

use super::layout::slots;
use crate::Head;

/// The format of an exported head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Safetensors.
    Safetensors,
    /// A dictionary of tensors, as `torch.save` writes it.
    Pytorch,
}

impl Named for ExportFormat {
    const ALL: &'static [Self] = &[Self::Safetensors, Self::Pytorch];

    fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Pytorch => "pt",
        }
    }
}

display_and_parse_by_name!(ExportFormat, "format");

impl Head {
    /// Writes the weights under the names of the authors' code, atomically. [`import`](Self::import) reads the file back, and
    /// gives the same weights.
    ///
    /// The file does not have the backbones, the initial scale and bias, and the holdout that [`save`](Self::save) records.
    ///
    /// # Errors
    /// [`HeadError::Export`] if the authors' code does not have such a head: one with a SwiGLU, or without LayerNorm; and
    /// [`HeadError::Io`] if the file cannot be written.
    ///
    /// # Examples
    /// ```
    /// # use burn::tensor::Device;
    /// use sail_core::AlignmentHead;
    /// use sail_layers::{ExportFormat, Head, HeadConfig, ProjectorConfig};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("head.pt");
    /// let head = Head::new(&HeadConfig::new(8, 6, 4, ProjectorConfig::GLU), 0, &Device::flex())?;
    /// head.export(&path, ExportFormat::Pytorch)?;
    /// let imported = Head::import(&path, None, &Device::flex())?;
    /// assert_eq!(imported.to_bytes()?, head.to_bytes()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(&self, path: impl AsRef<Path>, format: ExportFormat) -> Result<(), HeadError> {
        let path = path.as_ref();
        let io = |source| HeadError::Io { path: path.to_owned(), source };
        let invalid = |error: SafeTensorError| HeadError::Export { reason: error.to_string() };
        let bytes = self.to_bytes()?;
        let own = SafeTensors::deserialize(&bytes).map_err(invalid)?;
        let mut tensors = Vec::new();
        let slots = slots(self.config())?;
        for slot in &slots {
            let tensor = own.tensor(&slot.ours).map_err(invalid)?;
            tensors.push((&slot.theirs, tensor));
        }
        let exported = match format {
            ExportFormat::Safetensors => safetensors::serialize(tensors, None).map_err(invalid)?,
            ExportFormat::Pytorch => {
                let floats = tensors.iter().map(|(name, tensor)| {
                    let (shape, bytes) = (tensor.shape().to_vec(), tensor.data());
                    Floats { name: name.as_str(), shape, bytes }
                });
                save(&floats.collect::<Vec<_>>()).map_err(io)?
            }
        };
        write_atomic(path, |out| out.write_all(&exported)).map_err(io)
    }
}
