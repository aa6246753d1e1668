//! A run that is ready to start.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{ConfigError, ContrastiveLoss, FeatureSource};
use sail_data::{Pairing, Samples, Split};
use sail_layers::{Head, Holdout};
use sail_losses::Gram;
use sail_train::{Auxiliary, RunFolder, TrainError, Trainer, Unpaired};

use super::keys::keep_listed;
use super::lora::SideFeatures;
use super::{HeadRecipe, Recipe, RecipeError, StructureRecipe};

/// A run that is ready to start: the pairs, the head and the loss of a [`Recipe`].
///
/// # Examples
/// With a run folder, so that an interrupted run can be resumed:
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
    auxiliary: Vec<Auxiliary>,
    unpaired: Option<Unpaired>,
}

impl PreparedRun {
    pub(super) fn new(
        recipe: &Recipe,
        images: Arc<dyn FeatureSource>,
        captions: Vec<Arc<dyn FeatureSource>>,
        unpaired: Option<[Arc<dyn FeatureSource>; 2]>,
        device: &Device,
    ) -> Result<Self, RecipeError> {
        let seed = recipe.train.seed;
        let adapted = recipe.lora_image.as_ref().map(|lora| lora.open(&*images, device)).transpose()?;
        let (of_images, of_texts) =
            (SideFeatures::new(&*images, adapted), SideFeatures::new(&*captions[0], None));
        let head = recipe.head.build(&of_images, &of_texts, seed, device)?;
        let pairs = recipe.pair(images, captions)?;
        let pairing = Some(pairs.pairing()).filter(|pairing| !pairing.is_complete()).cloned();
        if let Some(pairing) = &pairing {
            tracing::warn!("{pairing} by key; the others are left out");
        }
        let mut resolved = Recipe { rows: Some(pairs.len()), pairing, ..recipe.clone() };
        if !matches!(recipe.head, HeadRecipe::Trained { .. }) {
            resolved.head = HeadRecipe::Config(Box::new(head.config().clone()));
        }
        let mut split = pairs.split(recipe.holdout, seed).map_err(RecipeError::Pairs)?;
        if let Some(keys) = &recipe.keys {
            split = keep_listed(split, keys)?;
        }
        let samples = Samples::new(split.train.clone(), recipe.train.captions, &recipe.train.source_weights)
            .map_err(RecipeError::Pairs)?;
        let (asked, all) = (recipe.train.batch_size, samples.len());
        if (2..asked).contains(&all) {
            tracing::warn!(
                "the batch size {asked} is larger than the {all} samples of an epoch: every batch has all of them"
            );
            resolved.train.batch_size = all;
        }
        let mut auxiliary: Vec<Auxiliary> = recipe.structure.iter().map(StructureRecipe::build).collect();
        if let Some(weight) = recipe.gram {
            auxiliary.push(Auxiliary::new(gram(&head, weight)?, weight));
        }
        let mut rows = None;
        if let (Some(settings), Some(sources)) = (&mut resolved.unpaired, unpaired) {
            let (unpaired, loss) = settings.build(recipe, sources, &split, &head, device)?;
            settings.batch_size = Some(unpaired.batch_size());
            auxiliary.push(loss);
            rows = Some(unpaired);
        }
        let holdout = Holdout { rows: recipe.holdout, seed, keys_sha256: split.holdout_sha256.clone() };
        if let Some(earlier) = head.holdout().filter(|earlier| holdout.rows > 0 && **earlier != holdout) {
            tracing::warn!(
                "the head to start from was trained with another holdout ({} pairs, seed {}): the scores on this one \
                 include pairs that it was trained on, if it was trained on the same data",
                earlier.rows,
                earlier.seed
            );
        }
        let head = head.with_holdout(Some(holdout));
        let loss = recipe.loss.build()?.into();
        Ok(Self { recipe: resolved, split, head, loss, auxiliary, unpaired: rows })
    }

    /// Returns the recipe as written to the `config.json` of the run: with the number of pairs and the dimensions of the head
    /// filled in, and a batch size of at most the training set.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns how many images and captions pair.
    pub fn pairing(&self) -> &Pairing {
        self.split.train.pairing()
    }

    /// Returns the training pairs and the held-out pairs.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Returns the initial head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Creates the folder of a new run.
    ///
    /// # Errors
    /// The same as [`RunFolder::create`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<RunFolder, TrainError> {
        RunFolder::create(path, &self.recipe)
    }

    /// Opens the folder of an interrupted run.
    ///
    /// # Errors
    /// The same as [`Recipe::resume`]; the run must have the same recipe.
    pub fn resume(&self, path: impl AsRef<Path>) -> Result<RunFolder, TrainError> {
        self.recipe.resume(path)
    }

    /// Returns a trainer for the training pairs that evaluates on the holdout. Folder, observers, devices and memory
    /// budget can be added to it.
    pub fn trainer(self) -> Trainer<'static, Head> {
        let Self { recipe, split, head, loss, auxiliary, unpaired } = self;
        let trainer = Trainer::new(recipe.train, head, loss, split.train).holdout(split.holdout);
        let trainer = auxiliary.into_iter().fold(trainer, Trainer::auxiliary);
        match unpaired {
            Some(unpaired) => trainer.unpaired(unpaired),
            None => trainer,
        }
    }
}

/// The Gram loss of a head on token states.
fn gram(head: &Head, weight: f64) -> Result<Gram, ConfigError> {
    let tokens = head.config().image.as_ref().and_then(|side| side.tokens);
    let layout = tokens.ok_or_else(|| ConfigError {
        field: "gram".to_owned(),
        found: weight.to_string(),
        expected: "none, or a `projector` of token states, such as `token`".to_owned(),
    })?;
    Gram::new(layout)
}
