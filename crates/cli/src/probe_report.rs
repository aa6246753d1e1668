//! The HTML report of a probe.

use sail_vl::eval::{Calibrated, Interval, Retrieval};
use sail_vl::probe::{Basis, GridSignificance, Labelled, Maps, PairResult, Predictor, Probe, ProbeConfig};
use sail_vl::report::{Facts, LineChart, Matrix, Report, Section, Table};

/// Returns the pairs, best first.
pub(crate) fn ranked(found: &Probe) -> Vec<&PairResult> {
    let mut pairs: Vec<&PairResult> = found.pairs.iter().collect();
    pairs.sort_by(|a, b| b.score.total_cmp(&a.score));
    pairs
}

/// Returns the mean recall at 10 of each closed-form aligner.
pub(crate) fn closed_form(pair: &PairResult) -> [f64; 3] {
    let score = |found: &Retrieval| (found.i2t.r10 + found.t2i.r10) / 2.0;
    [&pair.aligners.ridge, &pair.aligners.cca, &pair.aligners.asif].map(score)
}

pub(crate) fn name_of(predictor: &Predictor) -> String {
    let of = match predictor.basis {
        Basis::Pair => return predictor.name.clone(),
        Basis::ImageClasses => "of images",
        Basis::TextClasses => "of texts",
        Basis::ClosedForm => "without training",
    };
    format!("{}, {of}", predictor.name)
}

/// Formats two decimals, without a negative zero.
fn rounded(value: f64) -> String {
    format!("{:.2}", (100.0 * value).round() / 100.0 + 0.0)
}

pub(crate) fn correlation(value: Option<f64>, interval: Option<Interval>) -> String {
    match (value, interval) {
        (Some(value), Some(Interval { low, high })) => {
            format!("{} ({} to {})", rounded(value), rounded(low), rounded(high))
        }
        (Some(value), None) => rounded(value),
        (None, _) => "-".to_owned(),
    }
}

pub(crate) fn report(found: &Probe, config: &ProbeConfig, labelled: bool) -> Report {
    let mut report = Report::new("Which encoders align?").subtitle(format!(
        "{} image and {} text encoders on the same {} pairs, {} of them held out.",
        encoders(found).len(),
        texts_of(found),
        found.train_pairs + found.holdout,
        found.holdout
    ));
    if let Some(best) = found.best() {
        report = report.key_figure(
            format!("{:.1} %", best.score),
            format!("mean R@10 of {} with {}, the best pair", best.images, best.texts),
        );
    }
    let strongest = found.predictors.iter().filter(|predictor| predictor.basis != Basis::ClosedForm);
    let strongest = strongest.filter_map(|predictor| Some((predictor, predictor.pearson?)));
    if let Some((predictor, pearson)) = strongest.max_by(|a, b| a.1.total_cmp(&b.1)) {
        report = report.key_figure(
            format!("{pearson:.2}"),
            format!(
                "correlation of {} with the score, the highest of the measures before training",
                name_of(predictor)
            ),
        );
    }
    report = report.section(scores(found)).section(before(found));
    if found.pairs.iter().any(|pair| pair.search.is_some()) {
        report = report.section(searches(found));
    }
    if labelled {
        report = report.section(by_class(found));
    }
    if found.pairs.len() > 2 {
        report = report.section(prediction(found));
    }
    report.section(settings(found, config)).footer(concat!("Written by sail ", env!("CARGO_PKG_VERSION")))
}

