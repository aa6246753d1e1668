//! From the parts of a probe to its result.

use sail_eval::{Bootstrap, Calibrated, Differences, EvalError, Measured};

use crate::grid::{Grid, NamedFeatures, Split};
use crate::hits::Hits;
use crate::labelled::LabelledHits;
use crate::measures::PairMeasured;
use crate::pair::PairHits;
use crate::predict::{Candidate, Values, evaluate};
use crate::result::{FeatureSet, GridSignificance, PairResult, Probe, Significance};
use crate::{Basis, Labelled, PairMeasures, ProbeConfig, ProbeError};

/// Combines the parts of every set, images and texts, and of every pair of encoders.
pub(crate) fn summarize(
    grid: &Grid,
    split: &Split,
    config: &ProbeConfig,
    labelled: [Vec<LabelledHits>; 2],
    measured: &[PairMeasured],
    pairs: &[PairHits],
) -> Result<Probe, ProbeError> {
    let trained: Vec<_> = pairs.iter().map(|pair| &pair.trained_hits).collect();
    let bootstrap = Bootstrap { resamples: config.resamples, seed: config.seed };
    let failed = |of: &str| {
        let of = of.to_owned();
        move |source| ProbeError::Measure { of, source }
    };
    let measures: Vec<PairMeasures> = measured
        .iter()
        .map(|measured| measured.calibrate(config.alpha))
        .collect::<Result<_, _>>()
        .map_err(failed("the pairs"))?;
    let selected: Vec<[usize; 2]> = grid
        .encoder_pairs()
        .zip(measured)
        .map(|((_, encoders), measured)| measured.selected(encoders))
        .collect();
    let candidates = candidates(&labelled, &selected, &measures, pairs);
    let (intervals, predictors) =
        evaluate(&trained, &candidates, &bootstrap).map_err(failed("the correlations"))?;
    let significance = significance(grid, measured, config).map_err(failed("the grid"))?;
    let set = |(features, hits): (&NamedFeatures, Option<&LabelledHits>)| FeatureSet {
        name: features.name.clone(),
        model: features.source.provenance().map(|provenance| provenance.model.clone()),
        dim: features.source.dim(),
        labelled: hits.map(|hits| hits.measures.clone()),
    };
    let [image_hits, text_hits] =
        labelled.each_ref().map(|hits| hits.iter().map(Some).chain(std::iter::repeat(None)));
    let images: Vec<_> = grid.images.iter().map(|set| &set.features).zip(image_hits).map(set).collect();
    let texts: Vec<_> = grid.texts.iter().map(|set| &set.features).zip(text_hits).map(set).collect();
    let results = grid.encoder_pairs().zip(measured).zip(measures).zip(pairs).zip(intervals).map(
        |(((((_, encoders), measured), measures), pair), interval)| PairResult {
            images: encoders[0].name.clone(),
            texts: encoders[1].name.clone(),
            search: measured.search(grid, encoders),
            score: pair.trained_hits.mean(),
            interval,
            trained: pair.trained.clone(),
            measures,
            aligners: pair.aligners.clone(),
            maps: pair.maps,
        },
    );
    Ok(Probe {
        train_pairs: split.train.len(),
        measured_pairs: split.measured.len(),
        holdout: split.holdout.len(),
        batch_size: config.train.batch_size,
        pairs: results.collect(),
        images,
        texts,
        significance,
        predictors,
    })
}

/// How much of each measure is more than chance, over the pairs with a null distribution.
fn significance(
    grid: &Grid,
    measured: &[PairMeasured],
    config: &ProbeConfig,
) -> Result<Option<Significance>, EvalError> {
    if config.permutations == 0 {
        return Ok(None);
    }
    let of = |measure: fn(&PairMeasured) -> &Measured| {
        let with_null = grid.encoder_pairs().zip(measured).filter(|(_, pair)| !measure(pair).null.is_empty());
        let (encoders, cells): (Vec<_>, Vec<_>) =
            with_null.map(|((_, encoders), pair)| (encoders, measure(pair).clone())).unzip();
        let (Some((best, maximum)), Some(differences)) =
            (Measured::maximum(&cells)?, Differences::of(&cells, config.alpha)?)
        else {
            return Ok(None);
        };
        let [images, texts] = encoders[best].map(|encoder| encoder.name.clone());
        let maximum = maximum.calibrate(config.alpha, 1.0)?;
        Ok::<_, EvalError>(Some(GridSignificance { images, texts, maximum, differences }))
    };
    Ok(Some(Significance {
        alpha: config.alpha,
        permutations: config.permutations,
        mutual_knn: of(|pair| &pair.mutual_knn)?,
        cka: of(|pair| &pair.cka.debiased)?,
        cca: of(|pair| &pair.cca)?,
    }))
}

/// The calibrated score, or without permutations the value.
fn calibrated(of: &Calibrated) -> f64 {
    of.score.unwrap_or(of.value)
}

/// The predictors. `selected` are the image set and the text set of every pair.
fn candidates<'a>(
    labelled: &'a [Vec<LabelledHits>; 2],
    selected: &[[usize; 2]],
    measures: &[PairMeasures],
    pairs: &'a [PairHits],
) -> Vec<Candidate<'a>> {
    let fixed = |name, value: fn(&PairMeasures) -> f64| Candidate {
        name,
        basis: Basis::Pair,
        values: Values::Fixed(measures.iter().map(value).collect()),
    };
    let mut all = vec![
        fixed("mutual k-NN, calibrated", |measures| calibrated(&measures.mutual_knn)),
        fixed("CKA, debiased", |measures| measures.cka.debiased.value),
        fixed("CCA, calibrated", |measures| calibrated(&measures.cca)),
    ];
    for (side, basis) in [(0, Basis::ImageClasses), (1, Basis::TextClasses)] {
        let sets = &labelled[side];
        if sets.is_empty() {
            continue;
        }
        let set = |pair: usize| &sets[selected[pair][side]];
        let means = |name, hits: fn(&'a LabelledHits) -> &'a Hits| Candidate {
            name,
            basis,
            values: Values::Means((0..pairs.len()).map(|pair| hits(set(pair))).collect()),
        };
        let fixed = |name, value: fn(&Labelled) -> f64| Candidate {
            name,
            basis,
            values: Values::Fixed((0..pairs.len()).map(|pair| value(&set(pair).measures)).collect()),
        };
        all.extend([
            means("k-NN accuracy", |set| &set.knn),
            means("linear probing", |set| &set.linear),
            fixed("silhouette", |measures| measures.silhouette),
            fixed("k-means NMI, calibrated", |measures| calibrated(&measures.nmi)),
        ]);
    }
    let closed_form = |name, hits: fn(&'a PairHits) -> &'a Hits| Candidate {
        name,
        basis: Basis::ClosedForm,
        values: Values::Means(pairs.iter().map(hits).collect()),
    };
    all.extend([
        closed_form("ridge regression", |pair| &pair.ridge_hits),
        closed_form("CCA", |pair| &pair.cca_hits),
        closed_form("ASIF", |pair| &pair.asif_hits),
    ]);
    all
}
