//! The HTML report of a probe.

use sail_vl::eval::{Interval, Measured, Retrieval};
use sail_vl::probe::{Basis, PairResult, Predictor, Probe, ProbeConfig};
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
        found.images.len(),
        found.texts.len(),
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
    let mut section = Section::new("Alignment scores")
        .text(
            "For each pair a linear layer was trained on either side, and retrieval was evaluated on the held-out \
             images and captions. The score is the mean recall at 10 of both directions.",
        )
        .table(table);
    if found.images.len() > 1 && found.texts.len() > 1 {
        let mut matrix = Matrix::new(found.texts.iter().map(|set| set.name.as_str())).corner("score");
        for (set, row) in found.images.iter().zip(found.pairs.chunks(found.texts.len())) {
            matrix = matrix.row(&set.name, row.iter().map(|pair| (10.0 * pair.score).round() / 10.0));
        }
        section = section.matrix(matrix.caption("Image encoders down, text encoders across."));
    }
    section
}

/// Formats a measure with its chance level.
fn with_chance(measured: &Measured) -> String {
    match measured.chance {
        // Without a negative zero.
        Some(chance) => format!("{:.3} ({:.3})", measured.value, (1000.0 * chance).round() / 1000.0 + 0.0),
        None => format!("{:.3}", measured.value),
    }
}

fn before(found: &Probe) -> Section {
    let mut table =
        Table::new(["images", "texts", "mutual k-NN", "CKA", "CCA", "ridge R@10", "CCA R@10", "ASIF R@10"]);
    for pair in ranked(found) {
        let [ridge, cca, asif] = closed_form(pair);
        table = table.row([
            pair.images.clone(),
            pair.texts.clone(),
            with_chance(&pair.measures.mutual_knn),
            with_chance(&pair.measures.cka.debiased),
            with_chance(&pair.measures.cca),
            format!("{ridge:.1}"),
            format!("{cca:.1}"),
            format!("{asif:.1}"),
        ]);
    }
    Section::new("Before training")
        .text(
            "The similarity of the frozen features, from 0 to 1, with the chance level in brackets: the same measure \
             with images and captions paired at random. The last three columns are retrieval with closed-form \
             aligners, which need no training.",
        )
        .table(
            table.higher_is_better(["ridge R@10", "CCA R@10", "ASIF R@10"]).caption("Ordered by the scores."),
        )
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
        "NMI (chance)",
    ]);
    let sides = [("images", &found.images), ("texts", &found.texts)];
    for (side, set) in sides.into_iter().flat_map(|(side, sets)| sets.iter().map(move |set| (side, set))) {
        if let Some(labelled) = &set.labelled {
            table = table.row([
                set.name.clone(),
                side.to_owned(),
                set.dim.to_string(),
                format!("{:.1}", labelled.knn),
                format!("{:.1}", labelled.linear),
                format!("{:.1}", labelled.majority),
                format!("{:.3}", labelled.silhouette),
                with_chance(&labelled.nmi),
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
        let width = found.texts.len();
        for (index, set) in found.images.iter().enumerate() {
            let points = (index * width..(index + 1) * width)
                .map(|pair| (predictor.values[pair], found.pairs[pair].score));
            chart = chart.series(&set.name, points);
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
            .fact("bootstrap samples", config.resamples.to_string()),
    )
}
