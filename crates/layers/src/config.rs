//! The configuration of a head.

use sail_core::{AdapterConfig, Check, ConfigError, Provenance, Side, TokenLayout, ensure};
use serde::{Deserialize, Serialize};

use crate::ProjectorConfig;

/// Wider features are assumed to come from an invalid file.
const MAX_DIM: usize = 1 << 20;

/// More weights per side are assumed to come from an invalid file; the paper's largest side has 302 M.
const MAX_WEIGHTS: u128 = 1 << 36;

/// A linear map in front of a side, from the features of one backbone to the feature space of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Translation {
    /// Dimension of the features of the other backbone, which the norm and the projector take.
    pub dim: usize,
    /// The other backbone, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Provenance>,
}

/// One side of a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideConfig {
    /// Dimension of the frozen features.
    pub input: usize,
    /// Whether a LayerNorm precedes the projector.
    pub norm: bool,
    /// The projector.
    pub projector: ProjectorConfig,
    /// The backbone that the side was trained on, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<Provenance>,
    /// A linear map of the features in front of the norm, if they are translated into the space of another backbone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translation: Option<Translation>,
    /// Trained updates of the encoder, without which its features are not those of the side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
    /// How a row of features consists of tokens, for a projector that [takes them](ProjectorConfig::takes_tokens). `input` is
    /// then the number of values of all tokens, and the LayerNorm is applied to each token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenLayout>,
}

impl SideConfig {
    /// Creates a side with a LayerNorm, or without one for the identity, which leaves the features unchanged, and for the
    /// residual perceptron and the transformer, whose blocks begin with one.
    pub fn new(input: usize, projector: ProjectorConfig) -> Self {
        let norm = !matches!(
            projector,
            ProjectorConfig::Identity {}
                | ProjectorConfig::ResidualMlp { .. }
                | ProjectorConfig::TokenTransformer { .. }
        );
        Self { input, norm, projector, trained_on: None, translation: None, tokens: None, adapter: None }
    }

    /// Creates a side of token states.
    ///
    /// # Examples
    /// ```
    /// use sail_core::{Check, TokenLayout};
    /// use sail_layers::{HeadConfig, ProjectorConfig, SideConfig};
    /// let layout = TokenLayout::Image { class_token: true, grid: [16, 16], dim: 384 };
    /// let config = HeadConfig {
    ///     image: Some(SideConfig::of_tokens(layout, ProjectorConfig::Token {})),
    ///     ..HeadConfig::new(384, 768, 512, ProjectorConfig::MLP)
    /// };
    /// config.check()?;
    /// assert_eq!(config.image.map(|side| side.input), Some(257 * 384));
    /// # Ok::<(), sail_core::ConfigError>(())
    /// ```
    pub fn of_tokens(layout: TokenLayout, projector: ProjectorConfig) -> Self {
        Self { tokens: Some(layout), ..Self::new(layout.row_values(), projector) }
    }

    fn check(&self, dim: usize) -> Result<(), ConfigError> {
        self.check_tokens()?;
        if self.tokens.is_none() {
            ensure((1..=MAX_DIM).contains(&self.input), "input", self.input, format!("1 to {MAX_DIM}"))?;
        }
        if let Some(Translation { dim, .. }) = &self.translation {
            ensure((1..=MAX_DIM).contains(dim), "translation", dim, format!("1 to {MAX_DIM}"))?;
        }
        if let Some(adapter) = &self.adapter {
            adapter.check()?;
            ensure(self.translation.is_none(), "translation", "set", "none on a side with adapters")?;
        }
        self.projector.check()?;
        if self.projector == (ProjectorConfig::Identity {}) {
            let expected = format!("{dim}, the head's `dim`: the projector is the identity");
            ensure(self.projected() == dim, "input", self.projected(), expected)?;
        }
        if matches!(self.projector, ProjectorConfig::WeightedCosine { .. }) {
            ensure(dim > 2, "dim", dim, "at least 3: `weighted-cosine` has two dimensions beside its own")?;
        }
        let weights = self.weights(dim);
        let expected = format!("at most {MAX_WEIGHTS}");
        ensure(weights <= MAX_WEIGHTS, self.projector.name(), format!("{weights} weights"), expected)
    }

