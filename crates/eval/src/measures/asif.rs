//! Alignment without training: similarities to known pairs.

use burn::tensor::{DType, Tensor, TensorData};
use sail_core::ensure;

use super::moments::check_pairs;
use crate::top_k::search;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError};

/// ASIF (Norelli et al. 2023, arXiv 2210.01738): represents an image by its similarities to a set of anchor images, and a
/// text by its similarities to the captions of these anchors.
///
/// Only the `k` highest similarities of a row are kept, negative ones as 0, and raised to the power `power`. The paper
/// uses `k = 800` of 1.6 million pairs and `power = 8`.
///
/// A row without a positive similarity would be all zeros, which no metric accepts. It is represented by a component of
/// its own side instead, which is orthogonal to every row of the other side: retrieval counts it as a miss.
#[derive(Debug, Clone)]
pub struct Asif {
    images: Tensor<2>,
    texts: Tensor<2>,
    k: usize,
    power: i32,
}

impl Asif {
    /// Creates an aligner with these pairs as anchors.
    ///
    /// # Shapes
    /// - images: `[anchors, image_dim]`
    /// - texts: `[anchors, text_dim]`, row `i` paired with row `i` of the images
    ///
    /// # Errors
    /// [`EvalError`] for sets that are empty or differ in length, if `k` is not 1 to the number of anchors, and if `power`
    /// is below 1.
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
        ensure((1..=anchors).contains(&k), "k", k, format_args!("1 to {anchors}, the number of anchors"))?;
        ensure(power >= 1, "power", power, "at least 1")?;
        Ok(Self { images, texts, k, power })
    }

    /// Represents images by their similarities to the anchors, on the device of the images.
    ///
    /// # Shapes
    /// - images: `[n, image_dim]`
    /// - output: `[n, anchors + 2]`, not normalised; the last two components are those of images and texts without a
    ///   positive similarity
    ///
    /// # Errors
    /// [`EvalError`] for features with another dimension, that are not finite or all zeros, and if the device fails.
    pub fn embed_images(&self, images: Tensor<2>) -> Result<Tensor<2>, EvalError> {
        self.embed(images, &self.images, 0)
    }

    /// Represents texts by their similarities to the anchors; see [`embed_images`](Self::embed_images).
    ///
    /// # Errors
    /// Those of [`embed_images`](Self::embed_images).
    pub fn embed_texts(&self, texts: Tensor<2>) -> Result<Tensor<2>, EvalError> {
        self.embed(texts, &self.texts, 1)
    }

    fn embed(&self, rows: Tensor<2>, anchors: &Tensor<2>, side: usize) -> Result<Tensor<2>, EvalError> {
        let rows = UnitRows::new(rows, ["image", "text"][side])?;
        let anchors = UnitRows::new(anchors.clone(), "anchor")?;
        same_dim(&rows, &anchors)?;
        let (height, width) = (rows.len(), anchors.len() + 2);
        let mut values = vec![0.0f32; height * width];
        let mut row_of_match = (0..height).flat_map(|row| std::iter::repeat_n(row, self.k));
        search(&rows, &anchors, self.k, false, &BlockSize::SEARCH, |found| {
            if let Some(row) = row_of_match.next() {
                values[row * width + found.index] = found.score.max(0.0).powi(self.power);
            }
        })?;
        for row in values.chunks_exact_mut(width).filter(|row| row.iter().all(|&value| value == 0.0)) {
            row[anchors.len() + side] = 1.0;
        }
        let values = TensorData::new(values, [height, width]);
        Ok(Tensor::from_data(values, (&rows.device(), DType::F32)))
    }
}
