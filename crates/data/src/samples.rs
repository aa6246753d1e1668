//! What an epoch shows: which pairs, how often, and with which captions.

use sail_core::{FeatureError, Named, ensure};
use serde::{Deserialize, Serialize};

use crate::permutation::stream;
use crate::{DataError, PairBatch, Pairs, Permutation};

/// Which captions of an image an epoch shows, if it has several in the first caption set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptionSampling {
    /// One of them, sampled anew in every epoch: an epoch has as many samples as images.
    #[default]
    Random,
    /// Each of them once: an epoch has as many samples as captions. Two captions of one image may meet in a batch.
    All,
}

impl Named for CaptionSampling {
    const ALL: &'static [Self] = &[Self::Random, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::All => "all",
        }
    }
}

sail_core::display_and_parse_by_name!(CaptionSampling, "captions");

/// The samples of an epoch. A sample is a pair, or an image with one caption of the first set.
///
/// # Memory
/// 8 bytes for each pair with [`CaptionSampling::All`]; 4 for each sample with weights.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::{CaptionSampling, MatrixFeatures, Pairs, Samples};
/// let images = MatrixFeatures::new(1, vec![1.0, 2.0])?.with_keys(["cat", "dog"])?;
/// let texts = MatrixFeatures::new(1, vec![3.0, 4.0, 5.0])?.with_keys(["dog", "cat", "dog"])?;
/// let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)])?;
/// assert_eq!(Samples::new(pairs.clone(), CaptionSampling::Random, &[])?.len(), 2);
/// let samples = Samples::new(pairs, CaptionSampling::All, &[])?;
/// let batch = samples.batch(&[0, 1, 2], 0, 42)?;
/// assert_eq!((batch.images, &batch.texts[0]), (vec![1.0, 2.0, 2.0], &vec![4.0, 3.0, 5.0]));
/// # Ok::<(), sail_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Samples {
    pairs: Pairs,
    /// The number of captions before each pair, and of all; `None` if a sample is a pair.
    captions: Option<Vec<usize>>,
    /// The samples of each source; `None` if all count alike.
    groups: Option<Vec<Group>>,
}

/// The samples of one source.
#[derive(Debug, Clone)]
struct Group {
    samples: Vec<u32>,
    /// How many of them an epoch shows, with repetitions if there are more than samples.
    count: usize,
}

impl Samples {
    /// Samples of some pairs. With `weights`, one for each source that the images are concatenated from
    /// ([`FeatureSource::part_rows`](sail_core::FeatureSource::part_rows)), an epoch shows each sample of a source that often on
    /// average: half of them in turn for 0.5, each twice for 2.
    ///
    /// # Errors
    /// [`DataError::Config`] for weights that are not positive, and another number of weights than sources.
    pub fn new(pairs: Pairs, captions: CaptionSampling, weights: &[f64]) -> Result<Self, DataError> {
        let captions = (captions == CaptionSampling::All).then(|| {
            let mut total = 0;
            let mut before = vec![0];
            before.extend((0..pairs.len()).map(|pair| {
                total += pairs.caption_rows(0, pair).len();
                total
            }));
            before
        });
        let mut samples = Self { pairs, captions, groups: None };
        if !weights.is_empty() {
            samples.groups = Some(samples.group(weights)?);
        }
        Ok(samples)
    }

    fn group(&self, weights: &[f64]) -> Result<Vec<Group>, DataError> {
        let parts = self.pairs.images().part_rows();
        let expected = format!("{}, one for each source of images", parts.len());
        ensure(
            weights.len() == parts.len(),
            "source_weights",
            format!("{} values", weights.len()),
            expected,
        )?;
        let valid = weights.iter().all(|weight| weight.is_finite() && *weight > 0.0);
        ensure(valid, "source_weights", format!("{weights:?}"), "positive numbers")?;
        let ends: Vec<usize> = parts
            .iter()
            .scan(0, |end, rows| {
                *end += rows;
                Some(*end)
            })
            .collect();
        let mut groups = vec![Vec::new(); parts.len()];
        for sample in 0..self.distinct() {
            let row = self.pairs.image_row(self.sample(sample).0);
            groups[ends.partition_point(|&end| end <= row)].push(sample as u32);
        }
        let groups = groups.into_iter().zip(weights).map(|(samples, weight)| {
            let count = (samples.len() as f64 * weight).round() as usize;
            Group { samples, count }
        });
        Ok(groups.collect())
    }

    /// Returns the number of samples in an epoch.
    pub fn len(&self) -> usize {
        match &self.groups {
            Some(groups) => groups.iter().map(|group| group.count).sum(),
            None => self.distinct(),
        }
    }

    /// Returns whether an epoch is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of different samples.
    fn distinct(&self) -> usize {
        match &self.captions {
            Some(before) => before.last().copied().unwrap_or_default(),
            None => self.pairs.len(),
        }
    }

    /// The pair of a sample, and which of its captions.
    fn sample(&self, index: usize) -> (usize, usize) {
        match &self.captions {
            Some(before) => {
                let pair = before.partition_point(|&before| before <= index) - 1;
                (pair, index - before[pair])
            }
            None => (index, 0),
        }
    }

