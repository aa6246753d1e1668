//! The trained head: two sides and the logit scale.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use sail_core::{
    AlignmentHead, Check, ConfigError, HeadError, ImagePooling, Named, Provenance, Side, TokenBlocks,
    TowerError, ensure,
};

use crate::adapter::LowRankUpdates;
use crate::cast::Cast;
use crate::{
    HeadConfig, Holdout, LogitScale, Projector, SideConfig, Translation, WeightInit, linear, tokens,
};
use sail_matmul::Products;

/// One side of a head: translation (optional), LayerNorm (optional) and projector. The updates of its encoder belong to it as well.
#[derive(Module, Debug)]
pub struct HeadSide {
    pub(crate) adapter: Option<LowRankUpdates>,
    translation: Option<Linear>,
    norm: Option<LayerNorm>,
    projector: Projector,
    /// The dtype of the projector's parameters and values.
    #[module(skip)]
    dtype: FloatDType,
    #[module(skip)]
    products: Products,
    /// Blocks of the encoder in front of the side, see [`Head::with_blocks`].
    #[module(skip)]
    pub(crate) blocks: Option<Arc<dyn TokenBlocks>>,
}

impl HeadSide {
    fn new(config: &SideConfig, dim: usize, init: &mut WeightInit) -> Self {
        Self {
            adapter: None,
            translation: config.translation.is_some().then(|| linear(config.input, config.projected(), init)),
            norm: config.norm.then(|| LayerNormConfig::new(config.width()).init(init.device())),
            projector: Projector::new(config, dim, init),
            dtype: FloatDType::F32,
            products: Products::default(),
            blocks: None,
        }
    }

    /// Returns the features of rows of token states if the side has the blocks for it; else the rows are the features.
    pub(crate) fn features(&self, rows: Tensor<2>) -> Result<Tensor<2>, TowerError> {
        let updates = || self.adapter.as_ref().map_or(Vec::new(), LowRankUpdates::tensors);
        match &self.blocks {
            Some(blocks) => blocks.forward(rows, &updates()),
            None => Ok(rows),
        }
    }

    /// Projects features of this side's backbone.
    ///
    /// # Shapes
    /// - features: `[batch, input]`
    /// - output: `[batch, dim]`, not normalised
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let features = match &self.translation {
            Some(translation) => translation.forward(features),
            None => features,
        };
        let [batch, values] = features.dims();
        let features = match &self.norm {
            Some(norm) if norm.gamma.dims() == [values] => norm.forward(features),
            // Each token by itself.
            Some(norm) => {
                let tokens = tokens::of_rows(features, norm.gamma.dims()[0]);
                norm.forward(tokens).reshape([batch, values])
            }
            None => features,
        };
        self.projector.forward_with(features.cast(self.dtype), self.products).cast(FloatDType::F32)
    }

    /// Projects patches; see [`sail_core::AlignmentHead::project_patches`].
    pub(crate) fn patches(&self, tokens: Tensor<3>) -> Tensor<3> {
        let tokens = match &self.translation {
            Some(translation) => translation.forward(tokens),
            None => tokens,
        };
        let tokens = match &self.norm {
            Some(norm) => norm.forward(tokens),
            None => tokens,
        };
        self.projector.patches_with(tokens.cast(self.dtype), self.products).cast(FloatDType::F32)
    }

    /// Returns a copy whose projector computes in `dtype`. The translation and the norm stay in f32: a mean of squares may
    /// overflow f16. In bf16 on a CPU only the matrix products of the projector are in bf16.
    pub(crate) fn computing_in(&self, dtype: FloatDType, device: &Device) -> Option<Self> {
        let on_cpu = Products::bf16_on_cpu(dtype, device);
        match &self.projector {
            Projector::Identity(_) => Some(self.clone()),
            // Batch norm accumulates its statistics in the dtype of its parameters, and the complement of a weighted cosine is a
            // difference of nearly equal numbers.
            Projector::ShareLock(_) | Projector::WeightedCosine(_) => None,
            projector => Some(match (on_cpu, projector) {
                (Some(products), _) => Self { products, ..self.clone() },
                // They have norms of their own, and cast around them.
                (None, Projector::ResidualMlp(layer)) => {
                    Self { projector: Projector::ResidualMlp(layer.computing_in(dtype)), ..self.clone() }
                }
                (None, Projector::TokenTransformer(layer)) => {
                    Self { projector: Projector::TokenTransformer(layer.computing_in(dtype)), ..self.clone() }
                }
                (None, projector) => {
                    let projector = projector.clone().map(&mut Cast(dtype));
                    Self { projector, dtype, ..self.clone() }
                }
            }),
        }
    }
}

