//! Features of the same pairs by several encoders.

use std::collections::HashSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::{FeatureSource, gather_tensor};
use sail_data::{DataError, Pairs};

use crate::ProbeError;

/// Features with a name.
#[derive(Clone)]
pub struct NamedFeatures {
    /// Name in tables and charts, such as that of the model.
    pub name: String,
    /// The features.
    pub source: Arc<dyn FeatureSource>,
}

/// The features of several vision encoders and several text encoders for the same pairs.
///
/// Rows are joined by key; the pairs have the order of the first image set. All sets must have the same keys.
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
    pub(crate) images: Vec<ImageSet>,
    pub(crate) texts: Vec<TextSet>,
    pub(crate) labels: Option<Labels>,
}

pub(crate) struct ImageSet {
    pub(crate) features: NamedFeatures,
    /// The row of each pair.
    rows: Vec<usize>,
}

pub(crate) struct TextSet {
    pub(crate) features: NamedFeatures,
    /// The first image set, paired with these texts.
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
    /// Joins sets of features.
    ///
    /// `labels` are class labels, one for each row of the first image set.
    ///
    /// # Errors
    /// [`ProbeError`] without images or texts, if two sets of a side have the same name, if keys differ, and if the number
    /// of labels is not that of the rows.
    pub fn new(
        images: Vec<NamedFeatures>,
        texts: Vec<NamedFeatures>,
        labels: Option<Vec<usize>>,
    ) -> Result<Self, ProbeError> {
        let first = images.first().ok_or(ProbeError::Empty { what: "image" })?.clone();
        if texts.is_empty() {
            return Err(ProbeError::Empty { what: "text" });
        }
        for sets in [&images, &texts] {
            let mut names = HashSet::new();
            if let Some(set) = sets.iter().find(|set| !names.insert(&set.name)) {
                return Err(ProbeError::Name { name: set.name.clone() });
            }
        }
        let joined = |set: &NamedFeatures| {
            let differ = |source| {
                let source = Box::new(source);
                let (first, second) = (first.name.clone(), set.name.clone());
                ProbeError::Mismatch { first, second, source }
            };
            Pairs::new(first.source.clone(), vec![set.source.clone()]).map_err(differ)
        };
        let image_set = |set: NamedFeatures| {
            let pairs = joined(&set)?;
            if set.source.rows() != pairs.len() {
                // A duplicate key, which pairing with these images reports.
                let duplicate = Pairs::new(set.source.clone(), vec![first.source.clone()]);
                let source = Box::new(duplicate.err().unwrap_or(DataError::Empty));
                let (first, second) = (first.name.clone(), set.name.clone());
                return Err(ProbeError::Mismatch { first, second, source });
            }
            let rows = (0..pairs.len()).map(|pair| pairs.caption_rows(0, pair)[0] as usize).collect();
            Ok(ImageSet { features: set, rows })
        };
        let text_set = |set: NamedFeatures| Ok(TextSet { pairs: joined(&set)?, features: set });
        let images = images.into_iter().map(image_set).collect::<Result<Vec<_>, ProbeError>>()?;
        let texts = texts.into_iter().map(text_set).collect::<Result<Vec<_>, ProbeError>>()?;
        let expected = images[0].rows.len();
        let labels = match labels {
            Some(labels) if labels.len() != expected => {
                return Err(ProbeError::Labels { found: labels.len(), expected, first: first.name });
            }
            labels => labels.map(|of_pair| {
                let classes = of_pair.iter().max().map_or(0, |&class| class + 1);
                Labels { of_pair, classes }
            }),
        };
        Ok(Self { images, texts, labels })
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.images[0].rows.len()
    }

    /// Returns false: a feature source has at least one row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Splits the pairs by their keys, with at most `max_measured` pairs to measure.
    pub(crate) fn split(&self, holdout: usize, seed: u64, max_measured: usize) -> Result<Split, ProbeError> {
        let split = self.texts[0].pairs.split(holdout, seed)?;
        let indices = |pairs: &Pairs| (0..pairs.len()).map(|pair| pairs.image_row(pair)).collect::<Vec<_>>();
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
        let joined = Pairs::new(images.features.source.clone(), vec![texts.features.source.clone()])?;
        let rows: Vec<usize> = pairs.iter().map(|&pair| images.rows[pair]).collect();
        Ok(joined.subset(&rows)?)
    }
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
