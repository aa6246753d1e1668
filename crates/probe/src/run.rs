//! The probe of a grid.

use std::fs;

use burn::tensor::Device;
use sail_core::Check;
use sail_eval::{Bootstrap, Interval, Retrieval};
use sail_support::write_atomic;
use sail_train::{Interrupter, RunFolder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::grid::{Grid, Labels, NamedFeatures, Parts};
use crate::labelled::{self, LabelledConfig, LabelledHits};
use crate::pair::{self, PairHits};
use crate::predict::{Candidate, Values, judge};
use crate::{Aligners, Basis, Labelled, PairMeasures, Predictor, ProbeConfig, ProbeError};

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Pairs that heads were trained on.
    pub train_pairs: usize,
    /// Of these, pairs that the measures before training looked at.
    pub measured_pairs: usize,
    /// Held-out pairs that everything was judged by.
    pub holdout: usize,
    /// The image features.
    pub images: Vec<FeatureSet>,
    /// The text features.
    pub texts: Vec<FeatureSet>,
    /// Every image set with every text set; texts vary fastest.
    pub pairs: Vec<PairResult>,
    /// What could have been known before, and how it goes with the scores.
    pub predictors: Vec<Predictor>,
}

/// One set of features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// What it is called.
    pub name: String,
    /// The model that made it, where that is known.
    pub model: Option<String>,
    /// Size of a row.
    pub dim: usize,
    /// What the classes say of it, where there are classes.
    pub labelled: Option<Labelled>,
}

/// One pair of encoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairResult {
    /// The image features.
    pub images: String,
    /// The text features.
    pub texts: String,
    /// The alignment score: mean recall at 10 over both directions on the held-out pairs, in percent, through linear
    /// layers trained on the others.
    pub score: f64,
    /// Its interval, from samples of the held-out pairs.
    pub interval: Interval,
    /// The retrieval that the score comes from.
    pub trained: Retrieval,
    /// Measures of the features as they come.
    pub measures: PairMeasures,
    /// Retrieval without training.
    pub aligners: Aligners,
}

impl Probe {
    /// The pair with the highest score, the first of several.
    pub fn best(&self) -> Option<&PairResult> {
        self.pairs.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
    }
}

/// How far a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What it works on now.
    pub part: &'a str,
    /// Finished parts.
    pub done: usize,
    /// Parts in all: every labelled set, and every pair.
    pub parts: usize,
}

/// Probes every pair of a grid.
///
/// Where there is a `folder`, every finished part is kept in it and not computed again when a probe of the same settings
/// is resumed; its `config.json` has to say all that decides the result.
///
/// # Errors
/// [`ProbeError`] for settings out of their range, a holdout that leaves nothing to train on, rows that cannot be used,
/// a training that fails, a folder that cannot be written, and [`ProbeError::Interrupted`].
///
/// # Examples
/// ```no_run
/// # fn show(grid: &sail_probe::Grid, device: &burn::tensor::Device) -> Result<(), sail_probe::ProbeError> {
/// use sail_probe::{ProbeConfig, probe};
/// let config = ProbeConfig { holdout: 370, ..ProbeConfig::new(370) };
/// let found = probe(grid, &config, device, None, &sail_train::Interrupter::new(), |at| println!("{}", at.part))?;
/// for pair in &found.pairs {
///     println!("{} with {}: {:.1}", pair.images, pair.texts, pair.score);
/// }
/// # Ok(())
/// # }
/// ```
pub fn probe(
    grid: &Grid,
    config: &ProbeConfig,
    device: &Device,
    folder: Option<&RunFolder>,
    interrupter: &Interrupter,
    mut observe: impl FnMut(Progress<'_>),
) -> Result<Probe, ProbeError> {
    config.check()?;
    let parts = grid.split(config.holdout, config.seed, config.rows)?;
    let labelled_sets = if grid.labels.is_some() { grid.images.len() + grid.texts.len() } else { 0 };
    let mut run =
        Run { folder, interrupter, done: 0, parts: labelled_sets + grid.images.len() * grid.texts.len() };

    let mut by_class: [Vec<LabelledHits>; 2] = [Vec::new(), Vec::new()];
    if let Some(labels) = &grid.labels {
        for (side, features) in sides(grid) {
            for (index, features) in features.into_iter().enumerate() {
                observe(run.at(&format!("{} by class", features.name)));
                let file = format!("{}-{index}.json", ["images", "texts"][side]);
                let hits = run.part(&file, || {
                    classify(grid, side, index, features, labels, &parts, config, device).map(Some)
                })?;
                by_class[side].push(hits);
            }
        }
    }
    let mut pairs: Vec<PairHits> = Vec::new();
    for (image, images) in grid.images.iter().enumerate() {
        for (text, texts) in grid.texts.iter().enumerate() {
            observe(run.at(&format!("{} with {}", images.features.name, texts.features.name)));
            let compute = || pair::run(grid, [image, text], &parts, config, device, interrupter);
            pairs.push(run.part(&format!("pair-{image}-{text}.json"), compute)?);
        }
    }
    observe(run.at("correlations"));
    summarise(grid, &parts, config, by_class, &pairs)
}

fn sides(grid: &Grid) -> [(usize, Vec<&NamedFeatures>); 2] {
    let images = grid.images.iter().map(|set| &set.features).collect();
    let texts = grid.texts.iter().map(|set| &set.features).collect();
    [(0, images), (1, texts)]
}

#[expect(clippy::too_many_arguments, reason = "all of a probe but the pair")]
fn classify(
    grid: &Grid,
    side: usize,
    index: usize,
    features: &NamedFeatures,
    labels: &Labels,
    parts: &Parts,
    config: &ProbeConfig,
    device: &Device,
) -> Result<LabelledHits, ProbeError> {
    let read = |pairs: &[usize]| match side {
        0 => grid.images[index].read(pairs, device),
        _ => grid.texts[index].read_first(pairs, device),
    };
    let of = |pairs: &[usize]| pairs.iter().map(|&pair| labels.of_pair[pair]).collect::<Vec<_>>();
    let ProbeConfig { knn_k, l2, permutations, seed, .. } = *config;
    let config = LabelledConfig { knn_k, l2, permutations, seed };
    let (known, held) = (read(&parts.measured)?, read(&parts.holdout)?);
    labelled::measure(known, &of(&parts.measured), held, &of(&parts.holdout), labels.classes, &config)
        .map_err(|source| ProbeError::Measure { of: format!("`{}`", features.name), source })
}

fn summarise(
    grid: &Grid,
    parts: &Parts,
    config: &ProbeConfig,
    by_class: [Vec<LabelledHits>; 2],
    pairs: &[PairHits],
) -> Result<Probe, ProbeError> {
    let trained: Vec<_> = pairs.iter().map(|pair| &pair.trained_hits).collect();
    let bootstrap = Bootstrap { resamples: config.resamples, seed: config.seed };
    let candidates = candidates(grid, &by_class, pairs);
    let (intervals, predictors) = judge(&trained, &candidates, &bootstrap)
        .map_err(|source| ProbeError::Measure { of: "the correlations".to_owned(), source })?;
    let set = |(features, hits): (&NamedFeatures, Option<&LabelledHits>)| FeatureSet {
        name: features.name.clone(),
        model: features.source.provenance().map(|provenance| provenance.model.clone()),
        dim: features.source.dim(),
        labelled: hits.map(|hits| hits.measures.clone()),
    };
    let [images, texts] = sides(grid).map(|(side, features)| {
        let hits = by_class[side].iter().map(Some).chain(std::iter::repeat(None));
        features.into_iter().zip(hits).map(set).collect::<Vec<_>>()
    });
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
        train_pairs: parts.train.len(),
        measured_pairs: parts.measured.len(),
        holdout: parts.holdout.len(),
        pairs: results.collect(),
        images,
        texts,
        predictors,
    })
}