/// Random streams of the layers and the updates of each side, images first.
pub(crate) const STREAMS: [[u64; 2]; 2] = [[1, 3], [2, 4]];

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
        // One stream for the updates of each encoder, so that they do not affect the other weights.
        let side = |side: &Option<SideConfig>, [stream, adapter]: [u64; 2]| {
            let build = |side: &SideConfig| {
                let layers = HeadSide::new(side, config.dim, &mut WeightInit::new(seed, stream, device));
                let mut init = WeightInit::new(seed, adapter, device);
                let adapter = side.adapter.as_ref().map(|config| LowRankUpdates::new(config, &mut init));
                HeadSide { adapter, ..layers }
            };
            side.as_ref().map(build)
        };
        Ok(Self {
            image: side(&config.image, STREAMS[0]),
            text: side(&config.text, STREAMS[1]),
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

    pub(crate) fn layers(&self, side: Side) -> Option<&HeadSide> {
        match side {
            Side::Image => self.image.as_ref(),
            Side::Text => self.text.as_ref(),
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

    /// Puts a linear map, `x W^T + b`, in front of the image side, so that it takes the features of another backbone.
    ///
    /// # Shapes
    /// - weight: `[dim, input]`, row-major, where `dim` is the dimension of the features that the side took so far
    /// - bias: `[dim]`
    ///
    /// # Errors
    /// [`HeadError::MissingSide`] without an image side, [`HeadError::Config`] if it is translated already or `weight` or `bias`
    /// has the wrong length, and [`HeadError::Tensors`] for values that are not finite.
    ///
    /// # Examples
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use sail_core::AlignmentHead;
    /// use sail_layers::{Head, HeadConfig, ProjectorConfig};
    /// let head = Head::new(&HeadConfig::new(2, 6, 4, ProjectorConfig::Linear {}), 0, &Device::flex())?;
    /// // The other backbone has three features, of which the last two are those of the first, swapped.
    /// let translated = head.with_translated_images(vec![0.0, 0.0, 1.0, 0.0, 1.0, 0.0], vec![0.0, 0.0], None)?;
    /// assert_eq!(translated.project_images(Tensor::ones([5, 3], &Device::flex()))?.dims(), [5, 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_translated_images(
        mut self,
        weight: Vec<f32>,
        bias: Vec<f32>,
        from: Option<&Provenance>,
    ) -> Result<Self, HeadError> {
        let missing = HeadError::MissingSide { side: Side::Image };
        let (Some(side), Some(config)) = (&mut self.image, &mut self.config.image) else {
            return Err(missing);
        };
        ensure(config.translation.is_none(), "translation", "set", "a side without a translation")?;
        ensure(config.adapter.is_none(), "adapter", "set", "a side without adapters")?;
        let (dim, input) = (config.input, weight.len() / config.input);
        ensure(bias.len() == dim, "bias", bias.len(), format!("{dim} values"))?;
        ensure(weight.len() == dim * input, "weight", weight.len(), format!("a multiple of {dim} values"))?;
        if !weight.iter().chain(&bias).all(|value| value.is_finite()) {
            let problems = vec!["the translation has non-finite values".to_owned()];
            return Err(HeadError::Tensors { problems });
        }
        config.translation = Some(Translation { dim, to: config.trained_on.take() });
        (config.input, config.trained_on) = (input, from.cloned());
        let device = self.logit.log_scale().device();
        let weight = Tensor::<2>::from_data(TensorData::new(weight, [dim, input]), &device).transpose();
        let bias = Tensor::<1>::from_data(TensorData::new(bias, [dim]), &device);
        side.translation =
            Some(Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) });
        self.config.check()?;
        Ok(self)
    }

    /// Checks that a side accepts features of this dimension and provenance.
    ///
    /// Without a provenance of the features or of the head, only the dimension is checked.
    ///
    /// # Errors
    /// [`HeadError::MissingSide`], [`HeadError::Pooled`] and [`HeadError::Tokens`] if one of features and head is made of
    /// tokens and the other is not, [`HeadError::Dimension`] or [`HeadError::Provenance`].
    pub fn accepts(&self, side: Side, dim: usize, provenance: Option<&Provenance>) -> Result<(), HeadError> {
        let config = self.side(side).ok_or(HeadError::MissingSide { side })?;
        let expected = self.blocks(side).map_or(config.input, |blocks| blocks.row_values());
        provenance.map_or(Ok(()), |found| self.accepts_tokens(side, found))?;
        if dim != expected {
            return Err(HeadError::Dimension { side, found: dim, expected });
        }
        provenance.map_or(Ok(()), |found| HeadError::check_provenance(side, self.trained_on(side), found))
    }

    /// Checks that a side takes token states if and only if the features are such.
    pub(crate) fn accepts_tokens(&self, side: Side, found: &Provenance) -> Result<(), HeadError> {
        let Some(SideConfig { projector, .. }) = self.side(side) else { return Ok(()) };
        let trained_on_tokens = self.trained_on(side).is_some_and(|trained_on| trained_on.tokens.is_some());
        let takes_tokens = projector.takes_tokens() || trained_on_tokens || self.blocks(side).is_some();
        let projector = projector.name();
        // A tower for images of any size knows that it does not pool, and no layout.
        let pooled = found.pooling.as_deref() != Some(ImagePooling::Tokens.name());
        match found.tokens {
            None if takes_tokens && pooled => Err(HeadError::Pooled { side, projector }),
            Some(found) if !takes_tokens => Err(HeadError::Tokens { side, projector, found }),
            _ => Ok(()),
        }
    }
}
