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
/// Beside it for heads that read tokens, `[dim]`.
const CLASS_TOKEN: &str = "class_token";

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
        let shape = |patches: &PatchTokens| (patches.grid, patches.tokens.dims());
        let other = paths.iter().zip(&patches).find(|(_, other)| shape(other) != shape(&patches[0]));
        if let Some((path, _)) = other {
            return Err(damaged(path, "its shape differs from that of the other images"));
        }
        let grid = patches[0].grid;
        let tokens = patches.into_iter().map(|patches| patches.tokens).collect();
        Ok(PatchTokens { tokens: Tensor::cat(tokens, 0), grid })
    }

    fn path(&self, mut identity: Fingerprint, pixels: &Pixels) -> PathBuf {
        let values: Vec<u8> = pixels.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        identity.add(format!("{:?}", pixels.size).as_bytes()).add(&values);
        self.folder.join(format!("{TENSOR}-{}.safetensors", &identity.finish()[..32]))
    }

    /// Writes the tokens of an image: a class token, if there is one, and the patches.
    fn write(&self, path: &Path, tokens: Tensor<3>, [rows, columns]: [usize; 2]) -> Result<(), SailError> {
        let (dtype, stored) = match self.dtype {
            Dtype::F16 => (DType::F16, StoredType::F16),
            Dtype::BF16 => (DType::BF16, StoredType::BF16),
            Dtype::F32 => (DType::F32, StoredType::F32),
        };
        let [_, count, dim] = tokens.dims();
        let data = tokens.try_into_data_as::<f32>()?.convert_dtype(dtype);
        let class_tokens = count - rows * columns;
        let (class, patches) = data.as_bytes().split_at(class_tokens * dim * self.dtype.size());
        let serialize = || {
            let mut tensors = vec![(TENSOR, TensorView::new(stored, vec![rows, columns, dim], patches)?)];
            if class_tokens > 0 {
                tensors.push((CLASS_TOKEN, TensorView::new(stored, vec![dim], class)?));
            }
            safetensors::serialize(tensors, None)
        };
        let written = serialize()
            .map_err(io::Error::other)
            .and_then(|bytes| write_atomic(path, |out| out.write_all(&bytes)));
        written.map_err(|source| SailError::PatchCache { path: path.to_owned(), source })
    }
}

fn damaged(path: &Path, reason: impl ToString) -> SailError {
    SailError::PatchCache { path: path.to_owned(), source: io::Error::other(reason.to_string()) }
}

/// Reads the tokens of an image.
fn read(path: &Path, device: &Device) -> Result<PatchTokens, SailError> {
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
    let (mut values, mut count) = (view.data().to_vec(), rows.saturating_mul(columns));
    if let Ok(class) = file.tensor(CLASS_TOKEN) {
        if class.dtype() != view.dtype() || class.shape() != [dim] {
            let found = format!("{:?} {:?}", class.dtype(), class.shape());
            return Err(damaged(
                path,
                format!("its class token is {found}, expected {:?} [{dim}]", view.dtype()),
            ));
        }
        values = [class.data(), view.data()].concat();
        count += 1;
    }
    let data = TensorData::from_bytes_vec(values, [1, count, dim], dtype);
    let tokens = Tensor::from_data(data.convert_dtype(DType::F32), (device, DType::F32));
    Ok(PatchTokens { tokens, grid: [rows, columns] })
}
