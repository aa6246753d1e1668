//! The model that a task evaluates.

use burn::tensor::{Int, Tensor, TensorData};
use sail_core::{AlignmentHead, FeatureSource, Side, TextTower, VisionTower};
use sail_eval::{project_images, project_texts};

use crate::cache::{FeatureCache, Features};
use crate::error::TaskError;
use crate::inputs::{Images, Texts};

/// Batch size of the head.
const CHUNK: usize = 4096;

/// The model that a task evaluates: a vision tower, a text tower and the head that aligns them.
pub struct TaskModel<'a, H: AlignmentHead> {
    /// Computes image features.
    pub vision: &'a VisionTower,
    /// Computes text features.
    pub text: &'a TextTower,
    /// Maps features to the shared space, on its device.
    pub head: &'a H,
}

/// Embeddings of images or texts in the shared space.
pub(crate) struct Projected {
    pub(crate) features: Features,
    /// One row per row of the features.
    pub(crate) embeddings: Tensor<2>,
}

impl Projected {
    /// Selects rows of the embeddings.
    pub(crate) fn select(&self, rows: &[usize]) -> Tensor<2> {
        let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        let indices = Tensor::<1, Int>::from_data(indices, &self.embeddings.device());
        self.embeddings.clone().select(0, indices)
    }
}

impl<H: AlignmentHead> TaskModel<'_, H> {
    /// Checks that the head was trained on features of these towers.
    fn check(&self) -> Result<(), TaskError> {
        self.head.accepts_provenance(Side::Image, &self.vision.provenance())?;
        Ok(self.head.accepts_provenance(Side::Text, &self.text.provenance())?)
    }

    pub(crate) fn images(
        &self,
        task: &str,
        images: &Images,
        cache: &mut FeatureCache<'_>,
    ) -> Result<Projected, TaskError> {
        self.check()?;
        let features = cache.images(task, self.vision, images)?;
        let rows: Vec<usize> = (0..features.store.rows()).collect();
        let embeddings = project_images(self.head, &features.store, &rows, CHUNK)?;
        Ok(Projected { features, embeddings })
    }

    pub(crate) fn texts(
        &self,
        task: &str,
        texts: &Texts,
        cache: &mut FeatureCache<'_>,
    ) -> Result<Projected, TaskError> {
        self.check()?;
        let features = cache.texts(task, self.text, texts)?;
        let rows: Vec<usize> = (0..features.store.rows()).collect();
        let embeddings = project_texts(self.head, &features.store, &rows, CHUNK)?;
        Ok(Projected { features, embeddings })
    }
}
