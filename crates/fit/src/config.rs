//! The configuration of a fit.

use sail_core::{Check, ConfigError, Named, ensure};
use serde::{Deserialize, Serialize};

/// Which side is predicted from the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Images are mapped into the space of the text features.
    #[default]
    ImageToText,
    /// Texts are mapped into the space of the image features.
    TextToImage,
}

impl Named for Direction {
    const ALL: &'static [Self] = &[Self::ImageToText, Self::TextToImage];

    fn name(self) -> &'static str {
        match self {
            Self::ImageToText => "image-to-text",
            Self::TextToImage => "text-to-image",
        }
    }
}

sail_core::display_and_parse_by_name!(Direction, "direction");

/// A method in closed form, with its settings.
///
/// `x` and `y` are centred rows of a pair after LayerNorm, `Cx` and `Cy` their covariances and `Cxy` the cross-covariance.
/// `dim` is the maximum embedding dimension, without a limit for `None`. `regularization` is `r` in `C + r (tr C / d) I`, above
/// 0; `None` chooses it by generalized cross-validation.
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_fit::FitConfig;
/// FitConfig::CCA.check()?;
/// let config = FitConfig::Cca { dim: None, regularization: Some(0.0) };
/// assert_eq!(config.check().unwrap_err().to_string(), "`regularization` is 0, expected a finite value above 0");
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum FitConfig {
    /// Orthogonal Procrustes (Schönemann 1966): with the singular value decomposition `U S V^T` of `Cxy`, an image is mapped to
    /// `x U` and a text to `y V`. These are the orthogonal maps with the largest sum of inner products of pairs, and the
    /// teacher of SOTAlign (arXiv 2602.23353). Of different dimensions, the smaller is that of the shared space: the wider side
    /// is projected onto as many of its directions as the narrower side has. Directions without covariance are left out.
    Procrustes {
        /// Maximum embedding dimension.
        #[serde(default)]
        dim: Option<usize>,
    },
    /// Canonical correlation analysis (Hotelling 1936), regularized: with the singular value decomposition `U S V^T` of
    /// `Cx^-1/2 Cxy Cy^-1/2`, an image is mapped to `x Cx^-1/2 U S` and a text to `y Cy^-1/2 V S`. Scaling by the correlations
    /// `S` improves retrieval (Gong et al. 2014, arXiv 1212.4522). Both sides have the same `r`; cross-validation takes the
    /// lower of the two that it chooses for predicting texts from images and images from texts.
    Cca {
        /// Maximum embedding dimension.
        #[serde(default)]
        dim: Option<usize>,
        /// Regularization of both covariances.
        #[serde(default)]
        regularization: Option<f64>,
    },
    /// CSA (Li et al. 2024, arXiv 2410.07610): the similarity is `sum_d s_d x_d y_d`, where `x` and `y` are rows in the first
    /// `dim` directions of CCA, not scaled, with unit length, and `s` are the correlations. See
    /// [`WeightedCosine`](sail_layers::WeightedCosine). Regularized as CCA.
    Csa {
        /// Maximum number of directions.
        #[serde(default)]
        dim: Option<usize>,
        /// Regularization of both covariances.
        #[serde(default)]
        regularization: Option<f64>,
    },
    /// Ridge regression (Hoerl and Kennard 1970) of one side on the other: `x Cx^-1 Cxy` is compared with `y`, or `y Cy^-1 Cyx`
    /// with `x`, where the inverted covariance is regularized.
    Ridge {
        /// Which side is predicted.
        #[serde(default)]
        direction: Direction,
        /// Regularization of the covariance of the predictor, its penalty relative to the mean variance.
        #[serde(default)]
        regularization: Option<f64>,
    },
}

impl FitConfig {
    /// Procrustes with the defaults.
    pub const PROCRUSTES: Self = Self::Procrustes { dim: None };
    /// CCA with the defaults.
    pub const CCA: Self = Self::Cca { dim: None, regularization: None };
    /// CSA with the defaults.
    pub const CSA: Self = Self::Csa { dim: None, regularization: None };
    /// Ridge regression of texts on images with the defaults.
    pub const RIDGE: Self = Self::Ridge { direction: Direction::ImageToText, regularization: None };

    /// Returns the value of `method` in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Procrustes { .. } => "procrustes",
            Self::Cca { .. } => "cca",
            Self::Csa { .. } => "csa",
            Self::Ridge { .. } => "ridge",
        }
    }
}

impl Check for FitConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let (dim, regularization) = match *self {
            Self::Procrustes { dim } => (dim, None),
            Self::Cca { dim, regularization } | Self::Csa { dim, regularization } => (dim, regularization),
            Self::Ridge { regularization, .. } => (None, regularization),
        };
        if let Some(dim) = dim {
            ensure(dim > 0, "dim", dim, "at least 1")?;
        }
        let Some(r) = regularization else { return Ok(()) };
        ensure(r > 0.0 && r.is_finite(), "regularization", r, "a finite value above 0")
    }
}
