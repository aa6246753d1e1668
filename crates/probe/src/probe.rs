//! The probe of a grid.

use burn::tensor::{Device, Tensor};
use sail_core::Check;
use sail_train::{Interrupter, RunFolder};

use crate::grid::{Grid, Labels, Split};
use crate::labelled::{self, LabelledConfig, LabelledHits};
use crate::measures::{Measurer, PairMeasured};
use crate::pair::{self, PairHits};
use crate::parts::{Parts, Progress};
use crate::result::Probe;
use crate::summary::summarize;
use crate::{ProbeConfig, ProbeError};

/// Probes every pair of a grid.
///
/// With a `folder`, every finished part is stored in it, and a probe that is resumed with the same settings loads it
/// instead of computing it again; its `config.json` has to contain everything that determines the result.
///
/// `observe` is called before every part, and before the correlations with all parts done.
///
/// # Errors
/// [`ProbeError`] for settings out of range, a holdout that leaves no training pairs, invalid features, a training that
/// fails, a folder that cannot be read or written, and [`ProbeError::Interrupted`].
///
/// # Examples
/// ```no_run
/// # fn show(grid: &sail_probe::Grid, device: &burn::tensor::Device) -> Result<(), sail_probe::ProbeError> {
/// use sail_probe::{ProbeConfig, probe};
/// let config = ProbeConfig { holdout: 370, ..ProbeConfig::default() };
/// let interrupter = sail_train::Interrupter::new();
/// let result = probe(grid, &config, device, None, &interrupter, |progress| println!("{}", progress.part))?;
/// for pair in &result.pairs {
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
    let split = grid.split(config.holdout, config.seed, config.rows)?;
    let batch_size = config.train.batch_size.min(split.train.len());
    let train = config.train.clone().with_batch_size(batch_size);
    let config = &ProbeConfig { train, ..config.clone() };
    let labelled_sets = if grid.labels.is_some() { grid.images.len() + grid.texts.len() } else { 0 };
    let mut parts = Parts::new(folder, interrupter, labelled_sets + 2 * grid.encoder_pairs().count());

    let mut labelled: [Vec<LabelledHits>; 2] = [Vec::new(), Vec::new()];
    if let Some(labels) = &grid.labels {
        for (index, set) in grid.images.iter().enumerate() {
            let name = &set.features.name;
            observe(parts.progress(&format!("{name} by class")));
            let read = |pairs: &[usize]| set.read(pairs, device);
            let compute = || measure_classes(name, read, labels, &split, config).map(Some);
            labelled[0].push(parts.run(&format!("images-{index}.json"), compute)?);
        }
        for (index, set) in grid.texts.iter().enumerate() {
            let name = &set.features.name;
            observe(parts.progress(&format!("{name} by class")));
            let read = |pairs: &[usize]| set.read_first(pairs, device);
            let compute = || measure_classes(name, read, labels, &split, config).map(Some);
            labelled[1].push(parts.run(&format!("texts-{index}.json"), compute)?);
        }
    }
    // Measures have files of their own: those of earlier versions hold no null distributions, and are computed again.
    let mut measurer = Measurer::new(grid, &split, config, device);
    let mut measured: Vec<PairMeasured> = Vec::new();
    for ([image, text], encoders) in grid.encoder_pairs() {
        observe(parts.progress(&format!("measures of {} with {}", encoders[0].name, encoders[1].name)));
        let file = format!("measures-{image}-{text}.json");
        let part = parts.run(&file, || measurer.measure(encoders).map(Some))?;
        if !part.is_of(encoders) {
            return Err(parts.damaged(&file, "the candidates are others"));
        }
        measured.push(part);
    }
    let mut pairs: Vec<PairHits> = Vec::new();
    for (([image, text], encoders), measured) in grid.encoder_pairs().zip(&measured) {
        observe(parts.progress(&format!("{} with {}", encoders[0].name, encoders[1].name)));
        let selected = measured.selected(encoders);
        let compute = || pair::run(grid, selected, &split, config, device, interrupter);
        pairs.push(parts.run(&format!("pair-{image}-{text}.json"), compute)?);
    }
    observe(parts.progress("correlations"));
    summarize(grid, &split, config, labelled, &measured, &pairs)
}

/// The measures by class of one set; `read` returns the features of pairs.
fn measure_classes(
    name: &str,
    read: impl Fn(&[usize]) -> Result<Tensor<2>, ProbeError>,
    labels: &Labels,
    split: &Split,
    config: &ProbeConfig,
) -> Result<LabelledHits, ProbeError> {
    let labels_of = |pairs: &[usize]| pairs.iter().map(|&pair| labels.of_pair[pair]).collect::<Vec<_>>();
    let ProbeConfig { knn_k, l2, permutations, alpha, seed, .. } = *config;
    let config = LabelledConfig { knn_k, l2, permutations, alpha, seed };
    let (train, holdout) = (read(&split.measured)?, read(&split.holdout)?);
    let (train_labels, holdout_labels) = (labels_of(&split.measured), labels_of(&split.holdout));
    labelled::measure(train, &train_labels, holdout, &holdout_labels, labels.classes, &config)
        .map_err(|source| ProbeError::Measure { of: format!("`{name}`"), source })
}
