//! From the parts of a probe to its result.

use sail_eval::Bootstrap;

use crate::grid::{Grid, NamedFeatures, Split};
use crate::hits::Hits;
use crate::labelled::LabelledHits;
use crate::pair::PairHits;
use crate::predict::{Candidate, Values, evaluate};
use crate::result::{FeatureSet, PairResult, Probe};
use crate::{Basis, Labelled, PairMeasures, ProbeConfig, ProbeError};

/// Combines the parts of every set, images and texts, and of every pair.
pub(crate) fn summarize(
    grid: &Grid,
    split: &Split,
    config: &ProbeConfig,
    labelled: [Vec<LabelledHits>; 2],
    pairs: &[PairHits],
) -> Result<Probe, ProbeError> {
    let trained: Vec<_> = pairs.iter().map(|pair| &pair.trained_hits).collect();
    let bootstrap = Bootstrap { resamples: config.resamples, seed: config.seed };
    let candidates = candidates(grid, &labelled, pairs);
    let (intervals, predictors) = evaluate(&trained, &candidates, &bootstrap)
        .map_err(|source| ProbeError::Measure { of: "the correlations".to_owned(), source })?;
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
    let names = images.iter().flat_map(|image| texts.iter().map(move |text| (&image.name, &text.name)));
    let results =
        pairs.iter().zip(names).zip(intervals).map(|((pair, (image, text)), interval)| PairResult {
            images: image.clone(),
            texts: text.clone(),
            score: pair.trained_hits.mean(),
            interval,
            trained: pair.trained.clone(),
            measures: pair.measures.clone(),
            aligners: pair.aligners.clone(),
        });
    Ok(Probe {
        train_pairs: split.train.len(),
        measured_pairs: split.measured.len(),
        holdout: split.holdout.len(),
        batch_size: config.train.batch_size,
        pairs: results.collect(),
        images,
        texts,
        predictors,
    })
}

fn candidates<'a>(
    grid: &Grid,
    labelled: &'a [Vec<LabelledHits>; 2],
    pairs: &'a [PairHits],
) -> Vec<Candidate<'a>> {
    let fixed = |name, value: fn(&PairMeasures) -> f64| Candidate {
        name,
        basis: Basis::Pair,
        values: Values::Fixed(pairs.iter().map(|pair| value(&pair.measures)).collect()),
    };
    let mut all = vec![
        fixed("mutual k-NN above chance", |measures| measures.mutual_knn.above_chance()),
        fixed("CKA, debiased", |measures| measures.cka.debiased.value),
        fixed("CCA above chance", |measures| measures.cca.above_chance()),
    ];
    let texts = grid.texts.len();
    for (side, basis) in [(0, Basis::ImageClasses), (1, Basis::TextClasses)] {
        let sets = &labelled[side];
        if sets.is_empty() {
            continue;
        }
        let set = |pair: usize| &sets[if side == 0 { pair / texts } else { pair % texts }];
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
            fixed("k-means NMI above chance", |measures| measures.nmi.above_chance()),
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
