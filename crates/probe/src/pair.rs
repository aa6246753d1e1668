//! One pair of encoders: measured, aligned in closed form, and trained.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::AlignmentHead;
use sail_eval::{
    Asif, BlockSize, Cka, EvalError, Measured, Permutations, Retrieval, RetrievalRanks, cca, cca_aligner,
    cka, mutual_knn, ridge_aligner,
};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{Finish, Interrupter, Trainer};
use serde::{Deserialize, Serialize};

use crate::grid::{Grid, Parts};
use crate::hits::Hits;
use crate::{ProbeConfig, ProbeError};

/// How alike the features of a pair are as they come, on pairs that were not held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairMeasures {
    /// Share of common nearest neighbours.
    pub mutual_knn: Measured,
    /// Centred kernel alignment.
    pub cka: Cka,
    /// Mean squared canonical correlation.
    pub cca: Measured,
}

/// Retrieval on the held-out pairs through aligners that are solved for instead of trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aligners {
    /// Ridge regression of text features on image features.
    pub ridge: Retrieval,
    /// Canonical correlation analysis.
    pub cca: Retrieval,
    /// Similarities to known pairs.
    pub asif: Retrieval,
}

/// All that is known of a pair, and the hits that scores are means of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PairHits {
    pub(crate) measures: PairMeasures,
    pub(crate) aligners: Aligners,
    pub(crate) trained: Retrieval,
    pub(crate) ridge_hits: Hits,
    pub(crate) cca_hits: Hits,
    pub(crate) asif_hits: Hits,
    pub(crate) trained_hits: Hits,
}

/// Known pairs beyond this number are no anchors of ASIF, whose rows are as long as there are anchors.
const ANCHORS: usize = 4096;
/// The power that ASIF raises similarities to, as in its paper.
const POWER: i32 = 8;

/// `None` where somebody stopped the training.
pub(crate) fn run(
    grid: &Grid,
    [image, text]: [usize; 2],
    parts: &Parts,
    config: &ProbeConfig,
    device: &Device,
    interrupter: &Interrupter,
) -> Result<Option<PairHits>, ProbeError> {
    let (image_set, text_set) = (&grid.images[image], &grid.texts[text]);
    let of = format!("`{}` with `{}`", image_set.features.name, text_set.features.name);
    let failed = |source| ProbeError::Measure { of: of.clone(), source };

    let images = image_set.read(&parts.measured, device)?;
    let texts = text_set.read_first(&parts.measured, device)?;
    let held_images = image_set.read(&parts.holdout, device)?;
    let (held_texts, places) = text_set.read_all(&parts.holdout, device)?;
    let measures = measure(images.clone(), texts.clone(), config).map_err(failed)?;
    let judge = |images: Tensor<2>, texts: Tensor<2>| {
        let ranks = RetrievalRanks::new(images, texts, &places, &BlockSize::default())?;
        Ok::<_, EvalError>((ranks.scores()?, Hits::of_ranks(&ranks, &places)))
    };
    let solve = || {
        let regularization = config.regularization;
        let linear = ridge_aligner(images.clone(), texts.clone(), regularization)?;
        let ridge =
            judge(linear.project_images(held_images.clone())?, linear.project_texts(held_texts.clone())?)?;
        let rank = images.dims()[1].min(texts.dims()[1]).min(config.dim);
        let linear = cca_aligner(images.clone(), texts.clone(), rank, regularization)?;
        let cca =
            judge(linear.project_images(held_images.clone())?, linear.project_texts(held_texts.clone())?)?;
        let anchors = images.dims()[0].min(ANCHORS);
        // The paper keeps 800 of 1.6 million; of a few thousand a tenth does as well.
        let k = anchors.div_ceil(10).max(10).min(anchors);
        let [first, second] = [&images, &texts].map(|rows| rows.clone().narrow(0, 0, anchors));
        let asif = Asif::new(first, second, k, POWER)?;
        let asif = judge(asif.embed_images(held_images.clone())?, asif.embed_texts(held_texts.clone())?)?;
        Ok([ridge, cca, asif])
    };
    let [(ridge, ridge_hits), (cca, cca_hits), (asif, asif_hits)] = solve().map_err(failed)?;

    let dims = [images.dims()[1], texts.dims()[1]];
    let head = HeadConfig::new(dims[0], dims[1], config.dim, ProjectorConfig::Linear {});
    let head = Head::new(&head, config.seed, device)?;
    let pairs = grid.pairs(image, text, &parts.train)?;
    let trainer = Trainer::new(config.train.clone(), head, Arc::new(SigmoidLoss::new()), pairs);
    let outcome = trainer
        .interrupter(interrupter.clone())
        .run()
        .map_err(|source| ProbeError::Train { of: of.clone(), source: Box::new(source) })?;
    if outcome.finish == Finish::Interrupted {
        return Ok(None);
    }
    // Ready for inference, as the outcome has it.
    let head = outcome.head;
    let (trained, trained_hits) =
        judge(head.project_images(held_images)?, head.project_texts(held_texts)?).map_err(failed)?;
    let aligners = Aligners { ridge, cca, asif };
    Ok(Some(PairHits { measures, aligners, trained, ridge_hits, cca_hits, asif_hits, trained_hits }))
}

fn measure(images: Tensor<2>, texts: Tensor<2>, config: &ProbeConfig) -> Result<PairMeasures, EvalError> {
    let permutations = Permutations { count: config.permutations, seed: config.seed };
    let (k, block) = (config.mutual_k, BlockSize::SEARCH);
    Ok(PairMeasures {
        mutual_knn: mutual_knn(images.clone(), texts.clone(), k, &permutations, &block)?,
        cka: cka(images.clone(), texts.clone(), &permutations)?,
        cca: cca(images, texts, config.regularization, &permutations)?,
    })
}
