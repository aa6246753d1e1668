//! The options of `sail train` for images and texts that are not paired.

use clap::Args;
use sail_vl::fit::FitConfig;
use sail_vl::recipe::{Teacher, UnpairedRecipe};

use crate::error::CliError;

#[derive(Args, Clone)]
pub(crate) struct UnpairedArgs {
    /// Features of images without captions, to learn from with SOTAlign's KLOT; needs `--unpaired-texts` and `--klot`.
    #[arg(long, value_name = "FEATURES")]
    unpaired_images: Option<String>,
    /// Features of texts without images.
    #[arg(long, value_name = "FEATURES")]
    unpaired_texts: Option<String>,
    /// Weight of KLOT, the divergence of the matches of the head among these images and texts from those of the teacher.
    #[arg(long, value_name = "WEIGHT")]
    klot: Option<f64>,
    /// The teacher: `cca`, `procrustes`, `csa` or `ridge`, fitted to the training pairs, or a head file with the same holdout
    /// [default: cca].
    #[arg(long, value_name = "METHOD|HEAD")]
    teacher: Option<String>,
    /// Images and texts of a step that are not paired; if there are fewer of either, as many as there are [default: as
    /// `--batch`].
    #[arg(long, value_name = "ROWS")]
    unpaired_batch: Option<usize>,
    /// Entropic regularization of the matches of the head, in units of the cosine [default: 0.05].
    #[arg(long, value_name = "EPSILON")]
    klot_epsilon: Option<f64>,
    /// Entropic regularization of the matches of the teacher [default: 0.005].
    #[arg(long, value_name = "EPSILON")]
    teacher_epsilon: Option<f64>,
}

impl UnpairedArgs {
    /// Changes the settings of a recipe to those of the options.
    pub(crate) fn set(&self, recipe: &mut Option<UnpairedRecipe>) -> Result<(), CliError> {
        let Self { unpaired_images, unpaired_texts, klot, .. } = self;
        match recipe {
            Some(recipe) => {
                recipe.images = unpaired_images.clone().unwrap_or_else(|| recipe.images.clone());
                recipe.texts = unpaired_texts.clone().unwrap_or_else(|| recipe.texts.clone());
                recipe.weight = klot.unwrap_or(recipe.weight);
                self.settings(recipe);
                Ok(())
            }
            None => match (unpaired_images, unpaired_texts, klot) {
                (Some(images), Some(texts), Some(weight)) => {
                    self.settings(recipe.insert(UnpairedRecipe::new(images, texts, *weight)));
                    Ok(())
                }
                _ if self.is_empty() => Ok(()),
                _ => {
                    let message = "images and texts that are not paired need all of `--unpaired-images`, \
                                   `--unpaired-texts` and `--klot`";
                    Err(CliError::Usage(message.into()))
                }
            },
        }
    }

    fn settings(&self, recipe: &mut UnpairedRecipe) {
        if let Some(teacher) = &self.teacher {
            let methods = [FitConfig::PROCRUSTES, FitConfig::CCA, FitConfig::CSA, FitConfig::RIDGE];
            recipe.teacher = match methods.into_iter().find(|method| method.name() == teacher) {
                Some(method) => Teacher::Fit(method),
                None => Teacher::Head { from: teacher.into() },
            };
        }
        recipe.batch_size = self.unpaired_batch.or(recipe.batch_size);
        recipe.klot.student.epsilon = self.klot_epsilon.unwrap_or(recipe.klot.student.epsilon);
        recipe.klot.teacher.epsilon = self.teacher_epsilon.unwrap_or(recipe.klot.teacher.epsilon);
    }

    fn is_empty(&self) -> bool {
        let Self {
            unpaired_images,
            unpaired_texts,
            klot,
            teacher,
            unpaired_batch,
            klot_epsilon,
            teacher_epsilon,
        } = self;
        let texts = [unpaired_images, unpaired_texts, teacher].into_iter().all(Option::is_none);
        let numbers = [klot, klot_epsilon, teacher_epsilon].into_iter().all(Option::is_none);
        texts && numbers && unpaired_batch.is_none()
    }
}
