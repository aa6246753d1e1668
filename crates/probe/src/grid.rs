//! Features of the same pairs by several encoders.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::{FeatureSource, gather_tensor};
use sail_data::{DataError, Matched, Pairs, Unmatched};

use crate::ProbeError;

/// Features with a name.
#[derive(Clone)]
pub struct NamedFeatures {
    /// Name in tables and charts, such as that of the model.
    pub name: String,
    /// The features.
    pub source: Arc<dyn FeatureSource>,
}

/// The features of one encoder: one set, or several candidates of which the probe selects one for each pair of encoders.
///
/// Candidates are the layers, poolings or image sizes of an encoder.
#[derive(Clone)]
pub struct EncoderFeatures {
    /// Name of the encoder.
    pub name: String,
    /// Its sets, at least one. The name of a candidate is the part after that of the encoder, such as `layer-6`.
    pub candidates: Vec<NamedFeatures>,
}

impl From<NamedFeatures> for EncoderFeatures {
    fn from(features: NamedFeatures) -> Self {
        Self { name: features.name.clone(), candidates: vec![features] }
    }
}

/// The features of several vision encoders and several text encoders for the same pairs.
///
/// Rows are joined by key; the pairs have the order of the first image set. A pair has a row in every set.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::MatrixFeatures;
/// use sail_probe::{Grid, NamedFeatures};
/// let set = |name: &str, rows: [f32; 3], keys| {
///     let source = MatrixFeatures::new(1, rows.to_vec())?.with_keys(keys)?;
///     Ok::<_, sail_data::DataError>(NamedFeatures { name: name.to_owned(), source: Arc::new(source) })
/// };
/// let images = [set("a", [1.0, 2.0, 3.0], ["x", "y", "z"])?, set("b", [3.0, 1.0, 2.0], ["z", "x", "y"])?];
/// let texts = [set("t", [1.0, 2.0, 3.0], ["y", "x", "z"])?];
/// assert_eq!(Grid::new(images.into(), texts.into(), None)?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Grid {
    /// The sets of all image encoders.
    pub(crate) images: Vec<ImageSet>,
    /// The sets of all text encoders.
    pub(crate) texts: Vec<TextSet>,
    pub(crate) image_encoders: Vec<Encoder>,
    pub(crate) text_encoders: Vec<Encoder>,
    pub(crate) labels: Option<Labels>,
}

/// An encoder and the indices of its sets.
pub(crate) struct Encoder {
    pub(crate) name: String,
    pub(crate) sets: Range<usize>,
}

pub(crate) struct ImageSet {
    pub(crate) features: NamedFeatures,
    /// The row of each pair.
    rows: Vec<usize>,
}

pub(crate) struct TextSet {
    pub(crate) features: NamedFeatures,
    /// The first image set, paired with these texts; only the pairs of the grid.
    pairs: Pairs,
}

/// Class labels of the pairs.
pub(crate) struct Labels {
    pub(crate) of_pair: Vec<usize>,
    pub(crate) classes: usize,
}

/// Indices of pairs.
pub(crate) struct Split {
    /// Pairs to train on.
    pub(crate) train: Vec<usize>,
    /// Training pairs that the measures before training are computed on.
    pub(crate) measured: Vec<usize>,
    /// Held-out pairs.
    pub(crate) holdout: Vec<usize>,
}

impl Grid {
    /// Joins sets of features with the same keys: [`join`](Grid::join) with [`Unmatched::Error`].
    ///
    /// # Errors
    /// Those of [`join`](Grid::join).
    pub fn new(
        images: Vec<NamedFeatures>,
        texts: Vec<NamedFeatures>,
        labels: Option<Vec<usize>>,
    ) -> Result<Self, ProbeError> {
        Self::join(images, texts, labels, Unmatched::Error)
    }

    /// Joins sets of features. `unmatched` decides about rows whose key another set lacks.
    ///
    /// `labels` are class labels, one for each row of the first image set.
    ///
    /// # Errors
    /// [`ProbeError`] without images or texts, for token states, if two sets of a side have the same name, if more keys differ than
    /// `unmatched` allows, and if the number of labels is not that of the rows.
    pub fn join(
        images: Vec<NamedFeatures>,
        texts: Vec<NamedFeatures>,
        labels: Option<Vec<usize>>,
        unmatched: Unmatched,
    ) -> Result<Self, ProbeError> {
        let encoders = |sets: Vec<NamedFeatures>| sets.into_iter().map(Into::into).collect();
        Self::search(encoders(images), encoders(texts), labels, unmatched)
    }

