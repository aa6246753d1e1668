//! Means and covariances of pairs, in f64 and in blocks.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, get_global_parallelism};
use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, HeadError, Side, gather_checked};
use sail_data::Pairs;
use sail_layers::ProjectorConfig;
use sail_support::ranges;

use crate::FitError;

/// Rows per block.
const ROWS: usize = 2048;
/// That of the head's LayerNorm.
const EPSILON: f64 = 1e-5;

/// What is done to a row before its moments are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The LayerNorm of the head, without gain and bias.
    Normalized,
    /// Nothing.
    Raw,
}

/// Largest rounding error of a sum of squares, relative to the sum.
const ROUNDING: f64 = 1e-12;

/// Mean and covariance of the rows of one side.
pub(crate) struct SideMoments {
    pub(crate) mean: Vec<f64>,
    /// `[dim, dim]`.
    pub(crate) covariance: Mat<f64>,
}

/// The first and second moments of pairs: an image with each caption of every set.
pub(crate) struct Moments {
    /// Number of pairs of an image and a caption.
    pub(crate) pairs: usize,
    pub(crate) image: SideMoments,
    pub(crate) text: SideMoments,
    /// The cross-covariance, `[image dim, text dim]`.
    pub(crate) cross: Mat<f64>,
}

impl Moments {
    /// Reads the pairs twice, the second time to sum up centred rows, which are small beside their mean.
    pub(crate) fn new(pairs: &Pairs, rows: Rows) -> Result<Self, FitError> {
        let sides: [(Side, &dyn FeatureSource); 2] =
            [(Side::Image, &**pairs.images()), (Side::Text, &**pairs.captions(0))];
        for (side, features) in sides {
            if let Some(found) = features.provenance().and_then(|provenance| provenance.tokens) {
                return Err(
                    HeadError::Tokens { side, projector: ProjectorConfig::Linear {}.name(), found }.into()
                );
            }
        }
        let dims = sides.map(|(_, features)| features.dim());
        let mut count = 0;
        let mut means = dims.map(|dim| vec![0.0; dim]);
        for_each_block(pairs, rows, |blocks| {
            count += blocks[0].len() / dims[0];
            for (mean, block) in means.iter_mut().zip(&blocks) {
                for row in block.chunks_exact(mean.len()) {
                    mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
        })?;
        if count < 2 {
            return Err(FitError::TooFew { found: count });
        }
        means.iter_mut().flatten().for_each(|sum| *sum /= count as f64);

        let square = |dim| Mat::<f64>::zeros(dim, dim);
        let (mut image, mut text, mut cross) =
            (square(dims[0]), square(dims[1]), Mat::zeros(dims[0], dims[1]));
        let scale = 1.0 / count as f64;
        for_each_block(pairs, rows, |mut blocks| {
            for (mean, block) in means.iter().zip(&mut blocks) {
                block.par_chunks_exact_mut(mean.len()).for_each(|row| {
                    row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
                });
            }
            let [x, y] = [0, 1].map(|side| {
                let (block, dim): (&[f64], _) = (&blocks[side], dims[side]);
                MatRef::from_row_major_slice(block, block.len() / dim, dim)
            });
            let add = |sum: &mut Mat<f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>| {
                matmul(sum, Accum::Add, a.transpose(), b, scale, get_global_parallelism());
            };
            add(&mut image, x, x);
            add(&mut text, y, y);
            add(&mut cross, x, y);
        })?;
        let [image_mean, text_mean] = means;
        let image = SideMoments::new(Side::Image, image_mean, image)?;
        let text = SideMoments::new(Side::Text, text_mean, text)?;
        if cross.squared_norm_l2() <= ROUNDING * ROUNDING * image.variance() * text.variance() {
            return Err(FitError::Uncorrelated);
        }
        Ok(Self { pairs: count, image, text, cross })
    }
}

impl SideMoments {
    fn new(side: Side, mean: Vec<f64>, covariance: Mat<f64>) -> Result<Self, FitError> {
        let found = Self { mean, covariance };
        let square = found.mean.iter().map(|value| value * value).sum::<f64>();
        match found.variance() > ROUNDING * (found.variance() + square) {
            true => Ok(found),
            false => Err(FitError::Constant { side }),
        }
    }

    /// `tr C`, the mean squared distance of a row from the mean.
    pub(crate) fn variance(&self) -> f64 {
        self.covariance.diagonal().column_vector().iter().sum()
    }
}

/// Calls `visit` with blocks of image rows and caption rows, row-major, row `i` of one paired with row `i` of the other.
pub(crate) fn for_each_block(
    pairs: &Pairs,
    rows: Rows,
    mut visit: impl FnMut([Vec<f64>; 2]),
) -> Result<(), FeatureError> {
    for set in 0..pairs.caption_sets() {
        for range in ranges(pairs.len(), ROWS) {
            let captions_of = |pair: usize| pairs.caption_rows(set, pair).iter().map(move |&row| (pair, row));
            let (images, captions): (Vec<usize>, Vec<usize>) =
                range.flat_map(captions_of).map(|(pair, row)| (pairs.image_row(pair), row as usize)).unzip();
            // An image may have any number of captions.
            for (images, captions) in images.chunks(ROWS).zip(captions.chunks(ROWS)) {
                visit([
                    read(&**pairs.images(), images, rows)?,
                    read(&**pairs.captions(set), captions, rows)?,
                ]);
            }
        }
    }
    Ok(())
}

fn read(source: &dyn FeatureSource, indices: &[usize], rows: Rows) -> Result<Vec<f64>, FeatureError> {
    let dim = source.dim();
    let mut values = vec![0.0f32; indices.len() * dim];
    gather_checked(source, indices, &mut values)?;
    let mut values: Vec<f64> = values.into_par_iter().map(f64::from).collect();
    if rows == Rows::Normalized {
        values.par_chunks_exact_mut(dim).for_each(layer_norm);
    }
    Ok(values)
}

fn layer_norm(row: &mut [f64]) {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + EPSILON).sqrt();
    row.iter_mut().for_each(|value| *value = (*value - mean) * scale);
}
