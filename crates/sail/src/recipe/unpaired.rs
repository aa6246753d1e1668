//! What a recipe learns from images and texts that are not paired.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{AlignmentHead, Check, ConfigError, FeatureSource, Side, ensure};
use sail_data::{Fingerprint, Split, same_features};
use sail_fit::FitConfig;
use sail_layers::{Head, Holdout};
use sail_losses::Klot;
use sail_support::resolve;
use sail_train::{Auxiliary, Unpaired};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::{Recipe, RecipeError, adopt};

/// Adds [`Klot`] on images and texts that are not paired to the loss, as SOTAlign (arXiv 2602.23353).
///
/// Rows of these features whose key is held out are left out, where keys can be compared: if both sources have keys, or if
/// they are the same file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UnpairedRecipe {
    /// Image features, as accepted by [`open_features`](sail_data::open_features).
    pub images: String,
    /// Text features.
    pub texts: String,
    /// Images and texts of a step; by default as many as the batch size asks for. A run records it, and has at most as many as
    /// the smaller side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// The teacher, whose similarities decide which of them match.
    #[serde(default)]
    pub teacher: Teacher,
    /// Weight of KLOT, above 0.
    pub weight: f64,
    /// Regularization of both transport plans.
    #[serde(default)]
    pub klot: Klot,
}

/// The teacher of [`UnpairedRecipe`]. In a file, this is a method of [`FitConfig`] by name, a table with its settings, or a
/// table with `from`, the path of a head file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Teacher {
    /// A head in closed form, fitted to the training pairs.
    Fit(FitConfig),
    /// A head file, which must have the holdout of the run.
    Head {
        /// The head file.
        from: PathBuf,
    },
}

impl Default for Teacher {
    /// CCA, which had the better results in the paper.
    fn default() -> Self {
        Self::Fit(FitConfig::CCA)
    }
}

impl<'de> Deserialize<'de> for Teacher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct HeadFile {
            from: PathBuf,
        }
        let value = match Value::deserialize(deserializer)? {
            Value::String(method) => json!({ "method": method }),
            value => value,
        };
        if value.get("from").is_some() {
            let HeadFile { from } = serde_json::from_value(value).map_err(D::Error::custom)?;
            return Ok(Self::Head { from });
        }
        serde_json::from_value(value).map(Self::Fit).map_err(D::Error::custom)
    }
}

impl UnpairedRecipe {
    /// Creates the recipe of two sources and a weight, with a CCA of the training pairs as teacher.
    pub fn new(images: impl Into<String>, texts: impl Into<String>, weight: f64) -> Self {
        let (images, texts) = (images.into(), texts.into());
        Self { images, texts, batch_size: None, teacher: Teacher::default(), weight, klot: Klot::default() }
    }