    /// Joins the sets of encoders like [`join`](Grid::join), some of which have several candidates.
    ///
    /// For each pair of encoders the probe selects the candidates with the highest mutual k-NN. Its p-value and its calibrated
    /// score are those of the search: the highest value of the random pairings is what it is compared with.
    ///
    /// # Errors
    /// Those of [`join`](Grid::join), and if an encoder has no candidate.
    pub fn search(
        images: Vec<EncoderFeatures>,
        texts: Vec<EncoderFeatures>,
        labels: Option<Vec<usize>>,
        unmatched: Unmatched,
    ) -> Result<Self, ProbeError> {
        let (images, image_encoders) = sets_of(images, "image")?;
        let (texts, text_encoders) = sets_of(texts, "text")?;
        let first = images[0].clone();
        for sets in [&images, &texts] {
            let mut names = HashSet::new();
            if let Some(set) = sets.iter().find(|set| !names.insert(&set.name)) {
                return Err(ProbeError::Name { name: set.name.clone() });
            }
            for set in sets {
                if let Some(found) = set.source.provenance().and_then(|provenance| provenance.tokens) {
                    return Err(ProbeError::Tokens { name: set.name.clone(), found });
                }
            }
        }
        let join = |set: &NamedFeatures| {
            let differ = |source| {
                let source = Box::new(source);
                let (first, second) = (first.name.clone(), set.name.clone());
                ProbeError::Mismatch { first, second, source }
            };
            let joined =
                Pairs::join(first.source.clone(), vec![set.source.clone()], unmatched).map_err(differ)?;
            Ok::<_, ProbeError>(joined)
        };
        let of_images = images.iter().map(join).collect::<Result<Vec<_>, _>>()?;
        let of_texts = texts.iter().map(join).collect::<Result<Vec<_>, _>>()?;
        for (set, pairs) in images.iter().zip(&of_images) {
            if (0..pairs.len()).any(|pair| pairs.caption_rows(0, pair).len() > 1) {
                // A duplicate key, which pairing with these images reports.
                let duplicate = Pairs::join(set.source.clone(), vec![first.source.clone()], Unmatched::Drop);
                let source = Box::new(duplicate.err().unwrap_or(DataError::Empty));
                let (first, second) = (first.name.clone(), set.name.clone());
                return Err(ProbeError::Mismatch { first, second, source });
            }
        }
        let common = common_rows(first.source.rows(), of_images.iter().chain(&of_texts));
        let image_set = |(set, pairs): (NamedFeatures, Pairs)| {
            let pairs = pairs.of_image_rows(&common)?;
            let rows = (0..pairs.len()).map(|pair| pairs.caption_rows(0, pair)[0] as usize).collect();
            Ok(ImageSet { features: set, rows })
        };
        let text_set = |(set, pairs): (NamedFeatures, Pairs)| {
            Ok(TextSet { pairs: pairs.of_image_rows(&common)?, features: set })
        };
        let images =
            images.into_iter().zip(of_images).map(image_set).collect::<Result<Vec<_>, DataError>>()?;
        let texts = texts.into_iter().zip(of_texts).map(text_set).collect::<Result<Vec<_>, DataError>>()?;
        let expected = first.source.rows();
        let labels = match labels {
            Some(labels) if labels.len() != expected => {
                return Err(ProbeError::Labels { found: labels.len(), expected, first: first.name });
            }
            labels => labels.map(|of_row| {
                let classes = of_row.iter().max().map_or(0, |&class| class + 1);
                Labels { of_pair: common.iter().map(|&row| of_row[row]).collect(), classes }
            }),
        };
        let grid = Self { images, texts, image_encoders, text_encoders, labels };
        let mut sets = grid.names().zip(grid.matched());
        if let Some((name, matched)) = sets.find(|(_, matched)| !unmatched.allows(*matched)) {
            return Err(ProbeError::Unmatched { name: name.to_owned(), matched });
        }
        drop(sets);
        Ok(grid)
    }

