//! Image-caption pairs.

use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use sail_core::{FeatureError, FeatureSource};
use sail_support::hex;
use sha2::{Digest, Sha256};

use crate::caption_set::{CaptionSet, by_key, by_position, key_index};
use crate::compatible::difference;
use crate::error::DataError;
use crate::keys::for_each_key;
use crate::pairing::{Pairing, Unmatched};
use crate::refusal::{count, refusal};
use crate::scan::gather_checked_parallel;

/// Images, each with its captions from one or several caption sets (such as raw and synthetic captions).
///
/// A pair is an image with all of its captions. Pairs have the order of the images: pair `i` of a new `Pairs` is image row
/// `i`, unless rows were dropped. Rows join by key, and [`Unmatched`] decides about those whose key the other side lacks. If
/// the images or a caption set have no keys ([`FeatureSource::positional`]), the two join by position and must have the
/// same number of rows.
///
/// # Memory
/// A caption set takes 4 bytes per caption, and 4 per image unless all have one caption. A part of the pairs
/// ([`subset`](Pairs::subset), [`split`](Pairs::split)) takes 4 bytes per pair and shares the rest; a clone shares
/// everything. Joining by key temporarily takes up to 34 bytes per row. Keys are not stored; they are read from their
/// source to join, to split and to sample among several captions.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::{MatrixFeatures, Pairs};
/// let images = MatrixFeatures::new(1, vec![1.0, 2.0])?.with_keys(["cat", "dog"])?;
/// let texts = MatrixFeatures::new(1, vec![3.0, 4.0, 5.0])?.with_keys(["dog", "cat", "dog"])?;
/// let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)])?;
/// assert_eq!((pairs.key(1)?.as_str(), pairs.caption_rows(0, 1)), ("dog", [0, 2].as_slice()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pairs {
    images: Arc<dyn FeatureSource>,
    captions: Arc<[CaptionSet]>,
    /// The image row of each pair; `None` if it is the index of the pair.
    image_rows: Option<Arc<Vec<u32>>>,
    pairing: Arc<Pairing>,
}

/// Training pairs and held-out pairs.
#[derive(Debug, Clone)]
pub struct Split {
    /// Pairs for training.
    pub train: Pairs,
    /// Held-out pairs for evaluation.
    pub holdout: Pairs,
    /// SHA-256 of the hashes of the held-out keys in ascending order, in hexadecimal. It identifies the seed and the set of
    /// held-out keys, in whichever order and among whichever others they were found.
    pub holdout_sha256: String,
}

/// The features of a batch of pairs, with one caption per pair and caption set.
#[derive(Debug, Clone, PartialEq)]
pub struct PairBatch {
    /// Image features, `[rows, image dim]`, row-major.
    pub images: Vec<f32>,
    /// Caption features of each set, `[rows, caption dim]`, row-major.
    pub texts: Vec<Vec<f32>>,
    /// The image row of each pair in its source. Pairs of one image have the same.
    pub image_rows: Vec<u32>,
    /// Number of pairs.
    pub rows: usize,
}

/// Rows are `u32` indices.
const MAX_ROWS: usize = u32::MAX as usize;

/// Checks that a caption set is compatible with the first, since the same text projector takes both.
fn check_compatible(
    set: usize,
    first: &dyn FeatureSource,
    other: &dyn FeatureSource,
) -> Result<(), DataError> {
    match difference(first, other) {
        Some((field, found, expected)) => Err(DataError::CaptionSets { set, field, found, expected }),
        None => Ok(()),
    }
}

impl Pairs {
    /// Joins images with one or several caption sets, all rows of which must have a partner: [`join`](Pairs::join) with
    /// [`Unmatched::Error`].
    ///
    /// # Errors
    /// Those of [`join`](Pairs::join).
    pub fn new(
        images: Arc<dyn FeatureSource>,
        captions: Vec<Arc<dyn FeatureSource>>,
    ) -> Result<Self, DataError> {
        Self::join(images, captions, Unmatched::Error)
    }

