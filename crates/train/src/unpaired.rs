//! Images and texts that are not paired.

use std::fmt;
use std::sync::Arc;

use sail_core::{FeatureError, FeatureSource, gather_checked};
use sail_data::{BatchSampler, Fingerprint, PairBatch};
use serde_json::{Value, json};

use crate::TrainError;

/// Separates the orders of both sides from each other and from that of the pairs, which have the same seed.
const IMAGES: u64 = 0x1d8e_4e27_c47d_124f;
const TEXTS: u64 = 0xeb44_acca_b455_d165;

/// Rows whose keys are read at once.
const KEYS: usize = 4096;

/// Images and texts that are not paired, for an [`AuxiliaryLoss`](sail_core::AuxiliaryLoss) on such rows.
///
/// A step takes `batch_size` rows of each side, or as many as the smaller side has. Each side is read in passes, each pass in
/// an order of its own that depends on the seed, without repetition within a pass; rows at the end of a pass that do not
/// fill a batch are left out of it.
#[derive(Clone)]
pub struct Unpaired {
    images: Side,
    texts: Side,
    batch_size: usize,
}

#[derive(Clone)]
struct Side {
    source: Arc<dyn FeatureSource>,
    rows: Arc<Vec<u32>>,
}

impl Side {
    fn new(source: Arc<dyn FeatureSource>) -> Result<Self, TrainError> {
        let rows = source.rows();
        match u32::try_from(rows) {
            Ok(rows) => Ok(Self { source, rows: Arc::new((0..rows).collect()) }),
            Err(_) => Err(sail_data::DataError::TooManyRows { found: rows }.into()),
        }
    }

    /// Leaves out rows by key, and returns how many.
    fn leave_out(&mut self, leave_out: &dyn Fn(&str) -> bool) -> Result<usize, FeatureError> {
        let mut kept = Vec::with_capacity(self.rows.len());
        for rows in self.rows.chunks(KEYS) {
            let keys = self.source.keys(&rows.iter().map(|&row| row as usize).collect::<Vec<_>>())?;
            kept.extend(rows.iter().zip(&keys).filter(|(_, key)| !leave_out(key)).map(|(&row, _)| row));
        }
        let left_out = self.rows.len() - kept.len();
        self.rows = Arc::new(kept);
        Ok(left_out)
    }

    fn fingerprint(&self) -> Result<Value, FeatureError> {
        let mut fingerprint = Fingerprint::default();
        for rows in self.rows.chunks(KEYS) {
            let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
            for key in self.source.keys(&rows)? {
                fingerprint.add(key.as_bytes());
            }
        }
        Ok(json!({"rows": self.rows.len(), "keys": fingerprint.finish()}))
    }

    fn gather(&self, indices: &[usize]) -> Result<Vec<f32>, FeatureError> {
        let rows: Vec<usize> = indices.iter().map(|&index| self.rows[index] as usize).collect();
        let mut values = vec![0.0; rows.len() * self.source.dim()];
        gather_checked(&*self.source, &rows, &mut values)?;
        Ok(values)
    }
}

impl Unpaired {
    /// Creates the unpaired rows of two sources.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for a source with more than 2^32 rows.
    pub fn new(
        images: Arc<dyn FeatureSource>,
        texts: Arc<dyn FeatureSource>,
        batch_size: usize,
    ) -> Result<Self, TrainError> {
        Ok(Self { images: Side::new(images)?, texts: Side::new(texts)?, batch_size })
    }

    /// Leaves out the images whose key `leave_out` returns true for, such as those of the holdout, and returns how many.
    ///
    /// # Errors
    /// Returns [`TrainError::Features`] if the keys cannot be read.
    pub fn leave_out_images(&mut self, leave_out: impl Fn(&str) -> bool) -> Result<usize, TrainError> {
        Ok(self.images.leave_out(&leave_out)?)
    }

    /// Leaves out the texts whose key `leave_out` returns true for, and returns how many.
    ///
    /// # Errors
    /// Returns [`TrainError::Features`] if the keys cannot be read.
    pub fn leave_out_texts(&mut self, leave_out: impl Fn(&str) -> bool) -> Result<usize, TrainError> {
        Ok(self.texts.leave_out(&leave_out)?)
    }

    /// Returns the number of images.
    pub fn images(&self) -> usize {
        self.images.rows.len()
    }

    /// Returns the number of texts.
    pub fn texts(&self) -> usize {
        self.texts.rows.len()
    }

    /// Returns the number of images and of texts of a step.
    pub fn batch_size(&self) -> usize {
        self.batch_size.min(self.images()).min(self.texts())
    }

