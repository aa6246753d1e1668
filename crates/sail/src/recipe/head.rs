//! The head of a recipe, before the dimensions of its features are known.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use burn::tensor::Device;
use sail_core::{Check, ConfigError, FeatureSource, Named, Side, ensure, parse_named};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::RecipeError;

/// Which head a run trains.
///
/// In a file, a table with `projector` and `dim`, or one with `from`, the path of a head, or a whole [`HeadConfig`] with
/// its `image` and `text` sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum HeadRecipe {
    /// The same layer on both sides, for features of any dimension. ShareLock's stands on the text side alone and leaves
    /// image features as they are.
    Layers {
        /// The layer.
        projector: ProjectorConfig,
        /// Dimension of the shared space.
        dim: usize,
    },
    /// A head that was trained before, to go on from (a warm start).
    Trained {
        /// Its file.
        from: PathBuf,
    },
    /// Every setting of both sides.
    Config(Box<HeadConfig>),
}

impl Default for HeadRecipe {
    /// The paper's: a GLU of width 8 into 1,024 dimensions.
    fn default() -> Self {
        Self::Layers { projector: ProjectorConfig::GLU, dim: 1024 }
    }
}

impl HeadRecipe {
    /// Builds the head for the features of both sides.
    pub(super) fn build(
        &self,
        images: &dyn FeatureSource,
        texts: &dyn FeatureSource,
        seed: u64,
        device: &Device,
    ) -> Result<Head, RecipeError> {
        let config = match self {
            Self::Layers { projector, dim } => layers(images.dim(), texts.dim(), projector, *dim),
            Self::Config(config) => HeadConfig::clone(config),
            Self::Trained { from } => {
                let head = Head::load(from, device)
                    .map_err(|source| RecipeError::HeadFile { path: from.clone(), source })?;
                accepts(&head, images, texts)?;
                return Ok(head);
            }
        };
        let head = Head::new(&config, seed, device)?;
        accepts(&head, images, texts)?;
        Ok(head.with_provenance(images.provenance(), texts.provenance()))
    }
}

fn accepts(head: &Head, images: &dyn FeatureSource, texts: &dyn FeatureSource) -> Result<(), RecipeError> {
    for (side, features) in [(Side::Image, images), (Side::Text, texts)] {
        head.accepts(side, features.dim(), features.provenance())?;
    }
    Ok(())
}

fn layers(image_dim: usize, text_dim: usize, projector: &ProjectorConfig, dim: usize) -> HeadConfig {
    let mut config = HeadConfig::new(image_dim, text_dim, dim, projector.clone());
    if matches!(projector, ProjectorConfig::ShareLock { .. }) {
        config.image = Some(SideConfig::new(image_dim, ProjectorConfig::Identity {}));
    }
    config
}

impl Check for HeadRecipe {
    fn check(&self) -> Result<(), ConfigError> {
        match self {
            // Any dimension of features will do for what can be known without them.
            Self::Layers { projector, dim } => layers(*dim, *dim, projector, *dim).check(),
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
        // Chosen by what is there, so that an error speaks of the form that was meant.
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

/// A kind of layer by name.
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
    /// [`ProjectorConfig::ShareLock`].
    ShareLock,
}

impl ProjectorKind {
    /// The kind of a layer; `None` for the identity, which stands beside another layer alone.
    pub fn of(config: &ProjectorConfig) -> Option<Self> {
        match config {
            ProjectorConfig::Linear {} => Some(Self::Linear),
            ProjectorConfig::Mlp { .. } => Some(Self::Mlp),
            ProjectorConfig::Glu { .. } => Some(Self::Glu),
            ProjectorConfig::SwiGlu { .. } => Some(Self::SwiGlu),
            ProjectorConfig::ShareLock { .. } => Some(Self::ShareLock),
            _ => None,
        }
    }

    /// The layer with a hidden width that is a multiple of its input's; without one, that of its paper.
    ///
    /// # Errors
    /// [`ConfigError`] for the width of a layer that has none.
    pub fn config(self, width: Option<usize>) -> Result<ProjectorConfig, ConfigError> {
        let config = match self {
            Self::Linear => ProjectorConfig::Linear {},
            Self::Mlp => ProjectorConfig::Mlp { expansion: width.unwrap_or(4) },
            Self::Glu => ProjectorConfig::Glu { width: width.unwrap_or(8) },
            Self::SwiGlu => ProjectorConfig::SwiGlu { width: width.unwrap_or(8) },
            Self::ShareLock => ProjectorConfig::SHARELOCK,
        };
        if let Some(width) = width.filter(|_| matches!(self, Self::Linear | Self::ShareLock)) {
            ensure(false, "width", width, format!("nothing: a {self} projector has no width"))?;
        }
        config.check()?;
        Ok(config)
    }
}

impl Named for ProjectorKind {
    const ALL: &'static [Self] = &[Self::Linear, Self::Mlp, Self::Glu, Self::SwiGlu, Self::ShareLock];

    fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
            Self::Glu => "glu",
            Self::SwiGlu => "swiglu",
            Self::ShareLock => "sharelock",
        }
    }
}

impl fmt::Display for ProjectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ProjectorKind {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        parse_named("projector", name)
    }
}
