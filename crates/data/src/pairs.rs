//! Images joined with their captions.

use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource};
use sha2::{Digest, Sha256};

use crate::gather::gather_checked_parallel;
use crate::key_index::{KeyIndex, NONE};
use crate::{DataError, KeySample};

/// Images and, for each, its captions in one or several caption sets (raw and model-written captions, say).
///
/// A pair is an image with all of its captions; pair `i` of a new `Pairs` is image row `i`. Rows join by
/// key. Where the images or a caption set have no keys ([`FeatureSource::positional`]), these two join by
/// position, which takes equal numbers of rows.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::{MatrixFeatures, Pairs};
/// let images = MatrixFeatures::new(1, vec![1.0, 2.0])?.with_keys(["cat", "dog"])?;
/// let texts = MatrixFeatures::new(1, vec![3.0, 4.0, 5.0])?.with_keys(["dog", "cat", "dog"])?;
/// let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)])?;
/// assert_eq!((pairs.key(1).as_ref(), pairs.caption_rows(0, 1)), ("dog", [0, 2].as_slice()));
/// # Ok::<(), sail_data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Pairs {
    images: Arc<dyn FeatureSource>,
    image_rows: Vec<u32>,
    captions: Vec<CaptionSet>,
}

/// The caption rows of pair `i` are `rows[offsets[i]..offsets[i + 1]]`.
#[derive(Clone)]
struct CaptionSet {
    source: Arc<dyn FeatureSource>,
    offsets: Vec<u32>,
    rows: Vec<u32>,
}

/// Pairs to train on and pairs to judge by.
#[derive(Debug, Clone)]
pub struct Split {
    /// The larger part.
    pub train: Pairs,
    /// The part held out.
    pub holdout: Pairs,
}

/// The features of some pairs, one caption of each set a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct PairBatch {
    /// Image features, `[rows, image dim]`, row-major.
    pub images: Vec<f32>,
    /// Caption features of each set, `[rows, caption dim]`, row-major.
    pub texts: Vec<Vec<f32>>,
    /// How many pairs there are.
    pub rows: usize,
}

/// Checks that a caption set was made as the first one was: one side of a head takes them all.
fn one_kind(set: usize, first: &dyn FeatureSource, other: &dyn FeatureSource) -> Result<(), DataError> {
    let differ =
        |field, found: String, expected: String| DataError::CaptionSets { set, field, found, expected };
    if other.dim() != first.dim() {
        let (found, expected) = (other.dim().to_string(), first.dim().to_string());
        return Err(differ("dimension", found, expected));
    }
    if let (Some(found), Some(expected)) = (other.provenance(), first.provenance())
        && let Some(field) = expected.contradiction(found)
    {
        return Err(differ(field, found.to_string(), expected.to_string()));
    }
    Ok(())
}

impl Pairs {
    /// Joins images with one or several caption sets.
    ///
    /// # Errors
    /// [`DataError::DuplicateKeys`] for images that share a key, [`DataError::Unmatched`] where one side has
    /// keys that the other lacks, [`DataError::Positions`] where rows can only pair by position and their
    /// numbers differ, [`DataError::CaptionSets`] for captions of several models, [`DataError::NoCaptions`],
    /// [`DataError::Empty`], [`DataError::NoDimensions`] and [`DataError::TooManyRows`].
    pub fn new(
        images: Arc<dyn FeatureSource>,
        captions: Vec<Arc<dyn FeatureSource>>,
    ) -> Result<Self, DataError> {
        if captions.is_empty() {
            return Err(DataError::NoCaptions);
        }
        for source in captions.iter().chain([&images]) {
            match source.rows() {
                0 => return Err(DataError::Empty),
                found if found >= NONE as usize => return Err(DataError::TooManyRows { found }),
                _ => {}
            }
        }
        if captions.iter().chain([&images]).any(|source| source.dim() == 0) {
            return Err(DataError::NoDimensions);
        }
        for (set, source) in captions.iter().enumerate().skip(1) {
            one_kind(set, &*captions[0], &**source)?;
        }
        let index = match images.positional() {
            true => None,
            false => Some(KeyIndex::new(&*images).map_err(|keys| DataError::DuplicateKeys { keys })?),
        };
        let captions = captions
            .into_iter()
            .enumerate()
            .map(|(set, source)| match &index {
                Some(index) if !source.positional() => by_key(set, &*images, index, source),
                _ => by_position(set, &*images, source),
            })
            .collect::<Result<_, _>>()?;
        drop(index);
        let image_rows = (0..images.rows() as u32).collect();
        Ok(Self { images, image_rows, captions })
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.image_rows.len()
    }

