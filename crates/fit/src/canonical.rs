//! Canonical correlation analysis.

use faer::Mat;

use crate::directions::Directions;
use crate::moments::Moments;
use crate::spectrum::Spectrum;
use crate::{FitError, Regularization};

/// The directions of the largest correlations.
pub(crate) struct Canonical {
    /// `Cx^-1/2 U`, `[image dim, dim]`.
    pub(crate) image: Mat<f64>,
    /// `Cy^-1/2 V`, `[text dim, dim]`.
    pub(crate) text: Mat<f64>,
    /// The correlations in descending order, in 0 to 1.
    pub(crate) correlations: Vec<f64>,
    pub(crate) regularization: Regularization,
}

impl Canonical {
    pub(crate) fn new(
        moments: &Moments,
        dim: Option<usize>,
        regularization: Option<f64>,
    ) -> Result<Self, FitError> {
        let [x, y] = [Spectrum::new(&moments.image)?, Spectrum::new(&moments.text)?];
        let cross = &moments.cross;
        let regularization = Regularization::or_choose(regularization, || {
            let of_images =
                x.cross_validate(&x.rotate(cross.as_ref()), moments.text.variance(), moments.pairs);
            let of_texts =
                y.cross_validate(&y.rotate(cross.transpose()), moments.image.variance(), moments.pairs);
            of_images.min(of_texts)
        });
        let r = regularization.value;
        // In the coordinates of the eigenvectors, which are turned back at the end.
        let left = x.scale(r, -0.5, &x.rotate(cross.as_ref()));
        let whitened = y.scale(r, -0.5, &y.rotate(left.transpose()));
        let Directions { left, right, values } = Directions::new(whitened.transpose(), dim)?;
        Ok(Self {
            image: x.apply(r, -0.5, &left),
            text: y.apply(r, -0.5, &right),
            // Rounding errors may lead out of the range.
            correlations: values.into_iter().map(|value| value.min(1.0)).collect(),
            regularization,
        })
    }

    /// Both maps with their directions scaled by the correlations.
    pub(crate) fn scaled(&self) -> [Mat<f64>; 2] {
        [&self.image, &self.text].map(|m| {
            Mat::from_fn(m.nrows(), m.ncols(), |row, column| m[(row, column)] * self.correlations[column])
        })
    }
}
