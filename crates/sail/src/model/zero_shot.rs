//! Zero-shot classification by class names.

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, RgbImage};
use sail_eval::{BlockSize, EvalError, class_weights, top_k};
use sail_layers::Head;

use super::{SailError, SailModel};

/// The placeholder for the label in a template.
const PLACEHOLDER: &str = "{}";

/// Number of prompts that are embedded before they are reduced to class weights. It bounds the memory for many
/// templates.
const PROMPTS: usize = 4096;

/// A predicted class of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction<'a> {
    /// Index of the class in the labels.
    pub class: usize,
    /// The label.
    pub label: &'a str,
    /// Cosine similarity of the image and the class weight, in -1 to 1 up to rounding.
    pub score: f32,
}

/// A zero-shot classifier, created by [`SailModel::zero_shot`].
///
/// The prompts are embedded once, when the classifier is created. It shares the weights of the model.
#[derive(Clone)]
pub struct ZeroShotClassifier<H: AlignmentHead = Head> {
    model: SailModel<H>,
    labels: Vec<String>,
    weights: Tensor<2>,
}

impl<H: AlignmentHead> SailModel<H> {
    /// Creates a zero-shot classifier for the given labels. The prompts of a class are all `templates` with its label
    /// in place of `{}`; its weight is the normalized mean of their unit embeddings ([`class_weights`]).
    ///
    /// # Errors
    /// Returns [`SailError::Empty`] without labels or templates, [`SailError::Template`] if a template has no `{}`,
    /// [`SailError::Eval`] if the embeddings of a class's prompts cancel out, and the errors of
    /// [`encode_texts`](SailModel::encode_texts).
    ///
    /// # Examples
    /// ```
    /// use sail_vl::core::RgbImage;
    /// use sail_vl::{SailError, SailModel};
    ///
    /// fn cat_or_dog(model: &SailModel, photo: RgbImage) -> Result<String, SailError> {
    ///     let classifier = model.zero_shot(&["cat", "dog"], &["a photo of a {}.", "a drawing of a {}."])?;
    ///     let best = classifier.classify(&[photo], 1)?;
    ///     Ok(best[0][0].label.to_owned())
    /// }
    /// ```
    pub fn zero_shot(
        &self,
        labels: &[impl AsRef<str>],
        templates: &[impl AsRef<str>],
    ) -> Result<ZeroShotClassifier<H>, SailError> {
        let labels: Vec<String> = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        let names: Vec<&[String]> = labels.chunks(1).collect();
        let weights = self.class_weights(&names, templates)?;
        Ok(ZeroShotClassifier { model: self.clone(), labels, weights })
    }

    /// Returns the class weights. A class has one or more names, each of which is used in every template.
    ///
    /// # Shapes
    /// - result: `[classes.len(), dim]`, rows of unit length, on the head's device
    pub(super) fn class_weights(
        &self,
        classes: &[impl AsRef<[String]>],
        templates: &[impl AsRef<str>],
    ) -> Result<Tensor<2>, SailError> {
        let templates: Vec<&str> = templates.iter().map(AsRef::as_ref).collect();
        if classes.is_empty() || classes.iter().any(|names| names.as_ref().is_empty()) {
            return Err(SailError::Empty { what: "label" });
        }
        if templates.is_empty() {
            return Err(SailError::Empty { what: "template" });
        }
        if let Some(template) = templates.iter().find(|template| !template.contains(PLACEHOLDER)) {
            return Err(SailError::Template { template: (*template).to_owned() });
        }
        let step = (PROMPTS / templates.len()).max(1);
        let mut weights = Vec::with_capacity(classes.len().div_ceil(step));
        for (part, classes) in classes.chunks(step).enumerate() {
            let (mut prompts, mut class_of_prompt) = (Vec::new(), Vec::new());
            for (class, names) in classes.iter().enumerate() {
                let names = names.as_ref().iter();
                prompts.extend(names.flat_map(|name| templates.iter().map(|t| t.replace(PLACEHOLDER, name))));
                class_of_prompt.resize(prompts.len(), class);
            }
            let embeddings = self.encode_texts(&prompts)?;
            let found = class_weights(embeddings, &class_of_prompt, classes.len());
            weights.push(found.map_err(|error| match error {
                EvalError::PromptsCancel { class } => EvalError::PromptsCancel { class: part * step + class },
                other => other,
            })?);
        }
        Ok(Tensor::cat(weights, 0))
    }
}

impl<H: AlignmentHead> ZeroShotClassifier<H> {
    /// Returns the labels, in the order of the classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns the class weights, for example to compute accuracies with [`sail_eval::zero_shot`].
    ///
    /// # Shapes
    /// - result: `[labels, dim]`, rows of unit length, on the head's device
    pub fn weights(&self) -> Tensor<2> {
        self.weights.clone()
    }

    /// Returns the `k` classes with the highest scores for each image, best first, or all classes if there are fewer.
    ///
    /// # Errors
    /// The same as [`SailModel::encode_images`], and [`SailError::Eval`] if `k` is 0.
    ///
    /// # Examples
    /// ```
    /// use sail_vl::core::RgbImage;
    /// use sail_vl::{SailError, ZeroShotClassifier};
    ///
    /// fn print(classifier: &ZeroShotClassifier, photos: &[RgbImage]) -> Result<(), SailError> {
    ///     for classes in classifier.classify(photos, 5)? {
    ///         let line = classes.iter().map(|class| format!("{} {:.2}", class.label, class.score));
    ///         println!("{}", line.collect::<Vec<_>>().join(" | "));
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn classify(&self, images: &[RgbImage], k: usize) -> Result<Vec<Vec<Prediction<'_>>>, SailError> {
        let images = self.model.encode_images(images)?;
        let found = top_k(images, self.weights(), k, &BlockSize::default())?;
        let prediction = |found: sail_eval::Match| {
            let label = self.labels.get(found.index)?;
            Some(Prediction { class: found.index, label, score: found.score })
        };
        Ok(found.into_iter().map(|found| found.into_iter().filter_map(prediction).collect()).collect())
    }
}