    /// Joins images with one or several caption sets. A pair has a caption in every set; [`pairing`](Pairs::pairing) counts
    /// the rows that have a partner, and `unmatched` decides about the others.
    ///
    /// # Errors
    /// [`DataError::Unmatched`] if more rows lack a partner than `unmatched` allows,
    /// [`DataError::DuplicateKeys`] if several images have the same key, [`DataError::Positions`] if rows pair by position
    /// and their numbers differ, [`DataError::CaptionSets`] for captions of several models, [`DataError::NoCaptions`],
    /// [`DataError::Empty`], [`DataError::NoDimensions`], [`DataError::TooManyRows`], and those of reading the keys.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use sail_data::{MatrixFeatures, Pairs, Unmatched};
    /// let images = MatrixFeatures::new(1, vec![1.0, 2.0])?.with_keys(["cat", "dog"])?;
    /// let texts = MatrixFeatures::new(1, vec![3.0, 4.0, 5.0])?.with_keys(["dog", "eel", "dog"])?;
    /// let pairs = Pairs::join(Arc::new(images), vec![Arc::new(texts)], Unmatched::Half)?;
    /// assert_eq!((pairs.len(), pairs.key(0)?.as_str()), (1, "dog"));
    /// assert_eq!(pairs.pairing().to_string(), "1 of 2 images and 2 of 3 captions pair");
    /// # Ok::<(), sail_data::DataError>(())
    /// ```
    pub fn join(
        images: Arc<dyn FeatureSource>,
        captions: Vec<Arc<dyn FeatureSource>>,
        unmatched: Unmatched,
    ) -> Result<Self, DataError> {
        if captions.is_empty() {
            return Err(DataError::NoCaptions);
        }
        for source in captions.iter().chain([&images]) {
            match source.rows() {
                0 => return Err(DataError::Empty),
                found if found >= MAX_ROWS => return Err(DataError::TooManyRows { found }),
                _ => {}
            }
        }
        if captions.iter().chain([&images]).any(|source| source.dim() == 0) {
            return Err(DataError::NoDimensions);
        }
        for (set, source) in captions.iter().enumerate().skip(1) {
            check_compatible(set, &*captions[0], &**source)?;
        }
        let index = match images.positional() {
            true => None,
            false => Some(key_index(&*images)?),
        };
        let captions: Arc<[CaptionSet]> = captions
            .into_iter()
            .enumerate()
            .map(|(set, source)| match &index {
                Some(index) if !source.positional() => by_key(images.rows(), index, source),
                _ => by_position(set, &*images, source),
            })
            .collect::<Result<_, _>>()?;
        drop(index);
        let rows = images.rows();
        let image_rows = match captions.iter().all(|set| set.is_complete(rows)) {
            true => None,
            false => {
                let in_all = |row: &u32| captions.iter().all(|set| !set.of(*row as usize).is_empty());
                Some((0..rows as u32).filter(in_all).collect::<Vec<u32>>())
            }
        };
        let pairing = count(rows, &captions, image_rows.as_deref());
        if !pairing.sides().all(|side| unmatched.allows(side)) {
            return Err(refusal(&*images, &captions, pairing));
        }
        Ok(Self { images, captions, image_rows: image_rows.map(Arc::new), pairing: Arc::new(pairing) })
    }