    /// Sets the number of images and texts of a step.
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: impl Into<Option<usize>>) -> Self {
        self.batch_size = batch_size.into();
        self
    }

    /// Sets the teacher.
    #[must_use]
    pub fn with_teacher(mut self, teacher: Teacher) -> Self {
        self.teacher = teacher;
        self
    }

    /// Sets the regularization of both transport plans.
    #[must_use]
    pub fn with_klot(mut self, klot: Klot) -> Self {
        self.klot = klot;
        self
    }

    /// Takes the spelling of the same files.
    pub(super) fn adopt(&mut self, found: &Self) {
        adopt(&mut self.images, &found.images);
        adopt(&mut self.texts, &found.texts);
        if let (Teacher::Head { from }, Teacher::Head { from: found }) = (&mut self.teacher, &found.teacher)
            && resolve(&*from) == resolve(found)
        {
            from.clone_from(found);
        }
    }

    /// Creates the rows and the loss on them.
    pub(super) fn build(
        &self,
        recipe: &Recipe,
        [images, texts]: [Arc<dyn FeatureSource>; 2],
        split: &Split,
        head: &Head,
        device: &Device,
    ) -> Result<(Unpaired, Auxiliary), RecipeError> {
        for (side, spec, features) in
            [(Side::Image, &self.images, &images), (Side::Text, &self.texts, &texts)]
        {
            let accepted = head.accepts(side, features.dim(), features.provenance());
            accepted.map_err(|source| RecipeError::Unpaired { spec: spec.clone(), source })?;
        }
        let [keyed_images, keyed_texts] = [
            (&images, split.train.images(), &self.images, &recipe.images),
            (&texts, split.train.captions(0), &self.texts, &recipe.texts),
        ]
        .map(|(unpaired, paired, spec, of_pairs)| {
            let keys = !unpaired.positional() && !split.train.images().positional();
            keys || (paired.positional() && same_features(spec, of_pairs))
        });
        let batch_size = self.batch_size.unwrap_or(recipe.train.batch_size);
        let mut unpaired = Unpaired::new(images, texts, batch_size)?;
        let held_out = held_out(split)?;
        let images = if keyed_images { unpaired.leave_out_images(|key| held_out.contains(key))? } else { 0 };
        let texts = if keyed_texts { unpaired.leave_out_texts(|key| held_out.contains(key))? } else { 0 };
        if images + texts > 0 {
            tracing::warn!(
                "{images} images and {texts} texts that are not paired are held out, and left out"
            );
        }
        let found = unpaired.batch_size();
        if found < 2 {
            let found = format!("{} images and {} texts", unpaired.images(), unpaired.texts());
            ensure(false, "unpaired", found, "at least 2 of each that are not held out")?;
        }
        if found < batch_size {
            tracing::warn!(
                "the batch size {batch_size} is larger than the {} unpaired images and {} texts allow: every step has \
                 {found} of each",
                unpaired.images(),
                unpaired.texts()
            );
        }
        let (teacher, name) = self.teacher(split, recipe, device)?;
        for (side, features) in [(Side::Image, split.train.images()), (Side::Text, split.train.captions(0))] {
            teacher.accepts(side, features.dim(), features.provenance()).map_err(RecipeError::Teacher)?;
        }
        let loss = self.klot.with_teacher(teacher, name);
        Ok((unpaired, Auxiliary::new(loss, self.weight)))
    }

    /// Fits or loads the teacher, and names it for the signature of the run.
    fn teacher(
        &self,
        split: &Split,
        recipe: &Recipe,
        device: &Device,
    ) -> Result<(Head, String), RecipeError> {
        match &self.teacher {
            Teacher::Fit(config) => {
                let fit = config.fit(&split.train, device)?;
                tracing::info!("teacher: {}", fit.summary);
                Ok((fit.head, format!("{config:?}")))
            }
            Teacher::Head { from } => {
                let head = Head::load(from, device)
                    .map_err(|source| RecipeError::HeadFile { path: from.clone(), source })?;
                let found = head.holdout().map(|holdout| holdout.keys_sha256.clone());
                let expected = Holdout {
                    rows: recipe.holdout,
                    seed: recipe.train.seed,
                    keys_sha256: split.holdout_sha256.clone(),
                };
                if expected.rows > 0 && found.as_ref() != Some(&expected.keys_sha256) {
                    return Err(RecipeError::TeacherHoldout {
                        path: from.clone(),
                        found: head.holdout().cloned(),
                        expected,
                    });
                }
                let mut fingerprint = Fingerprint::default();
                fingerprint.add(&head.to_bytes()?);
                Ok((head, fingerprint.finish()))
            }
        }
    }
}

/// The keys of the held-out pairs.
fn held_out(split: &Split) -> Result<BTreeSet<String>, RecipeError> {
    let rows: Vec<usize> = (0..split.holdout.len()).map(|pair| split.holdout.image_row(pair)).collect();
    let keys = split.holdout.images().keys(&rows).map_err(|error| RecipeError::Pairs(error.into()))?;
    Ok(keys.into_iter().collect())
}

impl Check for UnpairedRecipe {
    fn check(&self) -> Result<(), ConfigError> {
        let weight = self.weight;
        ensure(weight.is_finite() && weight > 0.0, "klot", weight, "a weight above 0")?;
        if let Some(batch_size) = self.batch_size {
            ensure(batch_size > 1, "unpaired.batch_size", batch_size, "at least 2")?;
        }
        match &self.teacher {
            Teacher::Fit(config) => config.check()?,
            Teacher::Head { from } => {
                ensure(!from.as_os_str().is_empty(), "teacher", "empty", "the path of a head file")?;
            }
        }
        self.klot.check()
    }
}
