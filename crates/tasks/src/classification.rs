//! Zero-shot classification.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::tensor::Tensor;
use sail_core::AlignmentHead;
use sail_eval::{BlockSize, ZeroShot, class_weights, top_k, zero_shot};
use serde::{Deserialize, Serialize};

use crate::answers::{Answer, Gallery, answers};
use crate::cache::FeatureCache;
use crate::error::TaskError;
use crate::inputs::Texts;
use crate::labelled::LabelledImages;
use crate::list::list;
use crate::model::{Projected, TaskModel};
use crate::skips::Skips;

/// The result of zero-shot classification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationResult {
    /// The accuracies.
    #[serde(flatten)]
    pub scores: ZeroShot,
    /// Class names, in the order of the accuracies per class. Of class folders without a list of names, those without a
    /// usable image are no classes.
    pub classes: Vec<String>,
    /// Number of scored images per class.
    pub counts: Vec<usize>,
    /// For every class, the other class that is most often predicted for its images, the first of ties; `None` (`null`) if
    /// all predictions are correct.
    #[serde(rename = "taken_for")]
    pub confused_with: Vec<Option<ConfusedClass>>,
    /// The non-zero cells of the confusion matrix, sorted by true and then by predicted class. The prediction is the class
    /// with the highest score, the first of ties, whereas [`ZeroShot`] counts a tie as wrong.
    pub confusion: Vec<ConfusionCell>,
    /// Number of classes without scored images. They can still be predicted.
    pub absent_classes: usize,
    /// Number of classes that have the name of another and were scored as one with it.
    #[serde(default)]
    pub merged_classes: usize,
    /// What is worth saying about the classes.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Number of prompts per class.
    pub n_templates: usize,
    /// Skipped images.
    pub skipped: Skips,
}

/// A cell of a confusion matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionCell {
    /// Index of the true class.
    pub truth: usize,
    /// Index of the predicted class.
    pub found: usize,
    /// Number of images.
    pub times: usize,
}

/// A class that is predicted instead of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusedClass {
    /// Index of the class.
    pub class: usize,
    /// Number of images.
    pub times: usize,
}

/// Scores a model on zero-shot classification: [`sail_eval::zero_shot`] with the prompt ensemble of
/// [`sail_eval::class_weights`].
///
/// # Errors
/// [`TaskError`] if the head does not match the towers, nothing can be embedded, an image has no label, a prompt cannot be
/// embedded, or all images are skipped.
pub fn classify<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &LabelledImages,
    cache: &mut FeatureCache<'_>,
) -> Result<ClassificationResult, TaskError> {
    embed(model, data, cache)?.score(data)
}

/// Returns the result of [`classify`], and the `k` best classes for each image.
///
/// # Errors
/// Those of [`classify`], and [`TaskError::Eval`] if `k` is 0.
pub fn classify_answers<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &LabelledImages,
    cache: &mut FeatureCache<'_>,
    k: usize,
) -> Result<(ClassificationResult, Vec<Answer>), TaskError> {
    let embedded = embed(model, data, cache)?;
    let keys = embedded.images.features.keys();
    let gallery = Gallery {
        keys: keys.into_iter().zip(0..).collect(),
        texts: embedded.classes.iter().map(String::as_str).collect(),
        correct: embedded.labels.iter().map(|&class| vec![class]).collect(),
    };
    let answers = answers(embedded.images.embeddings.clone(), embedded.weights.clone(), &gallery, k)?;
    Ok((embedded.score(data)?, answers))
}

/// The images, their labels, and a weight vector per class.
struct Embedded {
    images: Projected,
    labels: Vec<usize>,
    classes: Vec<String>,
    weights: Tensor<2>,
    notes: Vec<String>,
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
    let mut labels = images.features.keys().into_iter().map(label).collect::<Result<Vec<_>, _>>()?;
    let (mut classes, mut notes) = (data.classes.clone(), data.notes.clone());
    if !data.listed {
        let dropped = drop_absent(&mut classes, &mut labels);
        if !dropped.is_empty() {
            notes.push(format!("class folders without a usable image are left out: {}", list(&dropped)));
        }
    }
    if classes.len() == 1 {
        notes.push("there is only one class, so every prediction is correct".to_owned());
    }

    let mut texts = Texts::default();
    let (mut prompts, mut class_of_prompt) = (Vec::new(), Vec::new());
    for (class, name) in classes.iter().enumerate() {
        for prompt in data.templates.prompts(name) {
            prompts.push(texts.add(&prompt));
            class_of_prompt.push(class);
        }
    }
    let embedded = model.texts("classification", &texts, cache)?;
    let row = |index: usize| {
        let row = embedded.features.row(&Texts::key(index));
        row.map_err(|reason| TaskError::Prompt { prompt: texts.text(index).to_owned(), reason })
    };
    let prompts = prompts.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let weights = class_weights(embedded.select(&prompts), &class_of_prompt, classes.len())?;
    Ok(Embedded { images, labels, classes, weights, notes })
}

/// Removes the classes that no image has, and returns their names.
fn drop_absent(classes: &mut Vec<String>, labels: &mut [usize]) -> Vec<String> {
    let present: HashSet<usize> = labels.iter().copied().collect();
    let (kept, dropped): (Vec<usize>, Vec<usize>) =
        (0..classes.len()).partition(|class| present.contains(class));
    let index: HashMap<usize, usize> = kept.iter().copied().zip(0..).collect();
    labels.iter_mut().for_each(|label| *label = index[label]);
    let dropped = dropped.into_iter().map(|class| std::mem::take(&mut classes[class])).collect();
    *classes = kept.into_iter().map(|class| std::mem::take(&mut classes[class])).collect();
    dropped
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
        let confused_with = rows.iter().enumerate().map(|(truth, row)| {
            let wrong = row.iter().rev().filter(|(found, _)| **found != truth);
            let (&class, &times) = wrong.max_by_key(|(_, times)| **times)?;
            Some(ConfusedClass { class, times })
        });
        let cells = rows.iter().enumerate().flat_map(|(truth, row)| {
            row.iter().map(move |(&found, &times)| ConfusionCell { truth, found, times })
        });
        Ok(ClassificationResult {
            counts,
            confused_with: confused_with.collect(),
            confusion: cells.collect(),
            absent_classes: scores.per_class.iter().filter(|accuracy| accuracy.is_none()).count(),
            scores,
            merged_classes: data.merged,
            notes: self.notes,
            classes: self.classes,
            n_templates: data.templates.len(),
            skipped: skips(data, &features.keys(), features.skipped()),
        })
    }
}

/// Returns the images without a row, and the labels without an image.
fn skips<'a>(
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
    missing.into_iter().for_each(|key| skipped.add(key, "the label has no image"));
    skipped
}
