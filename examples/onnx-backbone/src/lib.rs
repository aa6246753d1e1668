//! A backbone from an ONNX file, in use as any other.
//!
//! The build script turns `model/tiny_vit.onnx`, which `model/generate_tiny_vit.py` exported from PyTorch, into a burn
//! module by [burn-onnx](https://docs.rs/burn-onnx); nothing of ONNX is left in the program. Here the module becomes
//! an [`ImageEncoder`] and, with its preprocessing and a pooling, a [`VisionTower`]. The model is a Vision Transformer
//! of two layers with random weights: it shows the way and recognises nothing.
//!
//! For a model of your own, export it with its class token and its patch tokens as outputs (or its pooled output, where
//! it has no tokens), and change the numbers of [`TinyVit`].
//!
//! # Examples
//! ```
//! use burn::tensor::Device;
//! use sail_core::{ImagePooling, RgbImage};
//!
//! let tower = onnx_backbone::tower(ImagePooling::Concat, &Device::flex());
//! let features = tower.embed_images(&[RgbImage::new(32, 32)])?;
//! assert_eq!(features.dims(), [1, 64]);
//! assert_eq!(tower.provenance().to_string(), "tiny-vit-onnx (concat)");
//! # Ok::<(), sail_core::TowerError>(())
//! ```

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::{
    EncodeError, ImageEncoder, ImageFeatures, ImagePooling, ImagePreprocessor, InputError, PatchTokens,
    Pixels, Provenance, RgbImage, VisionTower,
};

/// What the build script wrote. Its style is not this workspace's.
#[allow(clippy::all, clippy::panic, clippy::unwrap_used, dead_code, unreachable_pub)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/model/tiny_vit.rs"));
}

/// Height and width of the images that the model takes.
const SIZE: usize = 32;

/// Rows and columns of its patches.
const GRID: [usize; 2] = [4, 4];

/// The model of the ONNX file as a backbone: a class token and 4 x 4 patch tokens of 32 numbers.
#[derive(Debug)]
pub struct TinyVit(generated::Model);

impl TinyVit {
    /// The model with the weights of the ONNX file, which are part of the program.
    pub fn new(device: &Device) -> Self {
        Self(generated::Model::from_embedded(device))
    }
}

impl ImageEncoder for TinyVit {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let found = pixels.dims();
        if found[1..] != [3, SIZE, SIZE] {
            let expected = format!("[batch, 3, {SIZE}, {SIZE}]");
            return Err(EncodeError::Shape { what: "pixels", found: found.to_vec(), expected });
        }
        let (class_token, tokens) = self.0.forward(pixels);
        let patches = PatchTokens { tokens, grid: GRID };
        Ok(ImageFeatures { class_token: Some(class_token), patches: Some(patches), pooled: None })
    }
}

/// Images of the model's own size, with values from -1 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Centred;

impl ImagePreprocessor for Centred {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size = [image.height() as usize, image.width() as usize];
        if size != [SIZE, SIZE] {
            let [height, width] = size;
            let message =
                format!("the image has {width} x {height} pixels, expected {SIZE} x {SIZE}: resize it first");
            return Err(InputError(message));
        }
        let channel = |c: usize| image.pixels().map(move |pixel| f32::from(pixel.0[c]) / 127.5 - 1.0);
        Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
    }

    fn describe(&self) -> String {
        format!("{SIZE} x {SIZE}, / 127.5 - 1")
    }
}

/// The backbone with its preprocessing and a pooling: images in, rows out.
pub fn tower(pooling: ImagePooling, device: &Device) -> VisionTower {
    VisionTower {
        encoder: Arc::new(TinyVit::new(device)),
        preprocessor: Arc::new(Centred),
        pooling,
        model: Provenance::new("tiny-vit-onnx"),
        device: device.clone(),
    }
}
