//! Images joined with their captions.

use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use sail_core::{FeatureError, FeatureSource};
use sha2::{Digest, Sha256};

use crate::concat::difference;
use crate::gather::gather_checked_parallel;
use crate::key_index::{KeyIndex, NONE};
use crate::keys::for_each_key;
use crate::{DataError, KeySample};

/// Images and, for each, its captions in one or several caption sets (raw and model-written captions, say).
///
/// A pair is an image with all of its captions; pair `i` of a new `Pairs` is image row `i`. Rows join by
/// key. Where the images or a caption set have no keys ([`FeatureSource::positional`]), these two join by
/// position, which takes equal numbers of rows.
///
/// # Memory
/// A caption set takes 4 bytes for each caption, and 4 for each image unless all have one caption. A part of the pairs
/// ([`subset`](Pairs::subset), [`split`](Pairs::split)) takes 4 bytes for each pair and shares the rest, and a clone
/// takes nothing. Joining by key takes up to 34 bytes a row for a moment. Keys are not kept; they are read from their
/// source to join, to split and to draw among several captions.
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
    captions: Arc<[CaptionSet]>,
    /// The image row of each pair; `None` where it has the same number.
    image_rows: Option<Arc<Vec<u32>>>,
}

/// The caption rows of image row `i` are `rows[offsets[i]..offsets[i + 1]]`, or `rows[i]` alone without offsets.
struct CaptionSet {
    source: Arc<dyn FeatureSource>,
    offsets: Option<Vec<u32>>,
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
    match difference(first, other) {
        Some((field, found, expected)) => Err(DataError::CaptionSets { set, field, found, expected }),
        None => Ok(()),
    }
}

impl Pairs {
    /// Joins images with one or several caption sets.
    ///
    /// # Errors
    /// [`DataError::DuplicateKeys`] for images that share a key, [`DataError::Unmatched`] where one side has
    /// keys that the other lacks, [`DataError::Positions`] where rows can only pair by position and their
    /// numbers differ, [`DataError::CaptionSets`] for captions of several models, [`DataError::NoCaptions`],
    /// [`DataError::Empty`], [`DataError::NoDimensions`], [`DataError::TooManyRows`], and those of reading the keys.
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
            false => Some(unique(&*images)?),
        };
        let captions = captions
            .into_iter()
            .enumerate()
            .map(|(set, source)| match &index {
                Some(index) if !source.positional() => by_key(set, &*images, index, source),
                _ => by_position(set, &*images, source),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { images, captions, image_rows: None })
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.image_rows.as_ref().map_or(self.images.rows(), |rows| rows.len())
    }

    /// True without any pair, as a holdout of none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        self.image_rows.as_ref().map_or(pair, |rows| rows[pair] as usize)
    }

    /// The caption rows of a pair in the order of their source, at least one.
    pub fn caption_rows(&self, set: usize, pair: usize) -> &[u32] {
        self.captions[set].of(self.image_row(pair))
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
        Ok(self.select(pairs.iter().copied()))
    }

    fn select(&self, pairs: impl Iterator<Item = usize>) -> Self {
        let image_rows = pairs.map(|pair| self.image_row(pair) as u32).collect();
        Self { image_rows: Some(Arc::new(image_rows)), ..self.clone() }
    }

    /// Holds out the `holdout` pairs whose keys have the lowest `SHA-256(seed as 8 little-endian bytes,
    /// key)`.
    ///
    /// Which keys these are depends on the set of keys and the seed only, not on the order of the rows or
    /// the machine; and a smaller holdout is part of a larger one. Both parts keep the order of the
    /// pairs.
    ///
    /// # Errors
    /// [`DataError::Holdout`] where no pair would be left to train on, and those of reading the keys.
    pub fn split(&self, holdout: usize, seed: u64) -> Result<Split, DataError> {
        if holdout >= self.len() {
            return Err(DataError::Holdout { holdout, pairs: self.len() });
        }
        if holdout == 0 {
            return Ok(Split { train: self.clone(), holdout: self.select(std::iter::empty()) });
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
            },
        )?;
        let mut held_out: Vec<usize> = lowest.into_iter().map(|(_, pair)| pair).collect();
        held_out.sort_unstable();
        let mut next = held_out.iter().copied().peekable();
        let train = self.select((0..self.len()).filter(|&pair| next.next_if_eq(&pair).is_none()));
        Ok(Split { train, holdout: self.select(held_out.into_iter()) })
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
    /// [`FeatureError::OutOfRange`] for a pair that is not there, and those of [`sail_core::gather_checked`] and
    /// [`FeatureSource::keys`].
    pub fn batch(&self, pairs: &[usize], epoch: u64, seed: u64) -> Result<PairBatch, FeatureError> {
        self.check_range(pairs)?;
        let rows: Vec<usize> = pairs.iter().map(|&pair| self.image_row(pair)).collect();
        let images = gather_checked_parallel(&*self.images, &rows)?;
        let texts = (0..self.caption_sets())
            .map(|set| {
                let rows = self.draw(set, pairs, epoch, seed)?;
                gather_checked_parallel(&*self.captions[set].source, &rows)
            })
            .collect::<Result<_, _>>()?;
        Ok(PairBatch { images, texts, rows: pairs.len() })
    }

    /// The caption rows that stand for pairs in an epoch.
    fn draw(&self, set: usize, pairs: &[usize], epoch: u64, seed: u64) -> Result<Vec<usize>, FeatureError> {
        let first = |&pair: &usize| self.caption_rows(set, pair)[0] as usize;
        let mut drawn: Vec<usize> = pairs.iter().map(first).collect();
        // Only where there is a choice is the key read.
        let open: Vec<usize> =
            (0..pairs.len()).filter(|&place| self.caption_rows(set, pairs[place]).len() > 1).collect();
        let numbers = [seed, epoch, set as u64].map(u64::to_le_bytes);
        let number = |key: &str| {
            let digest = hash(&[numbers.as_flattened(), key.as_bytes()]);
            digest.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes))
        };
        let row = |choice: usize| self.image_row(pairs[open[choice]]);
        for_each_key(&*self.images, open.len(), row, number, |choice, number| {
            let rows = self.caption_rows(set, pairs[open[choice]]);
            // The bias of the remainder is below one part in 2^32.
            drawn[open[choice]] = rows[(number % rows.len() as u64) as usize] as usize;
        })?;
        Ok(drawn)
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
    fn of(&self, image: usize) -> &[u32] {
        match &self.offsets {
            Some(offsets) => &self.rows[offsets[image] as usize..offsets[image + 1] as usize],
            None => std::slice::from_ref(&self.rows[image]),
        }
    }
}

