//! The trained head: two sides and the logit scale.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, FloatDType, Tensor};
use sail_core::{AlignmentHead, Check, ConfigError, HeadError, Provenance, Side};

use crate::cast::Cast;
use crate::{HeadConfig, Holdout, LogitScale, Projector, SideConfig, WeightInit};

/// One side of a head: LayerNorm (optional) and projector.
#[derive(Module, Debug)]
pub struct HeadSide {
    norm: Option<LayerNorm>,
    projector: Projector,
    /// The dtype that the projector computes in.
    #[module(skip)]
    dtype: FloatDType,
}

impl HeadSide {
    fn new(config: &SideConfig, dim: usize, init: &mut WeightInit) -> Self {
        Self {
            norm: config.norm.then(|| LayerNormConfig::new(config.input).init(init.device())),
            projector: config.projector.init(config.input, dim, init),
            dtype: FloatDType::F32,
        }
    }

    /// Projects features of this side's backbone.
    ///
    /// # Shapes
    /// - features: `[batch, input]`
    /// - output: `[batch, dim]`, not normalised
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let features = match &self.norm {
            Some(norm) => norm.forward(features),
            None => features,
        };
        self.projector.forward(features.cast(self.dtype)).cast(FloatDType::F32)
    }

    /// Returns a copy whose projector computes in `dtype`. The norm stays in f32: a mean of squares may overflow f16.
    pub(crate) fn computing_in(&self, dtype: FloatDType) -> Option<Self> {
        match &self.projector {
            Projector::Identity(_) => Some(self.clone()),
            // Batch norm accumulates its statistics in the dtype of its parameters.
            Projector::ShareLock(_) => None,
            // It has norms of its own, and casts around them.
            Projector::ResidualMlp(layer) => {
                Some(Self { projector: Projector::ResidualMlp(layer.computing_in(dtype)), ..self.clone() })
            }
            projector => {
                let projector = projector.clone().map(&mut Cast(dtype));
                Some(Self { norm: self.norm.clone(), projector, dtype })
            }
        }
    }
}

/// The alignment head that SAIL trains between two frozen backbones.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::AlignmentHead;
/// use sail_layers::{Head, HeadConfig, ProjectorConfig};
///
/// let device = Device::flex();
/// let config = HeadConfig::new(1280, 384, 512, ProjectorConfig::Glu { width: 2 });
/// let head = Head::new(&config, 0, &device)?;
/// let embedded = head.project_images(Tensor::zeros([4, 1280], &device))?;
/// assert_eq!(embedded.dims(), [4, 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct Head {
    pub(crate) image: Option<HeadSide>,
    pub(crate) text: Option<HeadSide>,
    pub(crate) logit: LogitScale,
    #[module(skip)]
    pub(crate) config: HeadConfig,
    #[module(skip)]
    pub(crate) holdout: Option<Holdout>,
}

impl Head {
    /// Creates a head with initial weights drawn from `seed`.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration is invalid.
    pub fn new(config: &HeadConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        config.check()?;
        // One stream per side, so that the configuration of one side does not affect the weights of the other.
        let side = |side: &Option<SideConfig>, stream| {
            let build = |side| HeadSide::new(side, config.dim, &mut WeightInit::new(seed, stream, device));
            side.as_ref().map(build)
        };
        Ok(Self {
            image: side(&config.image, 1),
            text: side(&config.text, 2),
            logit: LogitScale::new(config.initial_scale, config.initial_bias, config.max_scale, device),
            config: config.clone(),
            holdout: None,
        })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &HeadConfig {
        &self.config
    }

    /// Returns the pairs that the training of the head held out, or `None` if they are unknown, as for a head that was saved by
    /// an earlier version.
    pub fn holdout(&self) -> Option<&Holdout> {
        self.holdout.as_ref()
    }

    /// Records the pairs that the training of the head holds out.
    pub fn with_holdout(mut self, holdout: Option<Holdout>) -> Self {
        self.holdout = holdout;
        self
    }

    pub(crate) fn side(&self, side: Side) -> Option<&SideConfig> {
        match side {
            Side::Image => self.config.image.as_ref(),
            Side::Text => self.config.text.as_ref(),
        }
    }

    /// Records the backbones that the head is trained on; `None` keeps the recorded one.
    pub fn with_provenance(mut self, image: Option<&Provenance>, text: Option<&Provenance>) -> Self {
        let sides = [(&mut self.config.image, image), (&mut self.config.text, text)];
        for (side, provenance) in sides {
            if let (Some(side), Some(provenance)) = (side, provenance) {
                side.trained_on = Some(provenance.clone());
            }
        }
        self
    }

    /// Checks that a side accepts features of this dimension and provenance.
    ///
    /// Without a provenance of the features or of the head, only the dimension is checked.
    ///
    /// # Errors
    /// [`HeadError::MissingSide`], [`HeadError::Dimension`] or [`HeadError::Provenance`].
    pub fn accepts(&self, side: Side, dim: usize, provenance: Option<&Provenance>) -> Result<(), HeadError> {
        let config = self.side(side).ok_or(HeadError::MissingSide { side })?;
        if dim != config.input {
            return Err(HeadError::Dimension { side, found: dim, expected: config.input });
        }
        provenance.map_or(Ok(()), |found| self.accepts_provenance(side, found))
    }
}
