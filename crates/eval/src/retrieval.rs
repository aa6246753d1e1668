//! Image-text retrieval, both ways.

use burn::tensor::Tensor;
use sail_core::Check;
use serde::{Deserialize, Serialize};

use crate::tiles::rank_both_ways;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError, RetrievalScores};

/// How well images find their texts, and texts their images.
///
/// Serialises as `{"i2t": {..}, "t2i": {..}, "n_images": .., "n_texts": ..}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Image to text: one query an image.
    pub i2t: RetrievalScores,
    /// Text to image: one query a text.
    pub t2i: RetrievalScores,
    /// How many images there are.
    pub n_images: usize,
    /// How many texts there are.
    pub n_texts: usize,
}

/// Image-text retrieval by cosine, as on COCO and Flickr30k, with any number of texts for an image.
///
/// * Image to text: the rank of an image is 1 plus the number of texts of *other* images that score at least as
///   high as the best of its own texts. Recall at k thus counts a hit if *any* own text is among the first k.
/// * Text to image: the rank of a text is 1 plus the number of other images that score at least as high as its
///   own image.
///
/// "At least as high" means up to [`TIE_TOLERANCE`](crate::TIE_TOLERANCE), 1e-6 of cosine: ties count against,
/// so embeddings that have collapsed to a point score 0 and not 100. With a single image there is nothing to
/// confuse and both directions give 100.
///
/// The embeddings need not be normalised. Memory beyond them is a few blocks of the size that `block` gives;
/// the matrix of scores is multiplied once and never held whole. The time is that of the product, save for
/// embeddings so close to one point that most pairs have to be looked at again in f64: several times that.
///
/// # Shapes
/// - images: `[n_images, dim]`
/// - texts: `[n_texts, dim]`
/// - text_to_image: for each text, the row of its image
///
/// # Errors
/// [`EvalError`] when a side is empty or the two differ in dimension; when `text_to_image` has another length
/// than the texts or names an image that is not there; when an image has no text; when an embedding is not
/// finite or all zeros; and when the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, retrieval};
/// let device = Device::flex();
/// let images = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// // Two captions of the first image, the second of them misleading, and one of the second image.
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

/// The rank of every query's right answer, counted from 1: what [`retrieval`] summarises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrievalRanks {
    /// Image to text: for each image, the rank of the best of its texts.
    pub i2t: Vec<usize>,
    /// Text to image: for each text, the rank of its image.
    pub t2i: Vec<usize>,
}

impl RetrievalRanks {
    /// Ranks both ways, as [`retrieval`] defines it.
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
        check_correspondence(text_to_image, images.len(), texts.len())?;
        let ranks = rank_both_ways(&images, &texts, text_to_image, block)?;
        Ok(Self { i2t: ranks.rows, t2i: ranks.columns })
    }

    /// Recalls and ranks of both directions.
    ///
    /// # Errors
    /// [`EvalError::Empty`] without a rank.
    pub fn scores(&self) -> Result<Retrieval, EvalError> {
        Ok(Retrieval {
            i2t: RetrievalScores::from_ranks(&self.i2t)?,
            t2i: RetrievalScores::from_ranks(&self.t2i)?,
            n_images: self.i2t.len(),
            n_texts: self.t2i.len(),
        })
    }
}

fn check_correspondence(text_to_image: &[usize], n_images: usize, n_texts: usize) -> Result<(), EvalError> {
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
