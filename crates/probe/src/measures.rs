//! Measures of the unaligned features of a pair of encoders, and the search among their candidates.

use std::ops::Range;

use burn::tensor::Device;
use sail_eval::{BlockSize, Calibrated, Cka, EvalError, Measured, Neighbours, Permutations, cka_and_cca};
use serde::{Deserialize, Serialize};

use crate::grid::{Encoder, Grid, Split};
use crate::{ProbeConfig, ProbeError};

/// Similarity of the unaligned features of a pair of encoders, on training pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairMeasures {
    /// Mutual k-nearest neighbours; the highest of all candidates if there are several, calibrated as that.
    pub mutual_knn: Calibrated,
    /// Centred kernel alignment (CKA), of the candidates that mutual k-NN selected. After a selection it has no p-value.
    pub cka: Cka<Calibrated>,
    /// Mean squared canonical correlation, like CKA.
    pub cca: Calibrated,
}

/// The search among the candidates of a pair of encoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Name of the selected image features.
    pub images: String,
    /// Name of the selected text features.
    pub texts: String,
    /// Names of the image features.
    pub image_candidates: Vec<String>,
    /// Names of the text features.
    pub text_candidates: Vec<String>,
    /// Mutual k-NN of all candidates; texts vary fastest.
    pub mutual_knn: Vec<f64>,
}

/// The measures of a pair, with their null distributions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PairMeasured {
    /// The highest of all candidates.
    pub(crate) mutual_knn: Measured,
    pub(crate) cka: Cka,
    pub(crate) cca: Measured,
    /// Mutual k-NN of all candidates; texts vary fastest.
    candidates: Vec<f64>,
    /// The position of the highest among them.
    best: usize,
}

impl PairMeasured {
    /// The selected image set and text set of these encoders.
    pub(crate) fn selected(&self, [images, texts]: [&Encoder; 2]) -> [usize; 2] {
        let across = texts.sets.len();
        [images.sets.start + self.best / across, texts.sets.start + self.best % across]
    }

    /// Whether a part that was read from a file is one of these encoders.
    pub(crate) fn is_of(&self, [images, texts]: [&Encoder; 2]) -> bool {
        let candidates = images.sets.len() * texts.sets.len();
        self.candidates.len() == candidates && self.best < candidates
    }

    pub(crate) fn search(&self, grid: &Grid, encoders: [&Encoder; 2]) -> Option<Search> {
        if self.candidates.len() == 1 {
            return None;
        }
        let image = |set: usize| grid.images[set].features.name.clone();
        let text = |set: usize| grid.texts[set].features.name.clone();
        let [images, texts] = self.selected(encoders);
        Some(Search {
            images: image(images),
            texts: text(texts),
            image_candidates: encoders[0].sets.clone().map(image).collect(),
            text_candidates: encoders[1].sets.clone().map(text).collect(),
            mutual_knn: self.candidates.clone(),
        })
    }

    pub(crate) fn calibrate(&self, alpha: f64) -> Result<PairMeasures, EvalError> {
        Ok(PairMeasures {
            mutual_knn: self.mutual_knn.calibrate(alpha, 1.0)?,
            cka: self.cka.calibrate(alpha)?,
            cca: self.cca.calibrate(alpha, 1.0)?,
        })
    }
}

/// Computes the measures of pairs. The neighbours of a set are searched once for all pairs.
pub(crate) struct Measurer<'a> {
    grid: &'a Grid,
    split: &'a Split,
    config: &'a ProbeConfig,
    device: &'a Device,
    image_neighbours: Vec<Option<Neighbours>>,
    text_neighbours: Vec<Option<Neighbours>>,
}

impl<'a> Measurer<'a> {
    pub(crate) fn new(grid: &'a Grid, split: &'a Split, config: &'a ProbeConfig, device: &'a Device) -> Self {
        let (image_neighbours, text_neighbours) =
            (vec![None; grid.images.len()], vec![None; grid.texts.len()]);
        Self { grid, split, config, device, image_neighbours, text_neighbours }
    }

    pub(crate) fn measure(&mut self, encoders: [&Encoder; 2]) -> Result<PairMeasured, ProbeError> {
        let Self { grid, split, config, device, .. } = *self;
        let [images, texts] = encoders;
        let of = format!("`{}` with `{}`", images.name, texts.name);
        let failed = |source| ProbeError::Measure { of: of.clone(), source };
        self.search_neighbours(images.sets.clone(), texts.sets.clone())?;
        let permutations = Permutations { count: config.permutations, seed: config.seed };
        let mut candidates = Vec::new();
        for image in self.image_neighbours[images.sets.clone()].iter().flatten() {
            for text in self.text_neighbours[texts.sets.clone()].iter().flatten() {
                candidates.push(image.mutual(text, &permutations).map_err(failed)?);
            }
        }
        let highest = Measured::maximum(&candidates).map_err(failed)?;
        let (best, mutual_knn) =
            highest.ok_or_else(|| ProbeError::NoCandidate { name: images.name.clone() })?;
        let [image, text] =
            [images.sets.start + best / texts.sets.len(), texts.sets.start + best % texts.sets.len()];
        // The pairings that selected these candidates would not be those that their null distribution permutes.
        let permutations = if candidates.len() > 1 { Permutations::NONE } else { permutations };
        let rows = grid.images[image].read(&split.measured, device)?;
        let texts = grid.texts[text].read_first(&split.measured, device)?;
        let (cka, cca) = cka_and_cca(rows, texts, config.regularization, &permutations).map_err(failed)?;
        let candidates = candidates.iter().map(|measured| measured.value).collect();
        Ok(PairMeasured { mutual_knn, cka, cca, candidates, best })
    }

    fn search_neighbours(&mut self, images: Range<usize>, texts: Range<usize>) -> Result<(), ProbeError> {
        let Self { grid, split, config, device, .. } = *self;
        let search = |name: &str, rows| {
            Neighbours::new(rows, config.mutual_k, &BlockSize::SEARCH)
                .map_err(|source| ProbeError::Measure { of: format!("`{name}`"), source })
        };
        for set in images.filter(|&set| self.image_neighbours[set].is_none()).collect::<Vec<_>>() {
            let images = &grid.images[set];
            let found = search(&images.features.name, images.read(&split.measured, device)?)?;
            self.image_neighbours[set] = Some(found);
        }
        for set in texts.filter(|&set| self.text_neighbours[set].is_none()).collect::<Vec<_>>() {
            let texts = &grid.texts[set];
            let found = search(&texts.features.name, texts.read_first(&split.measured, device)?)?;
            self.text_neighbours[set] = Some(found);
        }
        Ok(())
    }
}
