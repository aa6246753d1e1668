//! Image-text retrieval in both directions.

use burn::tensor::Tensor;
use sail_core::Check;
use serde::{Deserialize, Serialize};

use crate::tiles::rank_both_ways;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError, RetrievalScores};

/// Scores of image-text retrieval in both directions.
///
/// Serialises as `{"i2t": {..}, "t2i": {..}, "n_images": .., "n_texts": ..}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Image to text: one query per image.
    pub i2t: RetrievalScores,
    /// Text to image: one query per text.
    pub t2i: RetrievalScores,
    /// Number of images.
    pub n_images: usize,
    /// Number of texts.
    pub n_texts: usize,
}

/// Computes image-text retrieval by cosine, as on COCO and Flickr30k, with any number of texts per image.
///
/// * Image to text: the rank of an image is 1 plus the number of texts of *other* images that score at least as high as
///   the best text of the image. So R@k counts a hit if *any* text of the image is among the first k.
/// * Text to image: the rank of a text is 1 plus the number of other images that score at least as high as the image of
///   the text.
///
/// "At least as high" means up to [`TIE_TOLERANCE`](crate::TIE_TOLERANCE), a cosine of 1e-6: ties count as errors, so
/// embeddings that have collapsed to a point score 0 and not 100. With a single image both directions score 100.
///
/// The embeddings need not be normalised. The matrix of scores is computed in blocks of size `block` and never held. The
/// time is that of the matrix product, or several times that if most embeddings are so close to one point that they have
/// to be compared in f64.
///
/// # Shapes
/// - images: `[n_images, dim]`
/// - texts: `[n_texts, dim]`
/// - text_to_image: for each text, the index of its image
///
/// # Errors
/// [`EvalError`] if a side is empty or the two differ in dimension, if `text_to_image` has the wrong length or an index out
/// of range, if an image has no text, if an embedding is not finite or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, retrieval};
/// let device = Device::flex();
/// let images = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// // Two captions of the first image, the second one closer to the other image, and a caption of the second image.
/// let texts = Tensor::<2>::from_floats([[3.0, 1.0], [1.0, 2.0], [0.0, 5.0]], &device);
/// let result = retrieval(images, texts, &[0, 0, 1], &BlockSize::default())?;
/// assert_eq!(result.i2t.r1, 100.0);
/// assert!((result.t2i.r1 - 200.0 / 3.0).abs() < 1e-9);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn retrieval(
    images: Tensor<2>,
    texts: Tensor<2>,
    text_to_image: &[usize],
    block: &BlockSize,
) -> Result<Retrieval, EvalError> {
    let _span =
        tracing::info_span!("retrieval", images = images.dims()[0], texts = texts.dims()[0]).entered();
    RetrievalRanks::new(images, texts, text_to_image, block)?.scores()
}

/// The rank of the correct answer of every query, counted from 1; [`retrieval`] summarises them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrievalRanks {
    /// Image to text: for each image, the rank of its best text.
    pub i2t: Vec<usize>,
    /// Text to image: for each text, the rank of its image.
    pub t2i: Vec<usize>,
}

impl RetrievalRanks {
    /// Computes the ranks of both directions as defined by [`retrieval`].
    ///
    /// # Errors
    /// Those of [`retrieval`].
    pub fn new(
        images: Tensor<2>,
        texts: Tensor<2>,
        text_to_image: &[usize],
        block: &BlockSize,
    ) -> Result<Self, EvalError> {
        block.check()?;
        let images = UnitRows::new(images, "image")?;
        let texts = UnitRows::new(texts, "text")?;
        same_dim(&images, &texts)?;
        check_text_to_image(text_to_image, images.len(), texts.len())?;
        let ranks = rank_both_ways(&images, &texts, text_to_image, block)?;
        Ok(Self { i2t: ranks.rows, t2i: ranks.columns })
    }

    /// Summarises the ranks of both directions.
    ///
    /// # Errors
    /// [`EvalError::Empty`] without ranks.
    pub fn scores(&self) -> Result<Retrieval, EvalError> {
        Ok(Retrieval {
            i2t: RetrievalScores::from_ranks(&self.i2t)?,
            t2i: RetrievalScores::from_ranks(&self.t2i)?,
            n_images: self.i2t.len(),
            n_texts: self.t2i.len(),
        })
    }
}

fn check_text_to_image(text_to_image: &[usize], n_images: usize, n_texts: usize) -> Result<(), EvalError> {
    if text_to_image.len() != n_texts {
        return Err(EvalError::Length {
            what: "image indices",
            found: text_to_image.len(),
            expected: n_texts,
            of: "text",
        });
    }
    let mut has_text = vec![false; n_images];
    for (text, &image) in text_to_image.iter().enumerate() {
        *has_text.get_mut(image).ok_or(EvalError::OutOfRange {
            what: "image",
            found: image,
            expected: n_images,
            of: "text",
            row: text,
        })? = true;
    }
    match has_text.iter().position(|has| !has) {
        Some(image) => Err(EvalError::ImageWithoutText { image }),
        None => Ok(()),
    }
}
