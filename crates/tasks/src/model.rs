//! Two encoders and a head, as a task uses them.

use burn::tensor::{Int, Tensor, TensorData};
use sail_core::{AlignmentHead, FeatureSource, Side, TextTower, VisionTower};
use sail_eval::{project_images, project_texts};

use crate::TaskError;
use crate::cache::{FeatureCache, Features};
use crate::inputs::{Images, Texts};

/// Rows that go through the head at once.
const CHUNK: usize = 4096;

/// What a task assesses: a vision tower, a text tower and the head that aligns them.
pub struct TaskModel<'a, H: AlignmentHead> {
    /// Images to features.
    pub vision: &'a VisionTower,
    /// Texts to features.
    pub text: &'a TextTower,
    /// Features to the common space. Embeddings are computed on its device.
    pub head: &'a H,
}

/// Embeddings of a task's images or texts in the common space.
pub(crate) struct Projected {
    pub(crate) features: Features,
    /// A row for each row of the features.
    pub(crate) embeddings: Tensor<2>,
}

impl Projected {
    /// The embeddings of these rows, in their order.
    pub(crate) fn select(&self, rows: &[usize]) -> Tensor<2> {
        let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        let indices = Tensor::<1, Int>::from_data(indices, &self.embeddings.device());
        self.embeddings.clone().select(0, indices)
    }
}

impl<H: AlignmentHead> TaskModel<'_, H> {
    /// Fails before any work where the head was trained on something else.
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