    /// Returns the dimensions of the image and the text features.
    pub(crate) fn dims(&self) -> [usize; 2] {
        [self.images.source.dim(), self.texts.source.dim()]
    }

    /// Returns what a resumed run must have in common with this one.
    pub(crate) fn signature(&self) -> Result<Value, FeatureError> {
        let (images, texts) = (self.images.fingerprint()?, self.texts.fingerprint()?);
        Ok(json!({"images": images, "texts": texts, "batch_size": self.batch_size()}))
    }

    /// Returns the batches of a run.
    pub(crate) fn sampler(&self, seed: u64) -> Result<UnpairedSampler, TrainError> {
        let sampler = |side: &Side, salt| BatchSampler::new(side.rows.len(), self.batch_size(), seed ^ salt);
        Ok(UnpairedSampler {
            unpaired: self.clone(),
            images: sampler(&self.images, IMAGES)?,
            texts: sampler(&self.texts, TEXTS)?,
        })
    }
}

impl fmt::Debug for Unpaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (images, texts) = (self.images(), self.texts());
        f.debug_struct("Unpaired").field("images", &images).field("texts", &texts).finish_non_exhaustive()
    }
}

/// The unpaired batches of a run.
#[derive(Debug, Clone)]
pub(crate) struct UnpairedSampler {
    unpaired: Unpaired,
    images: BatchSampler,
    texts: BatchSampler,
}

impl UnpairedSampler {
    /// Reads the batch of a step.
    pub(crate) fn batch(&self, step: usize) -> Result<PairBatch, FeatureError> {
        self.read(&self.images.indices(0, step), &self.texts.indices(0, step))
    }

    /// Reads the first two rows of both sides, of which a batch has at least as many.
    pub(crate) fn first_two(&self) -> Result<PairBatch, FeatureError> {
        self.read(&[0, 1], &[0, 1])
    }

    fn read(&self, images: &[usize], texts: &[usize]) -> Result<PairBatch, FeatureError> {
        Ok(PairBatch {
            rows: images.len(),
            // Rows that are not paired are nobody's positives.
            image_rows: Vec::new(),
            images: self.unpaired.images.gather(images)?,
            texts: vec![self.unpaired.texts.gather(texts)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sail_data::MatrixFeatures;

    fn source(rows: usize) -> Arc<dyn FeatureSource> {
        let values = (1..=rows).map(|value| value as f32).collect();
        let keys: Vec<String> = (1..=rows).map(|key| key.to_string()).collect();
        Arc::new(MatrixFeatures::new(1, values).unwrap().with_keys(keys).unwrap())
    }

    #[test]
    fn a_pass_has_every_row_once_and_both_sides_an_order_of_their_own() {
        let unpaired = Unpaired::new(source(12), source(12), 4).unwrap();
        let sampler = unpaired.sampler(7).unwrap();
        let mut orders = Vec::new();
        for pass in 0..2 {
            let batches: Vec<_> = (0..3).map(|step| sampler.batch(3 * pass + step).unwrap()).collect();
            let images: Vec<f32> = batches.iter().flat_map(|batch| batch.images.clone()).collect();
            let texts: Vec<f32> = batches.iter().flat_map(|batch| batch.texts[0].clone()).collect();
            orders.extend([images, texts]);
        }
        for (index, order) in orders.iter().enumerate() {
            let mut sorted = order.clone();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(sorted, (1..=12).map(|value| value as f32).collect::<Vec<_>>());
            assert!(orders[..index].iter().all(|other| other != order));
        }
    }

    #[test]
    fn a_step_has_as_many_rows_as_the_smaller_side() {
        let unpaired = Unpaired::new(source(30), source(5), 16).unwrap();
        let batch = unpaired.sampler(0).unwrap().batch(9).unwrap();
        assert_eq!(
            (unpaired.batch_size(), batch.rows, batch.images.len(), batch.texts[0].len()),
            (5, 5, 5, 5)
        );
        let one = Unpaired::new(source(30), source(1), 16).unwrap().sampler(0);
        assert!(matches!(one, Err(TrainError::Data(sail_data::DataError::BatchTooSmall { batch: 1 }))));
    }

    #[test]
    fn leaves_out_keys() {
        let mut unpaired = Unpaired::new(source(9), source(9), 9).unwrap();
        let before = unpaired.signature().unwrap();
        assert_eq!(unpaired.leave_out_images(|key| key == "3" || key == "10").unwrap(), 1);
        assert_ne!(unpaired.signature().unwrap(), before);
        let batch = unpaired.sampler(0).unwrap().batch(0).unwrap();
        assert_eq!((batch.rows, batch.images.contains(&3.0)), (8, false));
        assert!(batch.texts[0].len() == 8);
    }
}
