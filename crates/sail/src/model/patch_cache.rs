//! An on-disk cache of patch features.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as StoredType, TensorView};
use sail_core::{DenseOptions, Dtype, Named, PatchTokens, Pixels, Side, VisionTower};
use sail_data::Fingerprint;
use sail_support::{read_bounded, write_atomic};

use super::SailError;

/// The tensor of a file: `[rows, columns, dim]`.
const TENSOR: &str = "patches";

/// Maximum length of a file: 16,384 patches of 4,096 values.
const MAX_BYTES: u64 = 256 << 20;

/// A folder with one file per image or window, named by a hash of everything that its features depend on: preprocessed
/// pixels, model, weights, preprocessing, pooling, layer, attention and dtype.
#[derive(Debug, Clone)]
pub(super) struct PatchCache {
    folder: PathBuf,
    dtype: Dtype,
}

impl PatchCache {
    pub(super) fn new(folder: PathBuf, dtype: Dtype) -> Result<Self, SailError> {
        fs::create_dir_all(&folder)
            .map_err(|source| SailError::PatchCache { path: folder.clone(), source })?;
        Ok(Self { folder, dtype })
    }

    /// Returns the output of the tower, rounded to the dtype of the cache whether it was cached or not.
    pub(super) fn embed(
        &self,
        vision: &VisionTower,
        pixels: &[Pixels],
        options: DenseOptions,
    ) -> Result<PatchTokens, SailError> {
        let encode = |pixels: &[Pixels]| {
            let patches = vision.embed_patches(pixels, options);
            patches.map_err(|source| SailError::Tower { side: Side::Image, source })
        };
        let Some(first) = pixels.first() else { return encode(pixels) };
        if pixels.iter().any(|pixels| pixels.size != first.size) {
            // Returns the error that reports the sizes.
            return encode(pixels);
        }
        let mut identity = Fingerprint::default();
        identity.add_provenance(&vision.provenance());
        identity.add(options.to_string().as_bytes()).add(self.dtype.name().as_bytes());
        let paths: Vec<PathBuf> =
            pixels.par_iter().map(|pixels| self.path(identity.clone(), pixels)).collect();
        let absent: Vec<usize> = (0..paths.len()).filter(|&place| !paths[place].exists()).collect();
        if !absent.is_empty() {
            let new: Vec<Pixels> = absent.iter().map(|&place| pixels[place].clone()).collect();
            let PatchTokens { tokens, grid } = encode(&new)?;
            for (&place, patches) in absent.iter().zip(tokens.split(1, 0)) {
                self.write(&paths[place], patches, grid)?;
            }
        }
        let patches =
            paths.iter().map(|path| read(path, &vision.device)).collect::<Result<Vec<_>, SailError>>()?;
        let [_, rows, columns, dim] = patches[0].dims();
        let other = paths.iter().zip(&patches).find(|(_, other)| other.dims() != patches[0].dims());
        if let Some((path, _)) = other {
            return Err(damaged(path, "its shape differs from that of the other images"));
        }
        let count = patches.len();
        let tokens = Tensor::cat(patches, 0).reshape([count, rows * columns, dim]);
        Ok(PatchTokens { tokens, grid: [rows, columns] })
    }

    fn path(&self, mut identity: Fingerprint, pixels: &Pixels) -> PathBuf {
        let values: Vec<u8> = pixels.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        identity.add(format!("{:?}", pixels.size).as_bytes()).add(&values);
        self.folder.join(format!("{TENSOR}-{}.safetensors", &identity.finish()[..32]))
    }

    fn write(&self, path: &Path, patches: Tensor<3>, [rows, columns]: [usize; 2]) -> Result<(), SailError> {
        let (dtype, stored) = match self.dtype {
            Dtype::F16 => (DType::F16, StoredType::F16),
            Dtype::BF16 => (DType::BF16, StoredType::BF16),
            Dtype::F32 => (DType::F32, StoredType::F32),
        };
        let shape = vec![rows, columns, patches.dims()[2]];
        let data = patches.try_into_data_as::<f32>()?.convert_dtype(dtype);
        let written = TensorView::new(stored, shape, data.as_bytes())
            .and_then(|view| safetensors::serialize([(TENSOR, view)], None))
            .map_err(io::Error::other)
            .and_then(|bytes| write_atomic(path, |out| out.write_all(&bytes)));
        written.map_err(|source| SailError::PatchCache { path: path.to_owned(), source })
    }
}

fn damaged(path: &Path, reason: impl ToString) -> SailError {
    SailError::PatchCache { path: path.to_owned(), source: io::Error::other(reason.to_string()) }
}

/// Reads the patches of a file: `[1, rows, columns, dim]`.
fn read(path: &Path, device: &Device) -> Result<Tensor<4>, SailError> {
    let bytes = read_bounded(path, MAX_BYTES)
        .map_err(|error| SailError::PatchCache { path: path.to_owned(), source: error.into() })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(path, error))?;
    let view = file.tensor(TENSOR).map_err(|error| damaged(path, error))?;
    let dtype = match view.dtype() {
        StoredType::F16 => DType::F16,
        StoredType::BF16 => DType::BF16,
        StoredType::F32 => DType::F32,
        other => {
            return Err(damaged(path, format!("unsupported dtype {other:?}, expected f16, bf16 or f32")));
        }
    };
    let &[rows, columns, dim] = view.shape() else {
        return Err(damaged(path, format!("its shape is {:?}, expected 3 dimensions", view.shape())));
    };
    let data = TensorData::from_bytes_vec(view.data().to_vec(), [1, rows, columns, dim], dtype);
    Ok(Tensor::from_data(data.convert_dtype(DType::F32), (device, DType::F32)))
}
