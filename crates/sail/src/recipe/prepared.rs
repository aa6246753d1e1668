//! A run whose data are open.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{ContrastiveLoss, FeatureSource};
use sail_data::Split;
use sail_layers::Head;
use sail_train::{RunFolder, TrainError, Trainer};

use super::{HeadRecipe, Recipe, RecipeError};

/// A run that is ready to start: the pairs, the head and the loss of a [`Recipe`].
///
/// # Examples
/// With a folder, so that a killed run can be resumed:
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sail_vl::burn::tensor::Device;
/// use sail_vl::recipe::Recipe;
///
/// let run = Recipe::load("run.toml")?.prepare(&Device::flex())?;
/// let folder = run.create("runs/first")?; // or `resume`
/// let outcome = run.trainer().folder(folder).run()?;
/// # Ok(()) }
/// ```
pub struct PreparedRun {
    recipe: Recipe,
    split: Split,
    head: Head,
    loss: Arc<dyn ContrastiveLoss>,
}

impl PreparedRun {
    pub(super) fn new(
        recipe: &Recipe,
        images: Arc<dyn FeatureSource>,
        captions: Vec<Arc<dyn FeatureSource>>,
        device: &Device,
    ) -> Result<Self, RecipeError> {
        let seed = recipe.train.seed;
        let head = recipe.head.build(&*images, &*captions[0], seed, device)?;
        let pairs = recipe.pair(images, captions)?;
        let mut resolved = Recipe { rows: Some(pairs.len()), ..recipe.clone() };
        if !matches!(recipe.head, HeadRecipe::Trained { .. }) {
            resolved.head = HeadRecipe::Config(Box::new(head.config().clone()));
        }
        let split = pairs.split(recipe.holdout, seed).map_err(RecipeError::Pairs)?;
        Ok(Self { recipe: resolved, split, head, loss: recipe.loss.build()?.into() })
    }

    /// The recipe with what the data decide: their number of pairs and the dimensions of the head. It is what the
    /// `config.json` of the run holds.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The pairs to train on and those held out.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The head before the training.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Makes the folder of a new run.
    ///
    /// # Errors
    /// Those of [`RunFolder::create`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<RunFolder, TrainError> {
        RunFolder::create(path, &self.recipe)
    }

    /// Opens the folder of a run that was interrupted.
    ///
    /// # Errors
    /// Those of [`RunFolder::resume`]: the run must have the same recipe.
    pub fn resume(&self, path: impl AsRef<Path>) -> Result<RunFolder, TrainError> {
        RunFolder::resume(path, &self.recipe)
    }

    /// A trainer over the training pairs that evaluates the holdout; folder, observers, devices and memory are the
    /// caller's to add.
    pub fn trainer(self) -> Trainer<'static, Head> {
        let Self { recipe, split, head, loss } = self;
        Trainer::new(recipe.train, head, loss, split.train).holdout(split.holdout)
    }
}
