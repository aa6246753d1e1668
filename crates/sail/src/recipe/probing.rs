//! The training of a probe as a recipe.

use sail_layers::ProjectorConfig;
use sail_probe::ProbeConfig;
use sail_train::TrainConfig;

use super::{HeadRecipe, Recipe};

impl Recipe {
    /// Creates the recipe of the training that a probe scores a pair of encoders by: linear layers, the sigmoid loss, and the
    /// holdout, seed and settings of the probe. Unlike the probe, it evaluates at the interval that is the default of training.
    ///
    /// The run has the same pairs, and ends with the same head, as that of the probe if all of the probe's features have the same
    /// keys in the same order.
    ///
    /// # Examples
    /// ```
    /// use sail_vl::probe::ProbeConfig;
    /// use sail_vl::recipe::Recipe;
    /// let recipe = Recipe::probing("stores/dinov2", "stores/minilm", &ProbeConfig::default());
    /// assert_eq!((recipe.holdout, recipe.train.epochs), (512, 100));
    /// ```
    pub fn probing(images: impl Into<String>, texts: impl Into<String>, config: &ProbeConfig) -> Self {
        let ProbeConfig { holdout, seed, dim, ref train, .. } = *config;
        let train = train.clone().with_seed(seed).with_evaluate_every(TrainConfig::default().evaluate_every);
        Self::new(images, texts)
            .with_holdout(holdout)
            .with_head(HeadRecipe::Layers { projector: ProjectorConfig::Linear {}, dim })
            .with_train(train)
    }
}