fn scores(found: &Probe) -> Section {
    let mut table = Table::new(["images", "texts", "score", "95% interval", "R@1 to text", "R@1 to image"]);
    for pair in ranked(found) {
        table = table.row([
            pair.images.clone(),
            pair.texts.clone(),
            format!("{:.1}", pair.score),
            format!("{:.1} to {:.1}", pair.interval.low, pair.interval.high),
            format!("{:.1}", pair.trained.i2t.r1),
            format!("{:.1}", pair.trained.t2i.r1),
        ]);
    }
    let table = table
        .higher_is_better(["score", "R@1 to text", "R@1 to image"])
        .caption("In percent. Intervals come from resampling the held-out pairs.");
    let mut maps = Table::new([
        "images",
        "texts",
        "trustworthiness, images",
        "continuity, images",
        "trustworthiness, texts",
        "continuity, texts",
    ]);
    for pair in ranked(found) {
        let Some(Maps { images, texts }) = pair.maps else { continue };
        let values = [images.trustworthiness, images.continuity, texts.trustworthiness, texts.continuity];
        let names = [pair.images.clone(), pair.texts.clone()];
        maps = maps.row(names.into_iter().chain(values.map(|value| format!("{value:.3}"))));
    }
    let maps = maps.caption(
        "Whether neighbours of embeddings are neighbours of their features (trustworthiness) and the other way round \
         (continuity), 0 to 1, on the held-out pairs.",
    );
    let mut section = Section::new("Alignment scores")
        .text(
            "For each pair a linear layer was trained on either side, and retrieval was evaluated on the held-out \
             images and captions. The score is the mean recall at 10 of both directions.",
        )
        .table(table);
    if found.pairs.iter().any(|pair| pair.maps.is_some()) {
        section = section.table(maps);
    }
    let encoders = encoders(found);
    if encoders.len() > 1 && texts_of(found) > 1 {
        let texts = encoders[0].1.iter().map(|pair| pair.texts.as_str());
        let mut matrix = Matrix::new(texts).corner("score");
        for (name, row) in encoders {
            matrix = matrix.row(name, row.iter().map(|pair| (10.0 * pair.score).round() / 10.0));
        }
        section = section.matrix(matrix.caption("Image encoders down, text encoders across."));
    }
    section
}

/// The image encoders, each with its pairs.
fn encoders(found: &Probe) -> Vec<(&str, &[PairResult])> {
    let pairs = found.pairs.chunk_by(|a, b| a.images == b.images);
    pairs.map(|pairs| (pairs[0].images.as_str(), pairs)).collect()
}

/// The number of text encoders.
fn texts_of(found: &Probe) -> usize {
    encoders(found).first().map_or(0, |(_, pairs)| pairs.len())
}

