//! Evaluation during training.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use sail_core::{AlignmentHead, ContrastiveLoss};
use sail_data::{BatchSampler, Pairs};
use sail_eval::{BlockSize, Retrieval, project_images, project_texts, retrieval};

use crate::record::mean_recall;
use crate::{AlignmentBatch, AlignmentStep, Positives, TrainError};

/// Batch size of the head in an evaluation.
const ROWS: usize = 1024;

/// The result of an evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// The score that selects the best head, higher is better. Early stopping counts evaluations without a new maximum.
    pub score: f64,
    /// Additional metrics by name, passed to `metrics.jsonl` and to the observers.
    pub metrics: BTreeMap<String, f64>,
    /// Retrieval on held-out pairs, if evaluated.
    pub retrieval: Option<Retrieval>,
    /// Loss on held-out pairs, if evaluated.
    pub loss: Option<f64>,
}

/// Evaluates the head during training. The score selects the best head and controls early stopping.
///
/// [`Trainer::holdout`](crate::Trainer::holdout) installs [`HoldoutRetrieval`];
/// [`Trainer::evaluator`](crate::Trainer::evaluator) replaces it. The head is in inference mode, on the device of the
/// run. If the run computes a moving average of the parameters, the average is evaluated.
///
/// Closures `FnMut(&H) -> Result<Evaluation, _>` implement this trait.
pub trait Evaluator<H>: Send {
    /// Evaluates a head.
    ///
    /// # Errors
    /// Any error ends the run with [`TrainError::Evaluator`]. The last checkpoint is kept.
    fn evaluate(&mut self, head: &H) -> Result<Evaluation, Box<dyn Error + Send + Sync>>;
}

impl<H, F> Evaluator<H> for F
where
    F: FnMut(&H) -> Result<Evaluation, Box<dyn Error + Send + Sync>> + Send,
{
    fn evaluate(&mut self, head: &H) -> Result<Evaluation, Box<dyn Error + Send + Sync>> {
        self(head)
    }
}

/// Computes the retrieval between the images and the first caption set of pairs, as [`HoldoutRetrieval`] does.
///
/// # Errors
/// [`TrainError::Evaluation`] for features that cannot be read or that the head rejects, and without pairs.
pub fn pair_retrieval<H: AlignmentHead>(head: &H, pairs: &Pairs) -> Result<Retrieval, TrainError> {
    let image_rows: Vec<usize> = (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect();
    let (text_rows, text_to_image) = pairs.text_to_image(0);
    let images = project_images(head, &**pairs.images(), &image_rows, ROWS)?;
    let texts = project_texts(head, &**pairs.captions(0), &text_rows, ROWS)?;
    Ok(retrieval(images, texts, &text_to_image, &BlockSize::default())?)
}

/// The default evaluator: retrieval between images and the first caption set of held-out pairs, and their loss. The
/// score is the mean of R@1, R@5 and R@10 in both directions.
pub struct HoldoutRetrieval {
    pairs: Pairs,
    step: AlignmentStep,
    batch_size: usize,
}

impl HoldoutRetrieval {
    /// Creates an evaluator on `pairs`. The loss is the mean over batches of at most `batch_size` pairs, because a
    /// contrastive loss depends on the number of negatives.
    pub fn new(pairs: Pairs, loss: Arc<dyn ContrastiveLoss>, batch_size: usize) -> Self {
        Self { pairs, step: AlignmentStep::new(loss), batch_size }
    }

    /// Returns the mean loss over the batches, or `None` for a single pair, which has no negatives.
    fn loss<H: AlignmentHead>(&self, head: &H) -> Result<Option<f64>, TrainError> {
        let batch_size = self.batch_size.min(self.pairs.len());
        if batch_size < 2 {
            return Ok(None);
        }
        // A fixed seed, so that every evaluation uses the same batches.
        let sampler = BatchSampler::new(self.pairs.len(), batch_size, 0)?;
        let device = head.log_scale().device();
        let mut sum = 0.0;
        for step in 0..sampler.steps_per_epoch() {
            let batch = self.pairs.batch(&sampler.indices(0, step), 0, 0)?;
            let batch = AlignmentBatch::new(batch, Positives::Pair, &device);
            let (loss, _) = self.step.losses(head, batch)?;
            sum += loss;
        }
        Ok(Some(sum / sampler.steps_per_epoch() as f64))
    }
}

impl<H: AlignmentHead> Evaluator<H> for HoldoutRetrieval {
    fn evaluate(&mut self, head: &H) -> Result<Evaluation, Box<dyn Error + Send + Sync>> {
        let retrieval = pair_retrieval(head, &self.pairs)?;
        Ok(Evaluation {
            score: mean_recall(&retrieval),
            metrics: BTreeMap::new(),
            loss: self.loss(head)?,
            retrieval: Some(retrieval),
        })
    }
}