    /// Returns how many rows of the sources have a partner, whichever pairs were selected since.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.image_rows.as_ref().map_or(self.images.rows(), |rows| rows.len())
    }

    /// Returns `true` if there are no pairs, as in an empty holdout.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of caption sets, at least 1.
    pub fn caption_sets(&self) -> usize {
        self.captions.len()
    }

    /// Returns the image source, including rows that are in no pair of this value.
    pub fn images(&self) -> &Arc<dyn FeatureSource> {
        &self.images
    }

    /// Returns the source of a caption set, including rows that are in no pair of this value. `set` must be less than
    /// [`caption_sets`](Pairs::caption_sets).
    pub fn captions(&self, set: usize) -> &Arc<dyn FeatureSource> {
        &self.captions[set].source
    }

    /// Returns the image row of a pair. `pair` must be less than [`len`](Pairs::len), here and below.
    pub fn image_row(&self, pair: usize) -> usize {
        self.image_rows.as_ref().map_or(pair, |rows| rows[pair] as usize)
    }

    /// Returns the caption rows of a pair in the order of their source, at least one.
    pub fn caption_rows(&self, set: usize, pair: usize) -> &[u32] {
        self.captions[set].of(self.image_row(pair))
    }

    /// Reads the key of a pair, which is that of its image.
    ///
    /// # Errors
    /// Those of [`FeatureSource::keys`].
    pub fn key(&self, pair: usize) -> Result<String, FeatureError> {
        Ok(self.images.keys(&[self.image_row(pair)])?.pop().unwrap_or_default())
    }

    /// Selects pairs, in the given order.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for an index out of range.
    pub fn subset(&self, pairs: &[usize]) -> Result<Self, DataError> {
        self.check_range(pairs)?;
        Ok(self.select(pairs.iter().copied()))
    }

    /// Selects the pairs of image rows, in the given order.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for a row that is not in a pair.
    pub fn of_image_rows(&self, rows: &[usize]) -> Result<Self, DataError> {
        let paired =
            |row: usize| row < self.images.rows() && self.captions.iter().all(|set| !set.of(row).is_empty());
        if let Some(&row) = rows.iter().find(|&&row| !paired(row)) {
            return Err(FeatureError::OutOfRange { row, rows: self.images.rows() }.into());
        }
        let image_rows = rows.iter().map(|&row| row as u32).collect();
        Ok(Self { image_rows: Some(Arc::new(image_rows)), ..self.clone() })
    }

    fn select(&self, pairs: impl Iterator<Item = usize>) -> Self {
        let image_rows = pairs.map(|pair| self.image_row(pair) as u32).collect();
        Self { image_rows: Some(Arc::new(image_rows)), ..self.clone() }
    }

    /// Holds out the `holdout` pairs whose keys have the lowest `SHA-256(seed as 8 little-endian bytes,
    /// key)`.
    ///
    /// The held-out keys depend only on the set of keys and the seed, not on the order of the rows or the machine, and a
    /// smaller holdout is a subset of a larger one. Both parts keep the order of the pairs.
    ///
    /// # Errors
    /// [`DataError::Holdout`] if no pair is left for training, and those of reading the keys.
    pub fn split(&self, holdout: usize, seed: u64) -> Result<Split, DataError> {
        if holdout >= self.len() {
            return Err(DataError::Holdout { holdout, pairs: self.len() });
        }
        if holdout == 0 {
            let (train, holdout) = (self.clone(), self.select(std::iter::empty()));
            return Ok(Split { train, holdout, holdout_sha256: hex(&hash(&[])) });
        }
        let mut lowest = BinaryHeap::with_capacity(holdout + 1);
        let digest = |key: &str| hash(&[&seed.to_le_bytes(), key.as_bytes()]);
        for_each_key(
            &*self.images,
            self.len(),
            |pair| self.image_row(pair),
            digest,
            |pair, digest| {
                lowest.push((digest, pair));
                if lowest.len() > holdout {
                    lowest.pop();
                }
                Ok(())
            },
        )?;
        let (digests, mut held_out): (Vec<[u8; 32]>, Vec<usize>) =
            lowest.into_sorted_vec().into_iter().unzip();
        held_out.sort_unstable();
        let mut next = held_out.iter().copied().peekable();
        let train = self.select((0..self.len()).filter(|&pair| next.next_if_eq(&pair).is_none()));
        let holdout = self.select(held_out.into_iter());
        Ok(Split { train, holdout, holdout_sha256: hex(&hash(&[digests.as_flattened()])) })
    }

    /// Returns all captions for retrieval: the caption rows, and the index of the pair of each.
    pub fn text_to_image(&self, set: usize) -> (Vec<usize>, Vec<usize>) {
        (0..self.len())
            .flat_map(|pair| self.caption_rows(set, pair).iter().map(move |&row| (row as usize, pair)))
            .unzip()
    }

    /// Reads and checks the features of a batch of pairs.
    ///
    /// If a pair has several captions in a set, one is sampled by a hash of seed, epoch, set and key. The sample is the same
    /// on every machine and does not depend on the other pairs in the batch.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for an index out of range, and those of [`sail_core::gather_checked`] and
    /// [`FeatureSource::keys`].
    pub fn batch(&self, pairs: &[usize], epoch: u64, seed: u64) -> Result<PairBatch, FeatureError> {
        self.read(pairs, |set| self.sample_captions(set, pairs, epoch, seed))
    }

    /// As [`batch`](Pairs::batch), with the given captions of the pairs in the first set, by their index.
    pub(crate) fn batch_with_captions(
        &self,
        pairs: &[usize],
        captions: &[usize],
        epoch: u64,
        seed: u64,
    ) -> Result<PairBatch, FeatureError> {
        self.read(pairs, |set| match set {
            0 => {
                let row = |(&pair, &caption)| self.caption_rows(0, pair)[caption] as usize;
                Ok(pairs.iter().zip(captions).map(row).collect())
            }
            set => self.sample_captions(set, pairs, epoch, seed),
        })
    }

    /// Reads the images of pairs, and of every caption set the rows that `caption_rows` returns.
    fn read(
        &self,
        pairs: &[usize],
        caption_rows: impl Fn(usize) -> Result<Vec<usize>, FeatureError>,
    ) -> Result<PairBatch, FeatureError> {
        self.check_range(pairs)?;
        let rows: Vec<usize> = pairs.iter().map(|&pair| self.image_row(pair)).collect();
        let images = gather_checked_parallel(&*self.images, &rows)?;
        let texts = (0..self.caption_sets())
            .map(|set| gather_checked_parallel(&*self.captions[set].source, &caption_rows(set)?))
            .collect::<Result<_, _>>()?;
        let image_rows = rows.into_iter().map(|row| row as u32).collect();
        Ok(PairBatch { images, texts, image_rows, rows: pairs.len() })
    }

    /// Samples a caption row for each pair.
    fn sample_captions(
        &self,
        set: usize,
        pairs: &[usize],
        epoch: u64,
        seed: u64,
    ) -> Result<Vec<usize>, FeatureError> {
        let first = |&pair: &usize| self.caption_rows(set, pair)[0] as usize;
        let mut sampled: Vec<usize> = pairs.iter().map(first).collect();
        // Keys are read only for pairs with several captions.
        let open: Vec<usize> =
            (0..pairs.len()).filter(|&index| self.caption_rows(set, pairs[index]).len() > 1).collect();
        let prefix = [seed, epoch, set as u64].map(u64::to_le_bytes);
        let random = |key: &str| {
            let digest = hash(&[prefix.as_flattened(), key.as_bytes()]);
            digest.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes))
        };
        let row = |choice: usize| self.image_row(pairs[open[choice]]);
        for_each_key(&*self.images, open.len(), row, random, |choice, random| {
            let rows = self.caption_rows(set, pairs[open[choice]]);
            // The modulo bias is below 2^-32.
            sampled[open[choice]] = rows[(random % rows.len() as u64) as usize] as usize;
            Ok(())
        })?;
        Ok(sampled)
    }

    fn check_range(&self, pairs: &[usize]) -> Result<(), FeatureError> {
        match pairs.iter().find(|&&pair| pair >= self.len()) {
            Some(&row) => Err(FeatureError::OutOfRange { row, rows: self.len() }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let captions: Vec<usize> = self.captions.iter().map(CaptionSet::len).collect();
        f.debug_struct("Pairs").field("len", &self.len()).field("captions", &captions).finish()
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
