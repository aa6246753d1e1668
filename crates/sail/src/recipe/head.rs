//! The head of a recipe. Its feature dimensions are resolved when the features are opened.

use std::fmt::Display;
use std::path::PathBuf;

use burn::tensor::Device;
use sail_core::{Check, ConfigError, HeadError, Named, Side, TokenLayout, ensure};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::RecipeError;
use super::lora::{Adapted, SideFeatures};

/// The head that a run trains.
///
/// In a file, this is a table with `projector` and `dim`, a table with `from`, the path of a head file, or a complete
/// [`HeadConfig`] with `image` and `text`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum HeadRecipe {
    /// The same layer on both sides, for features of any dimension. With ShareLock, only the text side has a layer;
    /// image features are left unchanged. A layer of token states is on the image side only, for a store of tokens of any
    /// layout, with an MLP on the text side.
    Layers {
        /// Configuration of the layer.
        projector: ProjectorConfig,
        /// Dimension of the shared space.
        dim: usize,
    },
    /// A trained head to start from (warm start).
    Trained {
        /// The head file.
        from: PathBuf,
    },
    /// The full configuration of both sides.
    Config(Box<HeadConfig>),
}

impl Default for HeadRecipe {
    /// The head of the paper: a GLU of width 8 with 1,024 output dimensions.
    fn default() -> Self {
        Self::Layers { projector: ProjectorConfig::GLU, dim: 1024 }
    }
}

impl HeadRecipe {
    /// Builds the head for the features of both sides.
    pub(super) fn build(
        &self,
        images: &SideFeatures,
        texts: &SideFeatures,
        seed: u64,
        device: &Device,
    ) -> Result<Head, RecipeError> {
        let mut head = match self {
            Self::Layers { projector, dim } => {
                let tokens = images.provenance.as_ref().and_then(|provenance| provenance.tokens);
                if projector.takes_tokens() && tokens.is_none() {
                    return Err(HeadError::Pooled { side: Side::Image, projector: projector.name() }.into());
                }
                if let Some(found) = tokens.filter(|_| !projector.takes_tokens()) {
                    let (side, projector) = (Side::Image, projector.name());
                    return Err(HeadError::Tokens { side, projector, found }.into());
                }
                Head::new(&layers(images.dim, tokens, texts.dim, projector, *dim), seed, device)?
            }
            Self::Config(config) => Head::new(config, seed, device)?,
            Self::Trained { from } => Head::load(from, device)
                .map_err(|source| RecipeError::HeadFile { path: from.clone(), source })?,
        };
        let is_trained = matches!(self, Self::Trained { .. });
        for (side, features) in [(Side::Image, images), (Side::Text, texts)] {
            head = match &features.adapted {
                Some(Adapted { blocks, adapter }) => {
                    head.with_blocks(side, blocks.clone(), adapter.clone(), seed)?
                }
                None => {
                    head.accepts(side, features.dim, features.provenance.as_ref())?;
                    head
                }
            };
        }
        let [images, texts] = [images, texts].map(|side| side.provenance.as_ref().filter(|_| !is_trained));
        Ok(head.with_provenance(images, texts))
    }
}

fn layers(
    image_dim: usize,
    tokens: Option<TokenLayout>,
    text_dim: usize,
    projector: &ProjectorConfig,
    dim: usize,
) -> HeadConfig {
    let mut config = HeadConfig::new(image_dim, text_dim, dim, projector.clone());
    match (projector, tokens) {
        (ProjectorConfig::ShareLock { .. }, _) => {
            config.image = Some(SideConfig::new(image_dim, ProjectorConfig::Identity {}));
        }
        (projector, Some(layout)) if projector.takes_tokens() => {
            config.image = Some(SideConfig::of_tokens(layout, projector.clone()));
            config.text = Some(SideConfig::new(text_dim, ProjectorConfig::MLP));
        }
        _ => {}
    }
    config
}

impl Check for HeadRecipe {
    fn check(&self) -> Result<(), ConfigError> {
        match self {
            // The feature dimensions are not known yet; any valid value serves for the check.
            Self::Layers { projector, dim } => {
                projector.check()?;
                let token = match projector {
                    ProjectorConfig::TokenTransformer { head_width, .. } => *head_width,
                    _ => *dim,
                };
                let patch = TokenLayout::Image { class_token: false, grid: [1, 1], dim: token };
                layers(*dim, Some(patch), *dim, projector, *dim).check()
            }
            Self::Config(config) => config.check(),
            Self::Trained { from } => {
                ensure(!from.as_os_str().is_empty(), "from", "empty", "the path of a head file")
            }
        }
    }
}

impl<'de> Deserialize<'de> for HeadRecipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Layers {
            #[serde(default = "paper_projector")]
            projector: ProjectorConfig,
            #[serde(default = "paper_dim")]
            dim: usize,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Trained {
            from: PathBuf,
        }
        // Selected by the fields that are present, so that error messages refer to the intended form.
        let value = Value::deserialize(deserializer)?;
        let has = |field| value.get(field).is_some();
        if has("image") || has("text") {
            let config = serde_json::from_value(value).map_err(D::Error::custom)?;
            return Ok(Self::Config(Box::new(config)));
        }
        if has("from") {
            let Trained { from } = serde_json::from_value(value).map_err(D::Error::custom)?;
            return Ok(Self::Trained { from });
        }
        let Layers { projector, dim } = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Self::Layers { projector, dim })
    }
}