/// Indexes the keys of images, each of which must be another.
fn unique(images: &dyn FeatureSource) -> Result<KeyIndex, DataError> {
    let (index, repeated) = KeyIndex::new(images)?;
    match repeated.count {
        0 => Ok(index),
        _ => Err(DataError::DuplicateKeys { keys: repeated }),
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
    Ok(CaptionSet { source, offsets: None, rows: (0..rows).collect() })
}

fn by_key(
    set: usize,
    images: &dyn FeatureSource,
    index: &KeyIndex,
    source: Arc<dyn FeatureSource>,
) -> Result<CaptionSet, DataError> {
    let mut image_of = Vec::with_capacity(source.rows());
    let mut only_captions = KeySample::default();
    let mut offsets = vec![0u32; images.rows() + 1];
    for_each_key(
        &*source,
        source.rows(),
        |row| row,
        |key| index.get(key),
        |row, image| {
            match image {
                NONE => only_captions.add_row(&*source, row),
                image => offsets[image as usize] += 1,
            }
            image_of.push(image);
        },
    )?;
    let mut only_images = KeySample::default();
    for (row, _) in offsets[..images.rows()].iter().enumerate().filter(|(_, count)| **count == 0) {
        only_images.add_row(images, row);
    }
    if only_images.count + only_captions.count > 0 {
        return Err(DataError::Unmatched { set, only_images, only_captions });
    }

    // Counting sort: counts to ends, then from the last row on each to the place before, until ends are starts.
    let mut end = 0;
    for offset in &mut offsets {
        end += *offset;
        *offset = end;
    }
    let mut rows = vec![0; image_of.len()];
    for (row, &image) in image_of.iter().enumerate().rev() {
        let place = &mut offsets[image as usize];
        *place -= 1;
        rows[*place as usize] = row as u32;
    }
    let offsets = (rows.len() > images.rows()).then_some(offsets);
    Ok(CaptionSet { source, offsets, rows })
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