fn candidates<'a>(
    grid: &Grid,
    by_class: &'a [Vec<LabelledHits>; 2],
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
        let sets = &by_class[side];
        if sets.is_empty() {
            continue;
        }
        let set = |pair: usize| &sets[if side == 0 { pair / texts } else { pair % texts }];
        let means = |name, hits: fn(&'a LabelledHits) -> &'a crate::hits::Hits| Candidate {
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
    let solved = |name, hits: fn(&'a PairHits) -> &'a crate::hits::Hits| Candidate {
        name,
        basis: Basis::ClosedForm,
        values: Values::Means(pairs.iter().map(hits).collect()),
    };
    all.extend([
        solved("ridge regression", |pair| &pair.ridge_hits),
        solved("CCA", |pair| &pair.cca_hits),
        solved("ASIF", |pair| &pair.asif_hits),
    ]);
    all
}

/// Parts, kept as they are finished.
struct Run<'a> {
    folder: Option<&'a RunFolder>,
    interrupter: &'a Interrupter,
    done: usize,
    parts: usize,
}

impl Run<'_> {
    fn at<'a>(&self, part: &'a str) -> Progress<'a> {
        Progress { part, done: self.done, parts: self.parts }
    }

    /// A part from the folder, or computed and put there. `compute` gives nothing where somebody stopped it.
    fn part<T: Serialize + DeserializeOwned>(
        &mut self,
        file: &str,
        compute: impl FnOnce() -> Result<Option<T>, ProbeError>,
    ) -> Result<T, ProbeError> {
        let path = self.folder.map(|folder| folder.file(file));
        let kept = match &path {
            Some(path) if path.exists() => {
                let json = fs::read(path).map_err(|source| ProbeError::Io { path: path.clone(), source })?;
                let damaged = |reason: serde_json::Error| ProbeError::Damaged {
                    path: path.clone(),
                    reason: reason.to_string(),
                };
                Some(serde_json::from_slice(&json).map_err(damaged)?)
            }
            _ => None,
        };
        let part = match kept {
            Some(part) => part,
            None => {
                let stopped = ProbeError::Interrupted { done: self.done, parts: self.parts };
                if self.interrupter.is_stopped() {
                    return Err(stopped);
                }
                let part = compute()?.ok_or(stopped)?;
                if let Some(path) = path {
                    write_atomic(&path, |out| Ok(serde_json::to_writer(out, &part)?))
                        .map_err(|source| ProbeError::Io { path, source })?;
                }
                part
            }
        };
        self.done += 1;
        Ok(part)
    }
}