    fn check_tokens(&self) -> Result<(), ConfigError> {
        let name = self.projector.name();
        let Some(layout) = &self.tokens else {
            let expected = format!("the layout of the tokens, which `{name}` takes");
            return ensure(!self.projector.takes_tokens(), "tokens", "missing", expected);
        };
        ensure(
            self.projector.takes_tokens(),
            "tokens",
            layout,
            format!("none: `{name}` takes pooled features"),
        )?;
        layout.check()?;
        ensure(
            matches!(layout, TokenLayout::Image { .. }),
            "tokens",
            layout,
            format!("the tokens of images, which `{name}` takes"),
        )?;
        let values = layout.row_values();
        ensure(self.input == values, "input", self.input, format!("{values}: {layout}"))?;
        ensure(self.translation.is_none(), "translation", "set", "none in front of token states")?;
        if let ProjectorConfig::TokenTransformer { head_width, .. } = self.projector {
            let divides = head_width > 0 && layout.dim().is_multiple_of(head_width);
            let expected = format!("a divisor of {}, the dimension of a token", layout.dim());
            ensure(divides, "head_width", head_width, expected)?;
        }
        Ok(())
    }

    /// The dimension of the features that the norm and the projector take.
    pub(crate) fn projected(&self) -> usize {
        self.translation.as_ref().map_or(self.input, |translation| translation.dim)
    }

    /// The width that the norm and the linear layers of the projector take: that of a token, or of all features.
    pub(crate) fn width(&self) -> usize {
        self.tokens.as_ref().map_or(self.projected(), TokenLayout::dim)
    }

    pub(crate) fn has_class_token(&self) -> bool {
        matches!(self.tokens, Some(TokenLayout::Image { class_token: true, .. }))
    }

    /// The number of parameters of the side's matrices.
    fn weights(&self, dim: usize) -> u128 {
        let translation = self.translation.as_ref().map_or(0, |to| self.input as u128 * to.dim as u128);
        let adapter = self.adapter.as_ref().map_or(0, AdapterConfig::weights);
        translation.saturating_add(adapter).saturating_add(self.projector_weights(dim))
    }

    fn projector_weights(&self, dim: usize) -> u128 {
        let (input, dim) = (self.width() as u128, dim as u128);
        // The patches, and the class token.
        let parts = 1 + u128::from(self.has_class_token());
        match self.projector {
            ProjectorConfig::Identity {} => 0,
            ProjectorConfig::Linear {} => input * dim,
            ProjectorConfig::WeightedCosine { .. } => input * dim.saturating_sub(2),
            ProjectorConfig::Mlp { expansion } => expansion as u128 * input * (input + dim),
            ProjectorConfig::Glu { width } | ProjectorConfig::SwiGlu { width } => {
                width as u128 * input * (2 * input + dim)
            }
            ProjectorConfig::ResidualMlp { expansion, depth, .. } => {
                (2 * expansion as u128).saturating_mul(depth as u128).saturating_mul(input * input)
                    + input * dim
            }
            ProjectorConfig::ShareLock { layers: 1, .. } => input * dim,
            ProjectorConfig::ShareLock { hidden, layers, .. } => {
                let (hidden, inner) = (hidden as u128, layers.saturating_sub(2) as u128);
                let square = hidden.saturating_mul(hidden).saturating_mul(inner);
                square.saturating_add(hidden * (input + dim))
            }
            ProjectorConfig::Token {} => parts * (2 * input + dim) * dim,
            ProjectorConfig::TokenTransformer { depth, .. } => {
                (12 * input * input).saturating_mul(depth as u128).saturating_add(parts * input * dim)
            }
        }
    }
}