fn paper_projector() -> ProjectorConfig {
    ProjectorConfig::GLU
}

fn paper_dim() -> usize {
    1024
}

/// The kind of a projector, without its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectorKind {
    /// [`ProjectorConfig::Linear`].
    Linear,
    /// [`ProjectorConfig::Mlp`].
    Mlp,
    /// [`ProjectorConfig::Glu`].
    Glu,
    /// [`ProjectorConfig::SwiGlu`].
    SwiGlu,
    /// [`ProjectorConfig::ResidualMlp`].
    ResidualMlp,
    /// [`ProjectorConfig::ShareLock`].
    ShareLock,
    /// [`ProjectorConfig::Token`].
    Token,
    /// [`ProjectorConfig::TokenTransformer`].
    TokenTransformer,
}

impl ProjectorKind {
    /// Returns the kind of a projector, or `None` for those that a training does not begin with.
    pub fn of(config: &ProjectorConfig) -> Option<Self> {
        match config {
            ProjectorConfig::Linear {} => Some(Self::Linear),
            ProjectorConfig::Mlp { .. } => Some(Self::Mlp),
            ProjectorConfig::Glu { .. } => Some(Self::Glu),
            ProjectorConfig::SwiGlu { .. } => Some(Self::SwiGlu),
            ProjectorConfig::ResidualMlp { .. } => Some(Self::ResidualMlp),
            ProjectorConfig::ShareLock { .. } => Some(Self::ShareLock),
            ProjectorConfig::Token {} => Some(Self::Token),
            ProjectorConfig::TokenTransformer { .. } => Some(Self::TokenTransformer),
            _ => None,
        }
    }

    /// Returns the projector with the sizes of its paper.
    pub fn config(self) -> ProjectorConfig {
        match self {
            Self::Linear => ProjectorConfig::Linear {},
            Self::Mlp => ProjectorConfig::MLP,
            Self::Glu => ProjectorConfig::GLU,
            Self::SwiGlu => ProjectorConfig::SwiGlu { width: 8 },
            Self::ResidualMlp => ProjectorConfig::RESIDUAL_MLP,
            Self::ShareLock => ProjectorConfig::SHARELOCK,
            Self::Token => ProjectorConfig::Token {},
            Self::TokenTransformer => ProjectorConfig::TOKEN_TRANSFORMER,
        }
    }
}

/// Changes to the settings of a projector; `None` keeps a setting.
///
/// # Examples
/// ```
/// use sail_vl::layers::ProjectorConfig;
/// use sail_vl::recipe::{ProjectorKind, ProjectorSettings};
/// let settings = ProjectorSettings { width: Some(2), ..ProjectorSettings::default() };
/// assert_eq!(settings.apply(ProjectorKind::Glu.config())?, ProjectorConfig::Glu { width: 2 });
/// assert!(settings.apply(ProjectorKind::Linear.config()).is_err());
/// # Ok::<(), sail_vl::core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProjectorSettings {
    /// Hidden width as a multiple of the input.
    pub width: Option<usize>,
    /// Number of residual or transformer blocks.
    pub depth: Option<usize>,
    /// Dropout probability.
    pub dropout: Option<f64>,
}

impl ProjectorSettings {
    /// Returns whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the projector with the changed settings.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range or the projector does not have it.
    pub fn apply(self, mut projector: ProjectorConfig) -> Result<ProjectorConfig, ConfigError> {
        let kind = projector.name();
        let (mut width, mut depth, mut dropout) = (None, None, None);
        match &mut projector {
            ProjectorConfig::Mlp { expansion: own }
            | ProjectorConfig::Glu { width: own }
            | ProjectorConfig::SwiGlu { width: own } => width = Some(own),
            ProjectorConfig::ResidualMlp { expansion, depth: blocks, dropout: probability } => {
                (width, depth, dropout) = (Some(expansion), Some(blocks), Some(probability));
            }
            ProjectorConfig::ShareLock { dropout: probability, .. } => dropout = Some(probability),
            ProjectorConfig::TokenTransformer { depth: blocks, .. } => depth = Some(blocks),
            _ => {}
        }
        change("width", kind, width, self.width)?;
        change("depth", kind, depth, self.depth)?;
        change("dropout", kind, dropout, self.dropout)?;
        projector.check()?;
        Ok(projector)
    }
}

fn change<T: Display>(
    name: &str,
    kind: &str,
    own: Option<&mut T>,
    value: Option<T>,
) -> Result<(), ConfigError> {
    match (own, value) {
        (Some(own), Some(value)) => *own = value,
        (None, Some(value)) => {
            ensure(
                false,
                name,
                value,
                format!("no value: `{kind}` has no {name}; choose another `projector`"),
            )?;
        }
        (_, None) => {}
    }
    Ok(())
}

impl Named for ProjectorKind {
    const ALL: &'static [Self] = &[
        Self::Linear,
        Self::Mlp,
        Self::Glu,
        Self::SwiGlu,
        Self::ResidualMlp,
        Self::ShareLock,
        Self::Token,
        Self::TokenTransformer,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
            Self::Glu => "glu",
            Self::SwiGlu => "swiglu",
            Self::ResidualMlp => "residual-mlp",
            Self::ShareLock => "sharelock",
            Self::Token => "token",
            Self::TokenTransformer => "token-transformer",
        }
    }
}

sail_core::display_and_parse_by_name!(ProjectorKind, "projector");
