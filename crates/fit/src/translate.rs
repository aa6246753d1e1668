//! Translation of one image encoder into the space of another.

use sail_core::{HeadError, Side};
use sail_data::Pairs;
use sail_layers::Head;
use serde::Serialize;

use crate::FitError;
use crate::directions::Directions;
use crate::head::transposed;
use crate::moments::{Moments, Rows, for_each_block};

/// A head that takes the features of another image encoder.
#[derive(Debug)]
pub struct Translated {
    /// The head.
    pub head: Head,
    /// Number of images that the translation was fitted to.
    pub images: usize,
    /// Number of directions that are translated; the others are constant.
    pub directions: usize,
    /// The factor of the orthogonal map.
    pub scale: f64,
    /// How well it translates images that it was fitted to.
    pub fitted: Explained,
    /// How well it translates held-out images, if there are any.
    pub held_out: Option<Explained>,
}

/// The quality of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Explained {
    /// Number of images.
    pub images: usize,
    /// The part of the variance of the features that their translations have: 1 minus the mean squared error over that of the
    /// mean of the fitted images. At most 1; negative if the mean is closer than the translations.
    pub variance: f64,
}

/// Moves an image encoder under a head that was trained on another one, without captions, by scaled orthogonal Procrustes
/// (Schönemann 1966; Schönemann and Carroll 1970) between their features for the same images.
///
/// With `x` the centred features of an image by the new encoder and `y` those by the encoder of the head, and the singular value
/// decomposition `U S V^T` of the cross-covariance, the translation is `s x U V^T + mean of y`, with
/// `s = tr S / tr cov(x U)`: of all orthogonal maps with a factor, the one with the least squared error. The head then projects the
/// translation as it did `y`. If the new encoder has more dimensions, it is projected onto as many as the other has; if it has
/// fewer, its translations span a part of the space.
///
/// `pairs` are images by the new encoder and, in the place of captions, by the encoder of the head; `holdout` are others, on
/// which the translation is tested. The head keeps the record of the pairs that its training held out.
///
/// # Errors
/// [`FitError::Head`] if the features are not those that the head takes, [`FitError::TranslatedTwice`],
/// and those of [`FitConfig::fit`](crate::FitConfig::fit).
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use burn::tensor::Device;
/// use sail_data::{MatrixFeatures, Pairs};
/// use sail_layers::{Head, HeadConfig, ProjectorConfig};
///
/// let head = Head::new(&HeadConfig::new(3, 5, 4, ProjectorConfig::GLU), 0, &Device::flex())?;
/// // The features of the other encoder are those of the first in another order, doubled.
/// let value = |row: usize, column: usize| ((row * 7 + column * column + 1) as f32).sin();
/// let old = MatrixFeatures::new(3, (0..60).map(|i| value(i / 3, i % 3)).collect())?;
/// let new = MatrixFeatures::new(3, (0..60).map(|i| 2.0 * value(i / 3, 2 - i % 3)).collect())?;
/// let pairs = Pairs::new(Arc::new(new), vec![Arc::new(old)])?;
/// let found = sail_fit::translate(head, &pairs, None)?;
/// assert!((found.scale - 0.5).abs() < 1e-6 && found.fitted.variance > 0.999);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn translate(head: Head, pairs: &Pairs, holdout: Option<&Pairs>) -> Result<Translated, FitError> {
    let (new, old) = (pairs.images(), pairs.captions(0));
    head.accepts(Side::Image, old.dim(), old.provenance())?;
    let side = head.config().image.as_ref().ok_or(HeadError::MissingSide { side: Side::Image })?;
    if side.translation.is_some() {
        return Err(FitError::TranslatedTwice);
    }
    let moments = Moments::new(pairs, Rows::Raw)?;
    let Directions { left, right, values } = Directions::new(moments.cross.as_ref(), None)?;
    // tr(U^T Cx U), the variance of the directions that are mapped.
    let mapped = &moments.image.covariance * &left;
    let variance: f64 = left.col_iter().zip(mapped.col_iter()).map(|(u, cu)| u.transpose() * cu).sum();
    let scale = values.iter().sum::<f64>() / variance;
    let matrix = faer::Scale(scale) * (&left * right.transpose());
    let [from, to] = [&moments.image.mean, &moments.text.mean];
    let bias: Vec<f64> = to
        .iter()
        .zip(matrix.col_iter())
        .map(|(to, column)| to - from.iter().zip(column.iter()).map(|(a, b)| a * b).sum::<f64>())
        .collect();
    let explained = |pairs: &Pairs| -> Result<Explained, FitError> {
        let (mut errors, mut squares, mut images) = (0.0, 0.0, 0);
        for_each_block(pairs, Rows::Raw, |[x, y]| {
            let rows = x.len() / from.len();
            let x = faer::MatRef::from_row_major_slice(&x, rows, from.len());
            let found = x * &matrix;
            for (row, y) in y.chunks_exact(to.len()).enumerate() {
                for (column, y) in y.iter().enumerate() {
                    errors += (found[(row, column)] + bias[column] - y).powi(2);
                    squares += (y - to[column]).powi(2);
                }
            }
            images += rows;
        })?;
        Ok(Explained { images, variance: 1.0 - errors / squares })
    };
    let fitted = explained(pairs)?;
    let held_out = holdout.filter(|pairs| !pairs.is_empty()).map(explained).transpose()?;
    let bias = bias.into_iter().map(|value| value as f32).collect();
    Ok(Translated {
        head: head.with_translated_images(transposed(&matrix), bias, new.provenance())?,
        images: moments.pairs,
        directions: values.len(),
        scale,
        fitted,
        held_out,
    })
}