/// Formats a number, or a dash.
fn or_dash(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

/// Formats a value, its calibrated score, which is a dash for no more than chance, and its p-value.
pub(crate) fn calibrated(of: &Calibrated) -> [String; 3] {
    let score = of.score.filter(|_| of.is_above_chance() == Some(true));
    // Without a negative zero.
    let value = (1000.0 * of.value).round() / 1000.0 + 0.0;
    [format!("{value:.3}"), or_dash(score), or_dash(of.p_value)]
}

/// For each measure: its name, the pairs above chance, the highest value, its p-value, and the differences that are more than
/// chance.
pub(crate) fn significance(found: &Probe) -> Vec<[String; 5]> {
    let Some(significance) = &found.significance else { return Vec::new() };
    let measures =
        [("mutual k-NN", &significance.mutual_knn), ("CKA", &significance.cka), ("CCA", &significance.cca)];
    let row = |(name, grid): (&str, &Option<GridSignificance>)| {
        let GridSignificance { maximum, differences: counts, .. } = grid.as_ref()?;
        Some([
            name.to_owned(),
            format!("{} of {}", counts.above_chance, counts.cells),
            format!("{:.3}", maximum.value),
            or_dash(maximum.p_value),
            format!("{} of {}", counts.surviving, counts.differences),
        ])
    };
    measures.into_iter().filter_map(row).collect()
}

fn before(found: &Probe) -> Section {
    let mut columns = vec!["images".to_owned(), "texts".to_owned()];
    let tested = found.significance.is_some();
    for measure in ["mutual k-NN", "CKA", "CCA"] {
        columns.push(measure.to_owned());
        if tested {
            columns.extend([format!("{measure}, calibrated"), format!("{measure}, p")]);
        }
    }
    let mut table = Table::new(columns);
    let mut aligners = Table::new(["images", "texts", "ridge R@10", "CCA R@10", "ASIF R@10"]);
    for pair in ranked(found) {
        let names = [pair.images.clone(), pair.texts.clone()];
        let measures = &pair.measures;
        let cells = [&measures.mutual_knn, &measures.cka.debiased, &measures.cca].map(calibrated);
        let shown = if tested { 3 } else { 1 };
        table = table.row(names.iter().chain(cells.iter().flat_map(|cells| &cells[..shown])));
        let recalls = closed_form(pair).map(|recall| format!("{recall:.1}"));
        aligners = aligners.row(names.into_iter().chain(recalls));
    }
    let aligners = aligners
        .higher_is_better(["ridge R@10", "CCA R@10", "ASIF R@10"])
        .caption("Retrieval with closed-form aligners, which need no training.");
    let Some(significance) = &found.significance else {
        let text = "The similarity of the frozen features, from 0 to 1. Without permutations it is not known how much \
                    of it is chance.";
        let table = table.caption("Ordered by the scores.");
        return Section::new("Before training").text(text).table(table).table(aligners);
    };
    let (alpha, permutations) = (significance.alpha, significance.permutations);
    let mut grid =
        Table::new(["measure", "pairs above chance", "highest", "p as the highest of all", "differences"]);
    for row in self::significance(found) {
        grid = grid.row(row);
    }
    Section::new("Before training")
        .text(format!(
            "The similarity of the frozen features, from 0 to 1; how much of it is more than chance, where 0 is the \
             value that a share of {alpha} of {permutations} random pairings of the images and captions exceeds, and 1 \
             the highest possible value; and the share of pairings, the true one included, with at least this value."
        ))
        .table(table.caption(
            "Ordered by the scores. A dash in place of a calibrated value: no more than chance. A pair that was searched \
             has p-values for mutual k-NN only.",
        ))
        .text(
            "All pairs are compared with the same random pairings. The highest value is compared with the highest value \
             of each of them. A difference between two pairs counts if it is larger than any two pairs differ by chance.",
        )
        .table(grid.caption(format!("Pairs above chance, and differences that are more than chance, at {alpha}.")))
        .table(aligners)
}

fn searches(found: &Probe) -> Section {
    let mut section = Section::new("Selected layers").text(
        "Of the candidates of an encoder, such as its layers, those with the highest mutual k-NN were selected for each \
         pair. The p-value of a pair is that of its highest value.",
    );
    for pair in ranked(found) {
        let Some(search) = &pair.search else { continue };
        let mut matrix = Matrix::new(search.text_candidates.iter().map(String::as_str)).corner("mutual k-NN");
        let rows = search.mutual_knn.chunks(search.text_candidates.len().max(1));
        for (name, row) in search.image_candidates.iter().zip(rows) {
            matrix = matrix.row(name, row.iter().map(|value| (1000.0 * value).round() / 1000.0));
        }
        section =
            section.matrix(matrix.caption(format!("Selected: {} with {}.", search.images, search.texts)));
    }
    section
}

fn by_class(found: &Probe) -> Section {
    let mut table = Table::new([
        "features",
        "of",
        "size",
        "k-NN",
        "linear probing",
        "most frequent class",
        "silhouette",
        "NMI",
        "NMI, calibrated",
        "no more than chance",
    ]);
    let sides = [("images", &found.images), ("texts", &found.texts)];
    for (side, set) in sides.into_iter().flat_map(|(side, sets)| sets.iter().map(move |set| (side, set))) {
        if let Some(labelled) = &set.labelled {
            let [nmi, nmi_calibrated, _] = calibrated(&labelled.nmi);
            table = table.row([
                set.name.clone(),
                side.to_owned(),
                set.dim.to_string(),
                format!("{:.1}", labelled.knn),
                format!("{:.1}", labelled.linear),
                format!("{:.1}", labelled.majority),
                format!("{:.3}", labelled.silhouette),
                nmi,
                nmi_calibrated,
                by_chance(labelled),
            ]);
        }
    }
    Section::new("By class")
        .text(
            "How well each encoder's features cluster (k-NN, silhouette, k-means) and separate (linear probing) by the \
             classes of the images.",
        )
        .table(table.higher_is_better(["k-NN", "linear probing"]).caption("Accuracies in percent, on held-out rows."))
}

/// The names of the measures by class that random classes could have.
fn by_chance(labelled: &Labelled) -> String {
    let Some(calibrated) = &labelled.calibrated else { return String::new() };
    let measures = [
        ("k-NN", &calibrated.knn),
        ("linear probing", &calibrated.linear),
        ("silhouette", &calibrated.silhouette),
        ("NMI", &labelled.nmi),
    ];
    let names = measures.iter().filter(|(_, of)| of.is_above_chance() == Some(false)).map(|(name, _)| *name);
    names.collect::<Vec<_>>().join(", ")
}

fn prediction(found: &Probe) -> Section {
    let mut table = Table::new(["measure", "Pearson", "95% interval", "Spearman", "95% interval "]);
    let value = |value: Option<f64>| value.map_or("-".to_owned(), rounded);
    let range = |interval: Option<Interval>| match interval {
        Some(Interval { low, high }) => format!("{} to {}", rounded(low), rounded(high)),
        None => "-".to_owned(),
    };
    for predictor in &found.predictors {
        table = table.row([
            name_of(predictor),
            value(predictor.pearson),
            range(predictor.pearson_interval),
            value(predictor.spearman),
            range(predictor.spearman_interval),
        ]);
    }
    let charts = found.predictors.iter().filter(|predictor| predictor.pearson.is_some()).map(|predictor| {
        let title = format!("{}: r = {:.2}", name_of(predictor), predictor.pearson.unwrap_or(f64::NAN));
        let mut chart = LineChart::new(title, name_of(predictor), "score, percent").scatter();
        // A series for each image encoder, a point for each text encoder.
        let mut values = predictor.values.iter();
        for (name, pairs) in encoders(found) {
            chart = chart.series(name, values.by_ref().copied().zip(pairs.iter().map(|pair| pair.score)));
        }
        chart
    });
    Section::new("What predicts the score")
        .text(format!(
            "The correlation between each measure before training and the score after it, over the {} pairs. \
             Spearman's correlation is 1 if both rank the pairs equally. The intervals reflect the uncertainty of the \
             scores of these pairs, not of other encoders.",
            found.pairs.len()
        ))
        .table(table.higher_is_better(["Pearson", "Spearman"]))
        .charts(charts)
}

fn settings(found: &Probe, config: &ProbeConfig) -> Section {
    let train = &config.train;
    Section::new("Settings").facts(
        Facts::new()
            .fact("training pairs", found.train_pairs.to_string())
            .fact("training pairs measured", found.measured_pairs.to_string())
            .fact("held out", found.holdout.to_string())
            .fact("head", format!("linear, {} dimensions", config.dim))
            .fact("loss", "sigmoid")
            .fact("batch", found.batch_size.to_string())
            .fact("epochs", train.epochs.to_string())
            .fact("learning rate", train.learning_rate.to_string())
            .fact("seed", config.seed.to_string())
            .fact("mutual k-NN", format!("k = {}", config.mutual_k))
            .fact("k-NN", format!("k = {}, temperature 0.07", config.knn_k))
            .fact("ridge", config.regularization.to_string())
            .fact("linear probing", format!("l2 = {}", config.l2))
            .fact("permutations", config.permutations.to_string())
            .fact("significance level", config.alpha.to_string())
            .fact("bootstrap samples", config.resamples.to_string()),
    )
}
