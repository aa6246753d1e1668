//! Alignment without any fit: similarities to known pairs.

use burn::tensor::{DType, Tensor, TensorData};
use sail_core::ensure;

use super::moments::check_pairs;
use crate::top_k::search;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError};

/// ASIF (Norelli et al., 2023, arXiv 2210.01738): an image is described by how similar it is to each of some known
/// images, a text by how similar it is to each of their captions, and these two lists are compared.
///
/// Of the similarities of a row only the `k` highest are kept, negative ones as 0, and raised to the power `power`.
/// The paper takes `k = 800` of 1.6 million pairs and `power = 8`.
#[derive(Debug, Clone)]
pub struct Asif {
    images: Tensor<2>,
    texts: Tensor<2>,
    k: usize,
    power: i32,
}

impl Asif {
    /// Takes known pairs as anchors.
    ///
    /// # Shapes
    /// - images: `[anchors, image_dim]`
    /// - texts: `[anchors, text_dim]`, row `i` paired with row `i` of the images
    ///
    /// # Errors
    /// [`EvalError`] for sets of different lengths or without rows, a `k` that is 0 or more than the anchors, and a
    /// `power` below 1.
    ///
    /// # Examples
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// let known = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &Device::flex());
    /// let asif = sail_eval::Asif::new(known.clone(), known.clone().flip([1]), 2, 2)?;
    /// let image = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
    /// let found = asif.embed_images(image)?.into_data().try_to_vec::<f32>()?;
    /// assert!((found[0] - 0.36).abs() < 1e-6 && (found[1] - 0.64).abs() < 1e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(images: Tensor<2>, texts: Tensor<2>, k: usize, power: i32) -> Result<Self, EvalError> {
        let first = UnitRows::new(images.clone(), "anchor image")?;
        check_pairs(&first, &UnitRows::new(texts.clone(), "anchor text")?, 1)?;
        let anchors = first.len();
        ensure((1..=anchors).contains(&k), "k", k, format_args!("1 to {anchors}, the anchors"))?;
        ensure(power >= 1, "power", power, "at least 1")?;
        Ok(Self { images, texts, k, power })
    }

    /// Describes images by the anchors, on their device.
    ///
    /// # Shapes
    /// - images: `[n, image_dim]`
    /// - result: `[n, anchors]`, not normalised
    ///
    /// # Errors
    /// [`EvalError`] for features of another size, that are not finite or all zeros, and when the device fails.
    pub fn embed_images(&self, images: Tensor<2>) -> Result<Tensor<2>, EvalError> {
        self.embed(images, &self.images, "image")
    }

    /// Describes texts by the anchors: [`embed_images`](Self::embed_images) for the other side.
    ///
    /// # Errors
    /// Those of [`embed_images`](Self::embed_images).
    pub fn embed_texts(&self, texts: Tensor<2>) -> Result<Tensor<2>, EvalError> {
        self.embed(texts, &self.texts, "text")
    }

    fn embed(
        &self,
        rows: Tensor<2>,
        anchors: &Tensor<2>,
        what: &'static str,
    ) -> Result<Tensor<2>, EvalError> {
        let rows = UnitRows::new(rows, what)?;
        let anchors = UnitRows::new(anchors.clone(), "anchor")?;
        same_dim(&rows, &anchors)?;
        let (height, width) = (rows.len(), anchors.len());
        let mut values = vec![0.0f32; height * width];
        let mut lists = (0..height).flat_map(|row| std::iter::repeat_n(row, self.k));
        search(&rows, &anchors, self.k, false, &BlockSize::SEARCH, |found| {
            if let Some(row) = lists.next() {
                values[row * width + found.index] = found.score.max(0.0).powi(self.power);
            }
        })?;
        let values = TensorData::new(values, [height, width]);
        Ok(Tensor::from_data(values, (&rows.device(), DType::F32)))
    }
}