/// The configuration of a [`Head`](crate::Head).
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_layers::{HeadConfig, ProjectorConfig};
/// let config = HeadConfig::new(2048, 1024, 1024, ProjectorConfig::GLU);
/// config.check()?;
/// assert!(HeadConfig { dim: 0, ..config }.check().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Embedding dimension of the shared space; 1024 in the paper, 2048 for its linear probes.
    pub dim: usize,
    /// The image side, if any.
    pub image: Option<SideConfig>,
    /// The text side, if any.
    pub text: Option<SideConfig>,
    /// Initial logit scale.
    pub initial_scale: f64,
    /// Initial logit bias.
    pub initial_bias: f64,
    /// Upper bound of the logit scale.
    pub max_scale: f64,
}

impl HeadConfig {
    /// Creates a configuration with the same projector on both sides and the paper's scalars: scale 20 (at most 100), bias
    /// -10.
    pub fn new(image_input: usize, text_input: usize, dim: usize, projector: ProjectorConfig) -> Self {
        Self {
            dim,
            image: Some(SideConfig::new(image_input, projector.clone())),
            text: Some(SideConfig::new(text_input, projector)),
            initial_scale: 20.0,
            initial_bias: -10.0,
            max_scale: 100.0,
        }
    }

    /// The first version of the file format that has all parts of the configuration.
    pub(crate) fn version(&self) -> u32 {
        let of_side = |side: &SideConfig| {
            let to = side.translation.as_ref().and_then(|translation| translation.to.as_ref());
            let backbones = side.trained_on.iter().chain(to).map(Provenance::version);
            let weighted = matches!(side.projector, ProjectorConfig::WeightedCosine { .. });
            let newest = match (&side.tokens, &side.adapter) {
                (Some(_), _) | (_, Some(_)) => 4,
                _ if weighted || side.translation.is_some() => 3,
                _ => 1,
            };
            backbones.max().unwrap_or(1).max(newest)
        };
        self.image.iter().chain(&self.text).map(of_side).max().unwrap_or(1)
    }

    /// The size of the head's matrices in bytes, a lower bound of the size of its file.
    pub(crate) fn weight_bytes(&self) -> u128 {
        let sides = self.image.iter().chain(&self.text);
        4 * sides.map(|side| side.weights(self.dim)).sum::<u128>()
    }
}

