//! One pair of encoders: closed-form aligners and training.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::AlignmentHead;
use sail_eval::{Asif, BlockSize, EvalError, Neighbourhoods, Retrieval, RetrievalRanks, neighbourhoods};
use sail_fit::{Direction, Fit, FitConfig};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{Finish, Interrupter, Trainer};
use serde::{Deserialize, Serialize};

use crate::grid::{Grid, Split};
use crate::hits::Hits;
use crate::{ProbeConfig, ProbeError};

/// How well the trained linear layers keep the neighbours of the features, on the held-out pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Maps {
    /// Image features and their embeddings.
    pub images: Neighbourhoods,
    /// Text features and their embeddings.
    pub texts: Neighbourhoods,
}

/// Retrieval on the held-out pairs with closed-form aligners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aligners {
    /// Ridge regression from image features to text features.
    pub ridge: Retrieval,
    /// Canonical correlation analysis.
    pub cca: Retrieval,
    /// ASIF: similarities to training pairs.
    pub asif: Retrieval,
}

/// All results of a pair, with the hits behind the scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PairHits {
    pub(crate) aligners: Aligners,
    pub(crate) trained: Retrieval,
    pub(crate) ridge_hits: Hits,
    pub(crate) cca_hits: Hits,
    pub(crate) asif_hits: Hits,
    pub(crate) trained_hits: Hits,
    #[serde(default)]
    pub(crate) maps: Option<Maps>,
}

/// Maximum number of ASIF's anchors, which is the dimension of its embeddings.
const ANCHORS: usize = 4096;
/// Exponent of ASIF's similarities, from its paper.
const POWER: i32 = 8;

/// Aligns an image set and a text set. Returns `None` if the training was interrupted.
pub(crate) fn run(
    grid: &Grid,
    [image, text]: [usize; 2],
    split: &Split,
    config: &ProbeConfig,
    device: &Device,
    interrupter: &Interrupter,
) -> Result<Option<PairHits>, ProbeError> {
    let (image_set, text_set) = (&grid.images[image], &grid.texts[text]);
    let of = format!("`{}` with `{}`", image_set.features.name, text_set.features.name);
    let failed = |source| ProbeError::Measure { of: of.clone(), source };

    let images = image_set.read(&split.measured, device)?;
    let texts = text_set.read_first(&split.measured, device)?;
    let holdout_images = image_set.read(&split.holdout, device)?;
    let (holdout_texts, positions) = text_set.read_all(&split.holdout, device)?;
    let evaluate = |images: Tensor<2>, texts: Tensor<2>| {
        let ranks = RetrievalRanks::new(images, texts, &positions, &BlockSize::default())?;
        Ok::<_, EvalError>((ranks.scores()?, Hits::of_ranks(&ranks, &positions)))
    };
    let align = || {
        let anchors = images.dims()[0].min(ANCHORS);
        // The paper keeps 800 of 1.6 million; with a few thousand anchors a tenth works as well.
        let k = anchors.div_ceil(10).max(10).min(anchors);
        let [first, second] = [&images, &texts].map(|rows| rows.clone().narrow(0, 0, anchors));
        let asif = Asif::new(first, second, k, POWER)?;
        let asif =
            evaluate(asif.embed_images(holdout_images.clone())?, asif.embed_texts(holdout_texts.clone())?)?;
        Ok(asif)
    };
    let (asif, asif_hits) = align().map_err(failed)?;

    let measured = grid.pairs(image, text, &split.measured)?;
    let fitted = |config: FitConfig| {
        let fit = config.fit(&measured, device);
        let Fit { head, .. } =
            fit.map_err(|source| ProbeError::Fit { of: of.clone(), source: Box::new(source) })?;
        evaluate(head.project_images(holdout_images.clone())?, head.project_texts(holdout_texts.clone())?)
            .map_err(failed)
    };
    let regularization = Some(config.regularization);
    let (ridge, ridge_hits) = fitted(FitConfig::Ridge { direction: Direction::ImageToText, regularization })?;
    let (cca, cca_hits) = fitted(FitConfig::Cca { dim: Some(config.dim), regularization })?;

    let dims = [images.dims()[1], texts.dims()[1]];
    let head = HeadConfig::new(dims[0], dims[1], config.dim, ProjectorConfig::Linear {});
    let head = Head::new(&head, config.seed, device)?;
    let pairs = grid.pairs(image, text, &split.train)?;
    let trainer = Trainer::new(config.train.clone(), head, Arc::new(SigmoidLoss::new()), pairs);
    let outcome = trainer
        .interrupter(interrupter.clone())
        .run()
        .map_err(|source| ProbeError::Train { of: of.clone(), source: Box::new(source) })?;
    if outcome.finish == Finish::Interrupted {
        return Ok(None);
    }
    // Already in inference mode.
    let head = outcome.head;
    let embeddings =
        [head.project_images(holdout_images.clone())?, head.project_texts(holdout_texts.clone())?];
    let map =
        |features, embeddings| neighbourhoods(features, embeddings, config.mutual_k, &BlockSize::SEARCH);
    let maps = match 2 * config.mutual_k < split.holdout.len() {
        true => Some(Maps {
            images: map(holdout_images, embeddings[0].clone()).map_err(failed)?,
            texts: map(holdout_texts, embeddings[1].clone()).map_err(failed)?,
        }),
        false => None,
    };
    let [images, texts] = embeddings;
    let (trained, trained_hits) = evaluate(images, texts).map_err(failed)?;
    let aligners = Aligners { ridge, cca, asif };
    Ok(Some(PairHits { aligners, trained, ridge_hits, cca_hits, asif_hits, trained_hits, maps }))
}