    /// True without any pair, as a holdout of none.
    pub fn is_empty(&self) -> bool {
        self.image_rows.is_empty()
    }

    /// How many caption sets there are, at least 1.
    pub fn caption_sets(&self) -> usize {
        self.captions.len()
    }

    /// The image source, with all rows that it has.
    pub fn images(&self) -> &Arc<dyn FeatureSource> {
        &self.images
    }

    /// The source of a caption set, with all rows that it has. `set` is less than
    /// [`caption_sets`](Pairs::caption_sets).
    pub fn captions(&self, set: usize) -> &Arc<dyn FeatureSource> {
        &self.captions[set].source
    }

    /// The image row of a pair. `pair` is less than [`len`](Pairs::len), here and below.
    pub fn image_row(&self, pair: usize) -> usize {
        self.image_rows[pair] as usize
    }

    /// The caption rows of a pair in the order of their source, at least one.
    pub fn caption_rows(&self, set: usize, pair: usize) -> &[u32] {
        self.captions[set].of(pair)
    }

    /// The key of a pair, which is that of its image.
    pub fn key(&self, pair: usize) -> std::borrow::Cow<'_, str> {
        self.images.key(self.image_row(pair))
    }

    /// Some of the pairs, in the order given.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for a pair that is not there.
    pub fn subset(&self, pairs: &[usize]) -> Result<Self, DataError> {
        self.check_range(pairs)?;
        let image_rows = pairs.iter().map(|&pair| self.image_rows[pair]).collect();
        let captions = self.captions.iter().map(|set| set.subset(pairs)).collect();
        Ok(Self { images: self.images.clone(), image_rows, captions })
    }

    /// Holds out the `holdout` pairs whose keys have the lowest `SHA-256(seed as 8 little-endian bytes,
    /// key)`.
    ///
    /// Which keys these are depends on the set of keys and the seed only, not on the order of the rows or
    /// the machine; and a smaller holdout is part of a larger one. Both parts keep the order of the
    /// pairs.
    ///
    /// # Errors
    /// [`DataError::Holdout`] where no pair would be left to train on.
    pub fn split(&self, holdout: usize, seed: u64) -> Result<Split, DataError> {
        if holdout >= self.len() {
            return Err(DataError::Holdout { holdout, pairs: self.len() });
        }
        let mut lowest = BinaryHeap::with_capacity(holdout + 1);
        for pair in 0..self.len() {
            lowest.push((hash(&[&seed.to_le_bytes(), self.key(pair).as_bytes()]), pair));
            if lowest.len() > holdout {
                lowest.pop();
            }
        }
        let mut held_out = vec![false; self.len()];
        for (_, pair) in lowest {
            held_out[pair] = true;
        }
        let (holdout, train): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|&pair| held_out[pair]);
        Ok(Split { train: self.subset(&train)?, holdout: self.subset(&holdout)? })
    }

    /// All captions of all pairs, for retrieval: the caption rows, and for each the index of its pair.
    pub fn text_to_image(&self, set: usize) -> (Vec<usize>, Vec<usize>) {
        (0..self.len())
            .flat_map(|pair| self.caption_rows(set, pair).iter().map(move |&row| (row as usize, pair)))
            .unzip()
    }

    /// Reads the features of some pairs, and checks that they can be used.
    ///
    /// Where a pair has several captions in a set, one is drawn by a hash of seed, epoch, set and key.
    /// The draw is the same on every machine and does not depend on which other pairs are in the batch.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for a pair that is not there, and those of [`sail_core::gather_checked`].
    pub fn batch(&self, pairs: &[usize], epoch: u64, seed: u64) -> Result<PairBatch, FeatureError> {
        self.check_range(pairs)?;
        let rows: Vec<usize> = pairs.iter().map(|&pair| self.image_row(pair)).collect();
        let images = gather_checked_parallel(&*self.images, &rows)?;
        let texts = (0..self.caption_sets())
            .map(|set| {
                let draw = |&pair: &usize| self.draw(set, pair, epoch, seed);
                let rows: Vec<usize> = pairs.par_iter().map(draw).collect();
                gather_checked_parallel(&*self.captions[set].source, &rows)
            })
            .collect::<Result<_, _>>()?;
        Ok(PairBatch { images, texts, rows: pairs.len() })
    }

    /// The caption row that stands for a pair in an epoch.
    fn draw(&self, set: usize, pair: usize, epoch: u64, seed: u64) -> usize {
        let rows = self.caption_rows(set, pair);
        if let [only] = rows {
            return *only as usize;
        }
        let key = self.key(pair);
        let numbers = [seed, epoch, set as u64].map(u64::to_le_bytes);
        let digest = hash(&[numbers.as_flattened(), key.as_bytes()]);
        // The bias of the remainder is below one part in 2^32.
        let number = digest.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes));
        rows[(number % rows.len() as u64) as usize] as usize
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
        let captions: Vec<usize> = self.captions.iter().map(|set| set.rows.len()).collect();
        f.debug_struct("Pairs").field("len", &self.len()).field("captions", &captions).finish()
    }
}

