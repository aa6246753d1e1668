//! Fits of heads to pairs.

use std::fmt;

use burn::tensor::Device;
use sail_core::{Check, Side};
use sail_data::Pairs;
use sail_layers::{Head, Holdout};
use serde::Serialize;

use crate::canonical::Canonical;
use crate::directions::Directions;
use crate::head::{SideMap, make};
use crate::moments::{Moments, Rows};
use crate::ridge::ridge;
use crate::{Direction, FitConfig, FitError, Regularization};

/// What a fit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitSummary {
    /// The method.
    pub method: &'static str,
    /// Number of pairs of an image and a caption.
    pub pairs: usize,
    /// Dimension of the image features.
    pub image_dim: usize,
    /// Dimension of the text features.
    pub text_dim: usize,
    /// Number of directions in which both sides are compared.
    pub directions: usize,
    /// The sides whose covariance is inverted and has no inverse without the regularization, because there are not more rows
    /// than dimensions.
    pub underdetermined: Vec<Side>,
    /// The regularization; Procrustes has none.
    pub regularization: Option<Regularization>,
    /// Canonical correlations of the training pairs in descending order, regularized, for CCA and CSA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlations: Option<Vec<f64>>,
}

impl fmt::Display for FitSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, pairs, image_dim, text_dim, directions, .. } = self;
        write!(f, "{method} on {pairs} pairs: {image_dim} + {text_dim} -> {directions} directions")?;
        match self.regularization {
            Some(Regularization { value, cross_validated }) => {
                let by = if cross_validated { "by cross-validation" } else { "as given" };
                write!(f, ", regularization {value:.3e} {by}")?;
            }
            None => write!(f, ", no regularization")?,
        }
        for side in &self.underdetermined {
            let reason = "only the regularization makes their covariance invertible";
            write!(f, "; fewer {side}s than their dimensions: {reason}")?;
        }
        Ok(())
    }
}

/// A head that was fitted in closed form.
#[derive(Debug)]
pub struct Fit {
    /// The head, with the provenance of the features.
    pub head: Head,
    /// What the fit found.
    pub summary: FitSummary,
}

impl FitConfig {
    /// Fits a head to pairs, an image with each of its captions in all sets.
    ///
    /// The head does not record a holdout: see [`fit_with_holdout`](Self::fit_with_holdout). The order of the pairs affects
    /// rounding only.
    ///
    /// # Errors
    /// [`FitError::Config`], which is checked first; [`FitError::TooFew`] for less than 2 pairs; [`FitError::Constant`] and
    /// [`FitError::Uncorrelated`] for features that cannot be aligned; [`FitError::Features`] for a row that cannot be read, is
    /// not finite or all zeros; and [`FitError::Decomposition`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use burn::tensor::Device;
    /// use sail_data::{MatrixFeatures, Pairs};
    /// use sail_fit::FitConfig;
    ///
    /// // The text features are the image features in another order.
    /// let value = |row: usize, column: usize| ((row * 7 + column * column + 1) as f32).sin();
    /// let images = (0..40 * 6).map(|i| value(i / 6, i % 6)).collect();
    /// let texts = (0..40 * 6).map(|i| value(i / 6, 5 - i % 6)).collect();
    /// let features = |values| Ok::<_, sail_data::DataError>(Arc::new(MatrixFeatures::new(6, values)?));
    /// let pairs = Pairs::new(features(images)?, vec![features(texts)?])?;
    /// let fit = FitConfig::PROCRUSTES.fit(&pairs, &Device::flex())?;
    /// fit.head.save(std::env::temp_dir().join("procrustes.safetensors"))?;
    /// println!("{}", fit.summary);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit(&self, pairs: &Pairs, device: &Device) -> Result<Fit, FitError> {
        self.check()?;
        let moments = Moments::new(pairs, Rows::Normalized)?;
        let [image, text] = [&moments.image, &moments.text];
        let sides = |[x, y]: [Option<faer::Mat<f64>>; 2]| {
            [SideMap { mean: &image.mean, matrix: x }, SideMap { mean: &text.mean, matrix: y }]
        };
        let (maps, directions, regularization, correlations) = match *self {
            Self::Procrustes { dim } => {
                let Directions { left, right, values } = Directions::new(moments.cross.as_ref(), dim)?;
                (sides([Some(left), Some(right)]), values.len(), None, None)
            }
            Self::Cca { dim, regularization } | Self::Csa { dim, regularization } => {
                let found = Canonical::new(&moments, dim, regularization)?;
                let maps = match self {
                    Self::Csa { .. } => [found.image, found.text],
                    _ => found.scaled(),
                };
                let directions = found.correlations.len();
                (sides(maps.map(Some)), directions, Some(found.regularization), Some(found.correlations))
            }
            Self::Ridge { direction, regularization } => {
                let (predictor, predicted, cross) = match direction {
                    Direction::ImageToText => (image, text, moments.cross.as_ref()),
                    Direction::TextToImage => (text, image, moments.cross.transpose()),
                };
                let (map, regularization) =
                    ridge(predictor, predicted, cross, moments.pairs, regularization)?;
                let directions = map.ncols();
                let maps = match direction {
                    Direction::ImageToText => [Some(map), None],
                    Direction::TextToImage => [None, Some(map)],
                };
                (sides(maps), directions, Some(regularization), None)
            }
        };
        let weights = correlations.as_deref().filter(|_| matches!(self, Self::Csa { .. }));
        let [image_map, text_map] = maps;
        let head = make(image_map, text_map, weights, device)?;
        let inverted = match *self {
            Self::Procrustes { .. } => vec![],
            Self::Cca { .. } | Self::Csa { .. } => vec![Side::Image, Side::Text],
            Self::Ridge { direction: Direction::ImageToText, .. } => vec![Side::Image],
            Self::Ridge { direction: Direction::TextToImage, .. } => vec![Side::Text],
        };
        // An image with several captions is in several pairs, and adds one row to the rank.
        let underdetermined = |side: &Side| match side {
            Side::Image => pairs.len() <= image.mean.len(),
            Side::Text => moments.pairs <= text.mean.len(),
        };
        let summary = FitSummary {
            underdetermined: inverted.into_iter().filter(underdetermined).collect(),
            method: self.name(),
            pairs: moments.pairs,
            image_dim: image.mean.len(),
            text_dim: text.mean.len(),
            directions,
            regularization,
            correlations,
        };
        Ok(Fit {
            head: head.with_provenance(pairs.images().provenance(), pairs.captions(0).provenance()),
            summary,
        })
    }

    /// Holds out pairs as a training does ([`Pairs::split`]), fits the head to the others, and records the holdout in it.
    /// Returns the held-out pairs as well.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit), and [`FitError::Data`] if no pair is left.
    pub fn fit_with_holdout(
        &self,
        pairs: &Pairs,
        holdout: usize,
        seed: u64,
        device: &Device,
    ) -> Result<(Fit, Pairs), FitError> {
        self.check()?;
        let split = pairs.split(holdout, seed)?;
        let Fit { head, summary } = self.fit(&split.train, device)?;
        let record = Holdout { rows: holdout, seed, keys_sha256: split.holdout_sha256 };
        Ok((Fit { head: head.with_holdout(Some(record)), summary }, split.holdout))
    }
}