    /// Returns the names of all sets: those of images, then those of texts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let images = self.images.iter().map(|set| set.features.name.as_str());
        images.chain(self.texts.iter().map(|set| set.features.name.as_str()))
    }

    /// Returns how many rows of every set are in a pair, in the order of [`names`](Grid::names).
    pub fn matched(&self) -> Vec<Matched> {
        let images = self.images.iter().map(|set| (set.rows.len(), set.features.source.rows()));
        let texts = self.texts.iter().map(|set| {
            let captions = (0..set.pairs.len()).map(|pair| set.pairs.caption_rows(0, pair).len());
            (captions.sum(), set.features.source.rows())
        });
        images.chain(texts).map(|(matched, rows)| Matched { matched, rows }).collect()
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.images[0].rows.len()
    }

    /// Returns false: a feature source has at least one row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every image encoder with every text encoder, and their indices; texts vary fastest.
    pub(crate) fn encoder_pairs(&self) -> impl Iterator<Item = ([usize; 2], [&Encoder; 2])> {
        self.image_encoders.iter().enumerate().flat_map(|(image, images)| {
            let texts = self.text_encoders.iter().enumerate();
            texts.map(move |(text, texts)| ([image, text], [images, texts]))
        })
    }

    /// Splits the pairs by their keys, with at most `max_measured` pairs to measure.
    pub(crate) fn split(&self, holdout: usize, seed: u64, max_measured: usize) -> Result<Split, ProbeError> {
        let split = self.texts[0].pairs.split(holdout, seed)?;
        let rows = &self.texts[0].pairs;
        let rows: Vec<usize> = (0..rows.len()).map(|pair| rows.image_row(pair)).collect();
        // The rows of the first images ascend.
        let pair = |row| rows.partition_point(|&before| before < row);
        let indices =
            |pairs: &Pairs| (0..pairs.len()).map(|index| pair(pairs.image_row(index))).collect::<Vec<_>>();
        let (train, holdout) = (indices(&split.train), indices(&split.holdout));
        let measured = match train.len() > max_measured {
            // The sample depends only on keys and seed, like the holdout.
            true => indices(&split.train.split(max_measured, seed)?.holdout),
            false => train.clone(),
        };
        Ok(Split { train, measured, holdout })
    }

    /// The given pairs of two sets, for training.
    pub(crate) fn pairs(&self, image: usize, text: usize, pairs: &[usize]) -> Result<Pairs, ProbeError> {
        let (images, texts) = (&self.images[image], &self.texts[text]);
        let (images_source, texts) = (images.features.source.clone(), texts.features.source.clone());
        let joined = Pairs::join(images_source, vec![texts], Unmatched::Drop)?;
        let rows: Vec<usize> = pairs.iter().map(|&pair| images.rows[pair]).collect();
        Ok(joined.of_image_rows(&rows)?)
    }
}

/// The sets of the encoders of one side, with names that begin with that of their encoder.
fn sets_of(
    encoders: Vec<EncoderFeatures>,
    what: &'static str,
) -> Result<(Vec<NamedFeatures>, Vec<Encoder>), ProbeError> {
    let (mut sets, mut of_encoders) = (Vec::new(), Vec::new());
    for EncoderFeatures { name, candidates } in encoders {
        if candidates.is_empty() {
            return Err(ProbeError::NoCandidate { name });
        }
        let start = sets.len();
        let several = candidates.len() > 1;
        sets.extend(candidates.into_iter().map(|set| match several {
            true => NamedFeatures { name: format!("{name}/{}", set.name), ..set },
            false => NamedFeatures { name: name.clone(), ..set },
        }));
        of_encoders.push(Encoder { name, sets: start..sets.len() });
    }
    if sets.is_empty() { Err(ProbeError::Empty { what }) } else { Ok((sets, of_encoders)) }
}

/// The rows of the first images that are in a pair with every set.
fn common_rows<'a>(rows: usize, joined: impl Iterator<Item = &'a Pairs>) -> Vec<usize> {
    let (mut sets, mut found) = (0, vec![0u32; rows]);
    for pairs in joined {
        sets += 1;
        (0..pairs.len()).for_each(|pair| found[pairs.image_row(pair)] += 1);
    }
    (0..rows).filter(|&row| found[row] == sets).collect()
}

impl ImageSet {
    /// Reads the features of pairs, `[pairs, dim]`.
    pub(crate) fn read(&self, pairs: &[usize], device: &Device) -> Result<Tensor<2>, ProbeError> {
        let rows: Vec<usize> = pairs.iter().map(|&pair| self.rows[pair]).collect();
        self.features.read(&rows, device)
    }
}

impl TextSet {
    /// Reads the features of the first caption of pairs, `[pairs, dim]`.
    pub(crate) fn read_first(&self, pairs: &[usize], device: &Device) -> Result<Tensor<2>, ProbeError> {
        let rows: Vec<usize> =
            pairs.iter().map(|&pair| self.pairs.caption_rows(0, pair)[0] as usize).collect();
        self.features.read(&rows, device)
    }

    /// Reads the features of all captions of pairs, `[captions, dim]`, and the position of each caption's pair in
    /// `pairs`.
    pub(crate) fn read_all(
        &self,
        pairs: &[usize],
        device: &Device,
    ) -> Result<(Tensor<2>, Vec<usize>), ProbeError> {
        let (rows, positions): (Vec<usize>, Vec<usize>) = pairs
            .iter()
            .enumerate()
            .flat_map(|(position, &pair)| {
                self.pairs.caption_rows(0, pair).iter().map(move |&row| (row as usize, position))
            })
            .unzip();
        Ok((self.features.read(&rows, device)?, positions))
    }
}

impl NamedFeatures {
    fn read(&self, rows: &[usize], device: &Device) -> Result<Tensor<2>, ProbeError> {
        gather_tensor(&*self.source, rows, device)
            .map_err(|source| ProbeError::Features { name: self.name.clone(), source })
    }
}