impl Check for HeadConfig {
    fn check(&self) -> Result<(), ConfigError> {
        ensure((1..=MAX_DIM).contains(&self.dim), "dim", self.dim, format!("1 to {MAX_DIM}"))?;
        ensure(self.image.is_some() || self.text.is_some(), "image", "missing", "at least one side")?;
        for (place, side) in [(Side::Image, &self.image), (Side::Text, &self.text)] {
            let Some(side) = side else { continue };
            side.check(self.dim)?;
            if let ProjectorConfig::WeightedCosine { side: found } = side.projector {
                ensure(found == place, "side", found, format!("{place}, where the layer is"))?;
            }
        }
        let scale = self.initial_scale;
        ensure(
            self.max_scale.is_finite() && self.max_scale >= 1.0,
            "max_scale",
            self.max_scale,
            "at least 1",
        )?;
        ensure(
            (1.0..=self.max_scale).contains(&scale),
            "initial_scale",
            scale,
            format!("1 to {}", self.max_scale),
        )?;
        ensure(self.initial_bias.is_finite(), "initial_bias", self.initial_bias, "a finite value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(config: HeadConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn check_names_the_invalid_field() {
        let valid = HeadConfig::new(8, 6, 4, ProjectorConfig::GLU);
        valid.check().unwrap();
        let with = |projector| HeadConfig::new(8, 6, 4, projector);
        assert_eq!(message(with(ProjectorConfig::Glu { width: 0 })), "`width` is 0, expected at least 1");
        assert!(message(with(ProjectorConfig::Glu { width: usize::MAX })).contains("weights"));
        assert!(message(with(ProjectorConfig::Identity {})).contains("expected 4"));
        let dropout = ProjectorConfig::ShareLock { hidden: 8, layers: 2, dropout: f64::NAN };
        assert!(message(with(dropout)).starts_with("`dropout` is NaN"));
        let weighted = |side| with(ProjectorConfig::WeightedCosine { side });
        assert_eq!(message(weighted(Side::Image)), "`side` is image, expected text, where the layer is");
        let narrow = HeadConfig { dim: 2, text: None, ..weighted(Side::Image) };
        assert!(message(narrow).starts_with("`dim` is 2, expected at least 3"));
        let mut translated = valid.clone();
        translated.image.as_mut().unwrap().translation = Some(Translation { dim: 0, to: None });
        assert!(message(translated).starts_with("`translation` is 0"));
        let residual = |expansion, depth, dropout| {
            message(with(ProjectorConfig::ResidualMlp { expansion, depth, dropout }))
        };
        assert!(residual(0, 4, 0.0).starts_with("`expansion` is 0"));
        assert_eq!(residual(4, 0, 0.0), "`depth` is 0, expected 1 to 256");
        assert!(residual(4, usize::MAX, 0.0).starts_with("`depth`"));
        assert!(residual(usize::MAX, 4, 0.0).contains("weights"));
        assert!(residual(4, 4, 1.0).starts_with("`dropout` is 1"));
        let layout = TokenLayout::Image { class_token: true, grid: [1, 2], dim: 6 };
        let tokens = |projector, change: fn(&mut SideConfig)| {
            let mut side = SideConfig::of_tokens(layout, projector);
            change(&mut side);
            HeadConfig { image: Some(side), ..valid.clone() }
        };
        let transformer = |depth, head_width| ProjectorConfig::TokenTransformer { depth, head_width };
        for projector in [ProjectorConfig::Token {}, transformer(2, 3)] {
            tokens(projector, |_| ()).check().unwrap();
        }
        let token = |change| message(tokens(ProjectorConfig::Token {}, change));
        assert_eq!(
            token(|side| side.tokens = None),
            "`tokens` is missing, expected the layout of the tokens, which `token` takes"
        );
        assert_eq!(
            token(|side| side.input = 17),
            "`input` is 17, expected 18: a class token and 1x2 patches of 6 values"
        );
        let text = |side: &mut SideConfig| side.tokens = Some(TokenLayout::Text { length: 3, dim: 6 });
        assert!(token(text).contains("the tokens of images"));
        assert!(
            token(|side| side.translation = Some(Translation { dim: 18, to: None })).contains("translation")
        );
        assert!(message(tokens(ProjectorConfig::GLU, |_| ())).contains("`glu` takes pooled features"));
        assert_eq!(
            message(tokens(transformer(2, 4), |_| ())),
            "`head_width` is 4, expected a divisor of 6, the dimension of a token"
        );
        assert!(message(tokens(transformer(0, 3), |_| ())).starts_with("`depth` is 0"));
        assert!(message(tokens(transformer(2, 0), |_| ())).starts_with("`head_width` is 0"));
        assert!(message(HeadConfig { initial_scale: -1.0, ..valid.clone() }).starts_with("`initial_scale`"));
        assert!(message(HeadConfig { max_scale: f64::INFINITY, ..valid.clone() }).starts_with("`max_scale`"));
        assert!(
            message(HeadConfig { initial_bias: f64::NAN, ..valid.clone() }).starts_with("`initial_bias`")
        );
        assert!(message(HeadConfig { image: None, text: None, ..valid }).contains("at least one side"));
    }

    #[test]
    fn rejects_unknown_fields_and_kinds() {
        let json = serde_json::to_value(HeadConfig::new(8, 6, 4, ProjectorConfig::GLU)).unwrap();
        assert!(serde_json::from_value::<HeadConfig>(json.clone()).is_ok());
        let mut extra = json.clone();
        extra["image"]["projector"]["depth"] = 3.into();
        assert!(serde_json::from_value::<HeadConfig>(extra).is_err());
        let mut other = json;
        other["text"]["projector"]["kind"] = "transformer".into();
        let error = serde_json::from_value::<HeadConfig>(other).unwrap_err().to_string();
        assert!(error.contains("glu") && error.contains("sharelock"), "{error}");
    }
}
