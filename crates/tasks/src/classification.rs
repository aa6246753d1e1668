//! Zero-shot classification.

use std::collections::{BTreeMap, HashSet};

use burn::tensor::Tensor;
use sail_core::AlignmentHead;
use sail_eval::{BlockSize, ZeroShot, class_weights, top_k, zero_shot};
use serde::{Deserialize, Serialize};

use crate::answers::{Known, answers};
use crate::inputs::Texts;
use crate::model::Projected;
use crate::{Answer, FeatureCache, LabelledImages, Skips, TaskError, TaskModel};

/// What zero-shot classification came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationResult {
    /// The accuracies.
    #[serde(flatten)]
    pub scores: ZeroShot,
    /// The names of the classes, in the order of the accuracies of each.
    pub classes: Vec<String>,
    /// How many scored images each class has.
    pub counts: Vec<usize>,
    /// For every class, the other class that its images are most often taken for, which is to say that it scores
    /// highest; `None` (`null`) where all are right. Of equals, the first.
    pub taken_for: Vec<Option<Mistake>>,
    /// How often each class was found for each true one, the cells that are not zero, by true and then by found class.
    /// The class that scores highest is found, of equals the first, where [`ZeroShot`] counts a tie as wrong.
    pub confusion: Vec<ConfusionCell>,
    /// Classes that no scored image shows; they are among the wrong answers all the same.
    pub absent_classes: usize,
    /// How many prompts a class has.
    pub n_templates: usize,
    /// Images left out.
    pub skipped: Skips,
}

/// A cell of a confusion matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionCell {
    /// The number of the true class.
    pub truth: usize,
    /// The number of the class that scored highest.
    pub found: usize,
    /// For how many images.
    pub times: usize,
}

/// A class that another is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Its number.
    pub class: usize,
    /// For how many images.
    pub times: usize,
}

/// Scores a model on zero-shot classification: [`sail_eval::zero_shot`] with the prompt ensemble of
/// [`sail_eval::class_weights`].
///
/// # Errors
/// [`TaskError`] where the head does not go with the towers, nothing can be embedded, an image has no label, a prompt
/// cannot be embedded, or no image is left.
pub fn classify<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &LabelledImages,
    cache: &mut FeatureCache<'_>,
) -> Result<ClassificationResult, TaskError> {
    embed(model, data, cache)?.score(data)
}

/// [`classify`], and the first `k` classes that each image finds.
///
/// # Errors
/// Those of [`classify`], and [`TaskError::Eval`] for a `k` of 0.
pub fn classify_answers<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &LabelledImages,
    cache: &mut FeatureCache<'_>,
    k: usize,
) -> Result<(ClassificationResult, Vec<Answer>), TaskError> {
    let embedded = embed(model, data, cache)?;
    let keys = embedded.images.features.keys();
    let known = Known {
        keys: keys.into_iter().zip(0..).collect(),
        texts: data.classes.iter().map(String::as_str).collect(),
        right: embedded.labels.iter().map(|&class| vec![class]).collect(),
    };
    let answers = answers(embedded.images.embeddings.clone(), embedded.weights.clone(), &known, k)?;
    Ok((embedded.score(data)?, answers))
}

/// The images, their classes, and a row for each class there is.
struct Embedded {
    images: Projected,
    labels: Vec<usize>,
    weights: Tensor<2>,
}

fn embed<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &LabelledImages,
    cache: &mut FeatureCache<'_>,
) -> Result<Embedded, TaskError> {
    let images = model.images("classification", &data.images, cache)?;
    let label = |key: &str| {
        let label = data.labels.get(key).copied();
        label.ok_or_else(|| TaskError::Unlabelled { path: data.path.clone(), key: key.to_owned() })
    };
    let labels = images.features.keys().into_iter().map(label).collect::<Result<Vec<_>, _>>()?;

    let mut texts = Texts::default();
    let (mut prompts, mut class_of_prompt) = (Vec::new(), Vec::new());
    for (class, name) in data.classes.iter().enumerate() {
        for prompt in data.templates.prompts(name) {
            prompts.push(texts.add(&prompt));
            class_of_prompt.push(class);
        }
    }
    let embedded = model.texts("classification", &texts, cache)?;
    let row = |number: usize| {
        let row = embedded.features.row(&Texts::key(number));
        row.map_err(|reason| TaskError::Prompt { prompt: texts.text(number).to_owned(), reason })
    };
    let prompts = prompts.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let weights = class_weights(embedded.select(&prompts), &class_of_prompt, data.classes.len())?;
    Ok(Embedded { images, labels, weights })
}

impl Embedded {
    fn score(self, data: &LabelledImages) -> Result<ClassificationResult, TaskError> {
        let Projected { features, embeddings } = self.images;
        let first = top_k(embeddings.clone(), self.weights.clone(), 1, &BlockSize::SEARCH)?;
        let first = first.iter().map(|found| found[0].index);
        let scores = zero_shot(embeddings, self.weights, &self.labels)?;
        let (mut counts, mut rows) = (vec![0; scores.n_classes], vec![BTreeMap::new(); scores.n_classes]);
        for (&class, found) in self.labels.iter().zip(first) {
            counts[class] += 1;
            *rows[class].entry(found).or_insert(0usize) += 1;
        }
        let taken_for = rows.iter().enumerate().map(|(truth, row)| {
            let mistakes = row.iter().rev().filter(|(found, _)| **found != truth);
            let (&class, &times) = mistakes.max_by_key(|(_, times)| **times)?;
            Some(Mistake { class, times })
        });
        let cells = rows.iter().enumerate().flat_map(|(truth, row)| {
            row.iter().map(move |(&found, &times)| ConfusionCell { truth, found, times })
        });
        Ok(ClassificationResult {
            counts,
            taken_for: taken_for.collect(),
            confusion: cells.collect(),
            absent_classes: scores.per_class.iter().filter(|accuracy| accuracy.is_none()).count(),
            scores,
            classes: data.classes.clone(),
            n_templates: data.templates.len(),
            skipped: left_out(data, &features.keys(), features.skipped()),
        })
    }
}

/// The images without a row, and the labels without an image.
fn left_out<'a>(
    data: &LabelledImages,
    keys: &[&str],
    unusable: impl Iterator<Item = (&'a str, &'a str)>,
) -> Skips {
    let mut skipped = data.skipped.clone();
    let mut seen: HashSet<&str> = keys.iter().copied().collect();
    for (key, reason) in unusable {
        skipped.add(key, reason);
        seen.insert(key);
    }
    let mut missing: Vec<&String> = data.labels.keys().filter(|key| !seen.contains(key.as_str())).collect();
    missing.sort_unstable();
    missing.into_iter().for_each(|key| skipped.add(key, "there is a label but no image"));
    skipped
}
