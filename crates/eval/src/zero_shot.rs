//! Classification by the names of the classes.

use burn::tensor::{DType, Tensor, TensorData};
use sail_support::ranges;
use serde::{Deserialize, Serialize};

use crate::ranks::hit_rate;
use crate::tiles::rank_both_ways;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError};

/// Accuracies of zero-shot classification, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZeroShot {
    /// Images whose own class scores highest.
    pub top1: f64,
    /// Images whose own class is among the first five.
    pub top5: f64,
    /// Mean of the top-1 accuracies of the classes that occur, each class counting alike.
    pub per_class_mean: f64,
    /// Top-1 accuracy of every class; `None` (`null`) for a class that does not occur.
    pub per_class: Vec<Option<f64>>,
    /// How many images there are.
    pub n_images: usize,
    /// How many classes there are.
    pub n_classes: usize,
}

/// The weight of every class from the embeddings of its prompts ("a photo of a dog.", "a sketch of a dog.", ...):
/// `w = u / |u|`, `u` the mean of the class's `e / |e|`.
///
/// This is the prompt ensemble of CLIP (Radford et al., 2021, arXiv 2103.00020, section 3.1.4). A class may have
/// any number of prompts, in any order.
///
/// # Shapes
/// - prompt_embeddings: `[n_prompts, dim]`, not necessarily normalised
/// - class_of_prompt: for each prompt, its class
/// - result: `[n_classes, dim]` in f32, of unit length, on the device of the prompts
///
/// # Errors
/// [`EvalError`] when there is no prompt; when `class_of_prompt` has another length or names a class that is not
/// there; when a class has no prompt, or prompts that cancel out; when an embedding is not finite or all zeros;
/// and when the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let prompts = Tensor::<2>::from_floats([[9.0, 0.0], [0.0, 1.0], [0.0, -2.0]], &Device::flex());
/// let weights = sail_eval::class_weights(prompts, &[0, 0, 1], 2)?;
/// let half = 0.5f32.sqrt();
/// assert_eq!(weights.into_data().try_to_vec::<f32>()?, [half, half, 0.0, -1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn class_weights(
    prompt_embeddings: Tensor<2>,
    class_of_prompt: &[usize],
    n_classes: usize,
) -> Result<Tensor<2>, EvalError> {
    let prompts = UnitRows::new(prompt_embeddings, "prompt")?;
    let dim = prompts.dim();
    let counts = count_classes(class_of_prompt, n_classes, prompts.len(), "prompt")?;
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return Err(EvalError::ClassWithoutPrompt { class });
    }
    let mut sums = vec![0.0f64; n_classes * dim];
    for range in ranges(prompts.len(), BlockSize::default().rows) {
        let block = prompts.read(range.clone())?;
        for (&class, prompt) in class_of_prompt[range].iter().zip(block.chunks_exact(dim)) {
            for (sum, &value) in sums[class * dim..][..dim].iter_mut().zip(prompt) {
                *sum += f64::from(value);
            }
        }
    }
    let mut weights = Vec::with_capacity(sums.len());
    for (class, sum) in sums.chunks_exact(dim).enumerate() {
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        // Unit rows are exact to about 1e-7; a mean shorter than that is rounding and points nowhere.
        if norm <= 1e-6 * counts[class] as f64 {
            return Err(EvalError::PromptsCancel { class });
        }
        weights.extend(sum.iter().map(|value| (value / norm) as f32));
    }
    let weights = TensorData::new(weights, [n_classes, dim]);
    Ok(Tensor::from_data(weights, (&prompts.device(), DType::F32)))
}

/// Classifies images by their cosine with the weights of the classes, see [`class_weights`].
///
/// The rank of an image is 1 plus the number of other classes that score at least as high as its own, up to
/// [`TIE_TOLERANCE`](crate::TIE_TOLERANCE): a tie with the true class counts against it. Memory is that of a few
/// blocks of the default [`BlockSize`].
///
/// # Shapes
/// - images: `[n_images, dim]`, not necessarily normalised
/// - class_weights: `[n_classes, dim]`, not necessarily normalised
/// - labels: for each image, its class
///
/// # Errors
/// [`EvalError`] when a side is empty or the two differ in dimension; when `labels` has another length than the
/// images or names a class that is not there; when an embedding is not finite or all zeros; and when the device
/// fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let classes = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let images = Tensor::<2>::from_floats([[2.0, 1.0], [1.0, 3.0], [3.0, 1.0]], &device);
/// let result = sail_eval::zero_shot(images, classes, &[0, 1, 1])?;
/// assert!((result.top1 - 200.0 / 3.0).abs() < 1e-9);
/// assert_eq!(result.per_class, [Some(100.0), Some(50.0)]);
/// assert_eq!(result.per_class_mean, 75.0);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn zero_shot(
    images: Tensor<2>,
    class_weights: Tensor<2>,
    labels: &[usize],
) -> Result<ZeroShot, EvalError> {
    let _span = tracing::info_span!("zero_shot", images = images.dims()[0]).entered();
    let images = UnitRows::new(images, "image")?;
    let classes = UnitRows::new(class_weights, "class weight")?;
    same_dim(&images, &classes)?;
    let counts = count_classes(labels, classes.len(), images.len(), "image")?;
    // An image among classes is what a text is among images: a column that belongs to one row.
    let ranks = rank_both_ways(&classes, &images, labels, &BlockSize::default())?.columns;
    let mut hits = vec![0usize; classes.len()];
    for (&label, _) in labels.iter().zip(&ranks).filter(|(_, rank)| **rank == 1) {
        hits[label] += 1;
    }
    let per_class: Vec<Option<f64>> = hits
        .iter()
        .zip(&counts)
        .map(|(&hits, &count)| (count > 0).then(|| 100.0 * hits as f64 / count as f64))
        .collect();
    let occurring = per_class.iter().flatten().count();
    Ok(ZeroShot {
        top1: hit_rate(&ranks, 1),
        top5: hit_rate(&ranks, 5),
        per_class_mean: per_class.iter().flatten().sum::<f64>() / occurring as f64,
        per_class,
        n_images: images.len(),
        n_classes: classes.len(),
    })
}

/// How often each class occurs, once the labels are known to fit.
pub(crate) fn count_classes(
    labels: &[usize],
    n_classes: usize,
    rows: usize,
    of: &'static str,
) -> Result<Vec<usize>, EvalError> {
    if labels.len() != rows {
        return Err(EvalError::Length { what: "class labels", found: labels.len(), expected: rows, of });
    }
    let mut counts = vec![0; n_classes];
    for (row, &class) in labels.iter().enumerate() {
        *counts.get_mut(class).ok_or(EvalError::OutOfRange {
            what: "class",
            found: class,
            expected: n_classes,
            of,
            row,
        })? += 1;
    }
    Ok(counts)
}
