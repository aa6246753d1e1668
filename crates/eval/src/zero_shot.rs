//! Zero-shot classification by class names.

use burn::tensor::{DType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::groups::{count_classes, group_sums};
use crate::ranks::hit_rate;
use crate::tiles::rank_both_ways;
use crate::unit_rows::{UnitRows, same_dim};
use crate::{BlockSize, EvalError};

/// Accuracies of zero-shot classification, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZeroShot {
    /// Percentage of images whose class scores highest.
    pub top1: f64,
    /// Percentage of images whose class is among the first five.
    pub top5: f64,
    /// Unweighted mean of the top-1 accuracies of the classes that occur.
    pub per_class_mean: f64,
    /// Top-1 accuracy of every class; `None` (`null`) if it does not occur.
    pub per_class: Vec<Option<f64>>,
    /// Number of images.
    pub n_images: usize,
    /// Number of classes.
    pub n_classes: usize,
}

/// Computes class weights from the embeddings of prompts ("a photo of a dog.", "a sketch of a dog.", ...): `w = u / |u|`,
/// with `u` the mean of the normalised prompt embeddings `e / |e|` of a class.
///
/// This is the prompt ensemble of CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.1.4). Classes may have different
/// numbers of prompts, in any order.
///
/// # Shapes
/// - prompt_embeddings: `[n_prompts, dim]`, not necessarily normalised
/// - class_of_prompt: for each prompt, the index of its class
/// - output: `[n_classes, dim]` in f32, normalised, on the device of the prompts
///
/// # Errors
/// [`EvalError`] without prompts, if `class_of_prompt` has the wrong length or an index out of range, if a class has no
/// prompt or prompts whose mean is zero, if an embedding is not finite or all zeros, and if the device fails.
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
    let sums = group_sums(&prompts, n_classes, |prompt| class_of_prompt[prompt])?;
    let mut weights = Vec::with_capacity(sums.len());
    for (class, sum) in sums.chunks_exact(dim).enumerate() {
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        // A shorter mean of unit rows is rounding error.
        if norm <= 1e-6 * counts[class] as f64 {
            return Err(EvalError::PromptsCancel { class });
        }
        weights.extend(sum.iter().map(|value| (value / norm) as f32));
    }
    let weights = TensorData::new(weights, [n_classes, dim]);
    Ok(Tensor::from_data(weights, (&prompts.device(), DType::F32)))
}

/// Classifies images by their cosine with [`class_weights`] and computes accuracies.
///
/// The rank of an image is 1 plus the number of other classes that score at least as high as its class, up to
/// [`TIE_TOLERANCE`](crate::TIE_TOLERANCE): a tie with the true class counts against it. Memory is that of a few blocks of
/// the default [`BlockSize`].
///
/// # Shapes
/// - images: `[n_images, dim]`, not necessarily normalised
/// - class_weights: `[n_classes, dim]`, not necessarily normalised
/// - labels: for each image, the index of its class
///
/// # Errors
/// [`EvalError`] if a side is empty or the two differ in dimension, if `labels` has the wrong length or an index out of
/// range, if an embedding is not finite or all zeros, and if the device fails.
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
    // Classes are rows and images are columns, each of which belongs to one row.
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
