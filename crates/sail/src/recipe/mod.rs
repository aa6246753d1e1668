//! Training runs as configuration files.

mod error;
mod head;
mod keys;
mod lora;
mod open;
mod prepared;
mod probing;
mod structure;
mod unpaired;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{Check, ConfigError, FeatureSource, Modality, ensure};
use sail_data::{Features, Pairing, Pairs, Unmatched, same_features};
use sail_losses::LossConfig;
use sail_support::resolve;
use sail_train::{RunFolder, TrainConfig, TrainError};
use serde::{Deserialize, Serialize};

pub use error::RecipeError;
pub use head::{HeadRecipe, ProjectorKind, ProjectorSettings};
pub use lora::LoraRecipe;
pub use open::{open_checked, open_unchecked};
pub use prepared::PreparedRun;
pub use structure::StructureRecipe;
pub use unpaired::{Teacher, UnpairedRecipe};

/// Configuration of a training run: features, holdout, head, loss and training settings.
///
/// A recipe can be read from a TOML or JSON file; the `config.json` of a run is its recipe. Missing fields have their
/// default values, and unknown fields are an error.
///
/// # Examples
/// ```
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// use sail_vl::burn::tensor::Device;
/// use sail_vl::recipe::Recipe;
///
/// let recipe = Recipe::from_toml(
///     r#"
///     images = "examples/data/emoji-features.safetensors:image"
///     texts = "examples/data/emoji-features.safetensors:label"
///     holdout = 370
///
///     [head]
///     projector = { kind = "linear" }
///     dim = 512
///
///     [train]
///     batch_size = 370
///     epochs = 2
///     learning_rate = 3e-4
///     "#,
/// )?;
/// let outcome = recipe.prepare(&Device::flex())?.trainer().run()?;
/// assert!(outcome.best.is_some_and(|best| best.score > 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Recipe {
    /// Image features, as accepted by [`open_features`](sail_data::open_features): a store, `FILE.safetensors` or `FILE.safetensors:TENSOR`.
    /// Several sources, separated by commas, are concatenated.
    pub images: String,
    /// Text features, paired with the images by key.
    pub texts: String,
    /// Additional caption sets for the same images, used as extra positives.
    #[serde(default)]
    pub extra_texts: Vec<String>,
    /// What becomes of images and captions whose key the other side does not have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unmatched: Unmatched,
    /// Keys of the pairs to train on: a text file with a key in each line, JSON lines with a field `key`, or features, as
    /// [`KeyList`](sail_data::KeyList) reads them; by default all pairs. The held-out pairs are chosen before and do not depend on
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// Number of pairs. It is recorded by a run; if it is set, the data must have this number of pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// How many images and captions pair. It is recorded by a run that dropped some, and has no effect on another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing: Option<Pairing>,
    /// Number of pairs that are held out for evaluation.
    #[serde(default)]
    pub holdout: usize,
    /// The head to train.
    #[serde(default)]
    pub head: HeadRecipe,
    /// The loss.
    #[serde(default)]
    pub loss: LossConfig,
    /// A regularizer of the pairs that is added to the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structure: Option<StructureRecipe>,
    /// Weight of the [Gram loss](sail_losses::Gram) of the patches of images that is added, above 0, for a head on token
    /// states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gram: Option<f64>,
    /// Images and texts that are not paired, and the loss on them that is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaired: Option<UnpairedRecipe>,
    /// Adapters of the image encoder, whose images are then token states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_image: Option<LoraRecipe>,
    /// The training settings. The seed also determines the initial weights and the holdout.
    #[serde(default)]
    pub train: TrainConfig,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Recipe {
    /// Creates the recipe of the paper (arXiv 2412.04616) for the given features, without a holdout.
    pub fn new(images: impl Into<String>, texts: impl Into<String>) -> Self {
        Self {
            images: images.into(),
            texts: texts.into(),
            extra_texts: Vec::new(),
            unmatched: Unmatched::default(),
            keys: None,
            rows: None,
            pairing: None,
            holdout: 0,
            head: HeadRecipe::default(),
            loss: LossConfig::default(),
            structure: None,
            gram: None,
            unpaired: None,
            lora_image: None,
            train: TrainConfig::default(),
        }
    }

    /// Sets the additional caption sets.
    #[must_use]
    pub fn with_extra_texts(mut self, extra_texts: Vec<String>) -> Self {
        self.extra_texts = extra_texts;
        self
    }

    /// Sets what becomes of images and captions whose key the other side does not have.
    #[must_use]
    pub fn with_unmatched(mut self, unmatched: Unmatched) -> Self {
        self.unmatched = unmatched;
        self
    }

    /// Sets the list of the keys to train on.
    #[must_use]
    pub fn with_keys(mut self, keys: impl Into<Option<String>>) -> Self {
        self.keys = keys.into();
        self
    }

    /// Sets the number of held-out pairs.
    #[must_use]
    pub fn with_holdout(mut self, holdout: usize) -> Self {
        self.holdout = holdout;
        self
    }

    /// Sets the head.
    #[must_use]
    pub fn with_head(mut self, head: HeadRecipe) -> Self {
        self.head = head;
        self
    }

    /// Sets the loss.
    #[must_use]
    pub fn with_loss(mut self, loss: LossConfig) -> Self {
        self.loss = loss;
        self
    }

    /// Sets the regularizer of the pairs.
    #[must_use]
    pub fn with_structure(mut self, structure: impl Into<Option<StructureRecipe>>) -> Self {
        self.structure = structure.into();
        self
    }

    /// Sets the weight of the Gram loss.
    #[must_use]
    pub fn with_gram(mut self, weight: impl Into<Option<f64>>) -> Self {
        self.gram = weight.into();
        self
    }

    /// Sets the images and texts that are not paired, and the loss on them.
    #[must_use]
    pub fn with_unpaired(mut self, unpaired: impl Into<Option<UnpairedRecipe>>) -> Self {
        self.unpaired = unpaired.into();
        self
    }

    /// Sets the adapters of the image encoder.
    #[must_use]
    pub fn with_lora_image(mut self, lora: impl Into<Option<LoraRecipe>>) -> Self {
        self.lora_image = lora.into();
        self
    }

    /// Sets the training settings.
    #[must_use]
    pub fn with_train(mut self, train: TrainConfig) -> Self {
        self.train = train;
        self
    }

    /// Parses a recipe in TOML.
    ///
    /// # Errors
    /// Returns [`RecipeError::Format`] if the text is not a valid recipe.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        toml::from_str(text).map_err(|error| RecipeError::Format(error.to_string()))
    }

    /// Parses a recipe in JSON, such as the `config.json` of a run.
    ///
    /// # Errors
    /// Returns [`RecipeError::Format`] if the text is not a valid recipe.
    pub fn from_json(text: &str) -> Result<Self, RecipeError> {
        serde_json::from_str(text).map_err(|error| RecipeError::Format(error.to_string()))
    }

    /// Loads a recipe from a file: TOML if its name ends in `.toml`, JSON otherwise.
    ///
    /// # Errors
    /// Returns [`RecipeError::File`] if the file cannot be read or is not a valid recipe.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RecipeError> {
        let path = path.as_ref();
        let in_file =
            |source: RecipeError| RecipeError::File { path: path.to_owned(), source: Box::new(source) };
        let text = std::fs::read_to_string(path).map_err(|error| in_file(error.into()))?;
        match path.extension().is_some_and(|extension| extension == "toml") {
            true => Self::from_toml(&text).map_err(in_file),
            false => Self::from_json(&text).map_err(in_file),
        }
    }

    /// Formats the recipe as TOML.
    ///
    /// # Errors
    /// Returns [`RecipeError::Format`] if a value cannot be represented in TOML, such as a seed above 2^63.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string_pretty(self).map_err(|error| RecipeError::Format(error.to_string()))
    }

    /// Returns the recipe with the setting at the given path changed, for example for a sweep.
    ///
    /// # Errors
    /// Returns [`RecipeError::Setting`] if the path does not exist or the value is invalid.
    ///
    /// # Examples
    /// ```
    /// use sail_vl::recipe::Recipe;
    /// let recipe = Recipe::new("images", "texts");
    /// assert_eq!(recipe.with_setting("train.learning_rate", "3e-4")?.train.learning_rate, 3e-4);
    /// assert_eq!(recipe.with_setting("train.schedule", "linear")?.train.schedule.to_string(), "linear");
    /// assert!(recipe.with_setting("train.rate", "3e-4").is_err());
    /// # Ok::<(), sail_vl::recipe::RecipeError>(())
    /// ```
    pub fn with_setting(&self, path: &str, value: &str) -> Result<Self, RecipeError> {
        let error =
            |reason: String| RecipeError::Setting { path: path.to_owned(), value: value.to_owned(), reason };
        let mut json = serde_json::to_value(self).map_err(|cause| error(cause.to_string()))?;
        let mut field = &mut json;
        for name in path.split('.') {
            let Some(object) = field.as_object_mut() else {
                return Err(error(format!("`{name}` is not a setting")));
            };
            // A setting may be missing if it has its default. Unknown names are rejected when the recipe is parsed
            // below.
            field = object.entry(name).or_insert(serde_json::Value::Null);
        }
        *field = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        serde_json::from_value(json).map_err(|cause| error(cause.to_string()))
    }

    /// Opens the folder of a run of this recipe, to resume it. The features are those of the run if their paths lead to the
    /// same files, however they are spelled.
    ///
    /// # Errors
    /// Those of [`RunFolder::resume`].
    pub fn resume(&self, path: impl AsRef<Path>) -> Result<RunFolder, TrainError> {
        let found: Self = RunFolder::config(&path)?;
        let mut recipe = self.clone();
        adopt(&mut recipe.images, &found.images);
        adopt(&mut recipe.texts, &found.texts);
        for (spec, found) in recipe.extra_texts.iter_mut().zip(&found.extra_texts) {
            adopt(spec, found);
        }
        if let (Some(keys), Some(found)) = (&mut recipe.keys, &found.keys) {
            adopt(keys, found);
        }
        if let (Some(unpaired), Some(found)) = (&mut recipe.unpaired, &found.unpaired) {
            unpaired.adopt(found);
        }
        if let (Some(lora), Some(found)) = (&mut recipe.lora_image, &found.lora_image) {
            lora.adopt(found);
        }
        if let (HeadRecipe::Trained { from }, HeadRecipe::Trained { from: found }) =
            (&mut recipe.head, &found.head)
            && resolve(from) == resolve(found)
        {
            from.clone_from(found);
        }
        RunFolder::resume(path, &recipe)
    }

    /// Opens the features, checks every row, pairs and splits them, and builds the head and the loss.
    ///
    /// # Errors
    /// Returns [`RecipeError`] if the recipe is invalid, which is checked first, or if the features cannot be used.
    pub fn prepare(&self, device: &Device) -> Result<PreparedRun, RecipeError> {
        self.prepare_with(device, |spec, modality| open_checked(spec, modality, None, |_| ()))
    }

    /// Like [`prepare`](Self::prepare), but opens features with the given function, for example to show progress.
    ///
    /// # Errors
    /// The same as [`prepare`](Self::prepare), and those of `open`.
    pub fn prepare_with<E: From<RecipeError>>(
        &self,
        device: &Device,
        mut open: impl FnMut(&str, Modality) -> Result<Arc<Features>, E>,
    ) -> Result<PreparedRun, E> {
        self.check().map_err(RecipeError::from)?;
        let images = open(&self.images, Modality::Image)?;
        let mut captions: Vec<Arc<dyn FeatureSource>> = vec![open(&self.texts, Modality::Text)?];
        for spec in &self.extra_texts {
            captions.push(open(spec, Modality::Text)?);
        }
        let unpaired = match &self.unpaired {
            Some(UnpairedRecipe { images, texts, .. }) => {
                Some([open(images, Modality::Image)? as _, open(texts, Modality::Text)? as _])
            }
            None => None,
        };
        Ok(PreparedRun::new(self, images, captions, unpaired, device)?)
    }

    /// Pairs the features of the recipe.
    fn pair(
        &self,
        images: Arc<dyn FeatureSource>,
        captions: Vec<Arc<dyn FeatureSource>>,
    ) -> Result<Pairs, RecipeError> {
        let pairs = Pairs::join(images, captions, self.unmatched).map_err(|error| match error {
            sail_data::DataError::CaptionSets { set, field, found, expected } => {
                let spec = |set: usize| match set {
                    0 => self.texts.clone(),
                    set => self.extra_texts[set - 1].clone(),
                };
                RecipeError::CaptionSets { found: (spec(set), found), expected: (spec(0), expected), field }
            }
            other => RecipeError::Pairs(other),
        })?;
        match self.rows {
            Some(expected) if expected != pairs.len() => {
                Err(RecipeError::Rows { found: pairs.len(), expected })
            }
            _ => Ok(pairs),
        }
    }
}

/// Takes the spelling of the same features.
fn adopt(spec: &mut String, found: &str) {
    if same_features(spec, found) {
        found.clone_into(spec);
    }
}

impl Check for Recipe {
    fn check(&self) -> Result<(), ConfigError> {
        self.train.check()?;
        self.loss.check()?;
        self.head.check()?;
        self.structure.as_ref().map_or(Ok(()), Check::check)?;
        if let Some(weight) = self.gram {
            ensure(weight.is_finite() && weight > 0.0, "gram", weight, "a weight above 0")?;
        }
        self.unpaired.as_ref().map_or(Ok(()), Check::check)?;
        if let Some(lora) = &self.lora_image {
            lora.check()?;
            // Both compare features, and token states are not those that the head gets.
            ensure(self.structure.is_none(), "structure", "set", "none with `lora_image`")?;
            ensure(self.unpaired.is_none(), "unpaired", "set", "none with `lora_image`")?;
        }
        ensure(self.keys.as_deref() != Some(""), "keys", "empty", "the path of a list of keys")?;
        let evaluated = self.train.patience.is_none() || self.holdout > 0;
        ensure(evaluated, "patience", "set", "a `holdout` of at least 1 to evaluate")
    }
}

#[cfg(test)]
mod tests;