    /// The sample at an index of an epoch.
    fn in_epoch(&self, mut index: usize, epoch: u64, seed: u64) -> usize {
        let Some(groups) = &self.groups else { return index };
        for (number, Group { samples, count }) in groups.iter().enumerate() {
            if index >= *count {
                index -= count;
                continue;
            }
            // The epochs of a source follow each other in an endless sequence of passes, each in an order of its own.
            let (place, length) = (epoch as u128 * *count as u128 + index as u128, samples.len() as u128);
            let order = stream(seed ^ stream(seed, number as u64), (place / length) as u64);
            let order = Permutation::new(samples.len() as u64, order);
            return samples[order.get((place % length) as u64) as usize] as usize;
        }
        index
    }

    /// Reads and checks the features of a batch.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for an index that is not below [`len`](Self::len), and those of [`Pairs::batch`].
    pub fn batch(&self, indices: &[usize], epoch: u64, seed: u64) -> Result<PairBatch, FeatureError> {
        if let Some(&row) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(FeatureError::OutOfRange { row, rows: self.len() });
        }
        let samples = indices.iter().map(|&index| self.sample(self.in_epoch(index, epoch, seed)));
        let (pairs, captions): (Vec<usize>, Vec<usize>) = samples.unzip();
        match &self.captions {
            None => self.pairs.batch(&pairs, epoch, seed),
            Some(_) => self.pairs.batch_with_captions(&pairs, &captions, epoch, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{ConcatFeatures, Features, MatrixFeatures};

    /// Two sources of 6 and 4 images, the value of an image being its row plus 1; image `i` has `1 + i % 3` captions, whose
    /// values are 10 times the image's plus their number.
    fn pairs() -> Pairs {
        let images = |range: std::ops::Range<usize>| {
            let values = range.clone().map(|row| row as f32 + 1.0).collect();
            let keys = range.map(|row| row.to_string());
            Features::Memory(MatrixFeatures::new(1, values).unwrap().with_keys(keys).unwrap())
        };
        let parts = [("a", images(0..6)), ("b", images(6..10))].map(|(name, part)| (name.to_owned(), part));
        let images = ConcatFeatures::new(parts.into()).unwrap();
        let captions = (0..10).flat_map(|row| (0..1 + row % 3).map(move |caption| (row, caption)));
        let (keys, values): (Vec<String>, Vec<f32>) =
            captions.map(|(row, caption)| (row.to_string(), (10 * (row + 1) + caption) as f32)).unzip();
        let texts = MatrixFeatures::new(1, values).unwrap().with_keys(keys).unwrap();
        Pairs::new(Arc::new(images), vec![Arc::new(texts)]).unwrap()
    }

    fn epoch(samples: &Samples, epoch: u64) -> PairBatch {
        samples.batch(&(0..samples.len()).collect::<Vec<_>>(), epoch, 7).unwrap()
    }

    #[test]
    fn every_caption_occurs_once_with_its_image() {
        let samples = Samples::new(pairs(), CaptionSampling::All, &[]).unwrap();
        let batch = epoch(&samples, 3);
        assert_eq!(batch.rows, 19);
        assert!(batch.images.iter().zip(&batch.image_rows).all(|(image, row)| *image == *row as f32 + 1.0));
        let mut texts = batch.texts[0].clone();
        for (image, text) in batch.images.iter().zip(&texts) {
            assert_eq!((text / 10.0).floor(), *image);
        }
        texts.sort_by(f32::total_cmp);
        texts.dedup();
        assert_eq!(texts.len(), 19);
    }

    #[test]
    fn random_captions_are_those_of_the_pairs() {
        let samples = Samples::new(pairs(), CaptionSampling::Random, &[]).unwrap();
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(epoch(&samples, 5), pairs().batch(&all, 5, 7).unwrap());
    }

    #[test]
    fn weights_decide_how_often_a_source_occurs() {
        for captions in [CaptionSampling::Random, CaptionSampling::All] {
            let whole = Samples::new(pairs(), captions, &[]).unwrap();
            let [first, second] = [1..=6, 7..=10].map(|range| {
                let of = |batch: &PairBatch| {
                    batch.images.iter().filter(|&&image| range.contains(&(image as usize))).count()
                };
                of(&epoch(&whole, 0))
            });
            let samples = Samples::new(pairs(), captions, &[0.5, 2.0]).unwrap();
            assert_eq!(samples.len(), (first as f64 * 0.5).round() as usize + 2 * second);
            // Over two epochs each sample of the first source occurs once and each of the second four times.
            let mut counts = std::collections::BTreeMap::new();
            for number in 0..2 {
                let batch = epoch(&samples, number);
                for (image, text) in batch.images.iter().zip(&batch.texts[0]) {
                    let key = if captions == CaptionSampling::All { *text } else { *image };
                    *counts.entry((*image as usize > 6, key.to_bits())).or_insert(0) += 1;
                }
            }
            assert!(
                counts.iter().all(|((second, _), count)| *count == if *second { 4 } else { 1 }),
                "{counts:?}"
            );
            assert_eq!(counts.len(), first + second);
        }
    }

    #[test]
    fn invalid_weights_are_named() {
        for weights in [&[1.0][..], &[1.0, 0.0], &[1.0, f64::NAN], &[1.0, 1.0, 1.0]] {
            let error = Samples::new(pairs(), CaptionSampling::Random, weights).unwrap_err();
            assert!(
                matches!(error, DataError::Config(ref error) if error.field == "source_weights"),
                "{error}"
            );
        }
        assert_eq!(pairs().images().part_rows(), [6, 4]);
    }
}