impl CaptionSet {
    fn of(&self, pair: usize) -> &[u32] {
        &self.rows[self.offsets[pair] as usize..self.offsets[pair + 1] as usize]
    }

    fn subset(&self, pairs: &[usize]) -> Self {
        let mut offsets = Vec::with_capacity(pairs.len() + 1);
        let mut rows = Vec::new();
        offsets.push(0);
        for &pair in pairs {
            rows.extend_from_slice(self.of(pair));
            offsets.push(rows.len() as u32);
        }
        Self { source: self.source.clone(), offsets, rows }
    }
}

fn by_position(
    set: usize,
    images: &dyn FeatureSource,
    source: Arc<dyn FeatureSource>,
) -> Result<CaptionSet, DataError> {
    if source.rows() != images.rows() {
        let side = match (images.positional(), source.positional()) {
            (true, true) => "their",
            (true, false) => "image",
            (false, _) => "caption",
        };
        return Err(DataError::Positions { set, captions: source.rows(), images: images.rows(), side });
    }
    let rows = source.rows() as u32;
    Ok(CaptionSet { source, offsets: (0..=rows).collect(), rows: (0..rows).collect() })
}

fn by_key(
    set: usize,
    images: &dyn FeatureSource,
    index: &KeyIndex,
    source: Arc<dyn FeatureSource>,
) -> Result<CaptionSet, DataError> {
    let pair_of: Vec<u32> =
        (0..source.rows()).into_par_iter().map(|row| index.get(&source.key(row)).unwrap_or(NONE)).collect();

    let mut only_captions = KeySample::default();
    let mut offsets = vec![0u32; images.rows() + 1];
    for (row, &pair) in pair_of.iter().enumerate() {
        match pair {
            NONE => only_captions.add(&source.key(row)),
            pair => offsets[pair as usize + 1] += 1,
        }
    }
    let mut only_images = KeySample::default();
    for (row, _) in offsets[1..].iter().enumerate().filter(|(_, count)| **count == 0) {
        only_images.add(&images.key(row));
    }
    if only_images.count + only_captions.count > 0 {
        return Err(DataError::Unmatched { set, only_images, only_captions });
    }

    // Counting sort: counts to ends, then each row to the next place of its pair.
    for pair in 1..offsets.len() {
        offsets[pair] += offsets[pair - 1];
    }
    let mut next = offsets.clone();
    let mut rows = vec![0; pair_of.len()];
    for (row, &pair) in pair_of.iter().enumerate() {
        let place = &mut next[pair as usize];
        rows[*place as usize] = row as u32;
        *place += 1;
    }
    Ok(CaptionSet { source, offsets, rows })
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
