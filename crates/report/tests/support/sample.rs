//! A report with every part in it. Its numbers are made up.

use sail_report::{
    Facts, Gallery, GalleryItem, Image, LineChart, Matrix, Panel, Panels, Report, Section, Table,
};

/// A chequered PNG of two colours.
pub(crate) const PNG: &[u8] = include_bytes!("checker.png");

pub(crate) fn report() -> Report {
    Report::new("Aligning EfficientNet-Lite0 and MiniLM")
        .subtitle("A GLU head on frozen features: 1,376 emoji images with their names, 370 of them held out.")
        .key_figure("34.2 %", "recall@1, image to text, on 370 held-out pairs")
        .key_figure("71.9 %", "recall@10, image to text")
        .key_figure("41 s", "of training on two CPU cores")
        .section(Section::new("Results").text(INTRODUCTION).table(results()).text(
            "Scores are means over three seeds. Parameters count the trained head alone; both encoders stay frozen.",
        ))
        .section(
            Section::new("Training")
                .text("The sigmoid loss falls fastest for the GLU head; recall on the held-out pairs levels off before the loss does.")
                .chart(loss())
                .charts([recall(), learning_rate()]),
        )
        .section(
            Section::new("Held-out images")
                .text("The three best names for each image. Bars share one scale over the whole gallery.")
                .gallery(gallery()),
        )
        .section(Section::new("Encoders").matrix(matrix()).chart(scatter()))
        .section(Section::new("Segmentations").panels(panels()))
        .section(Section::new("Configuration").facts(configuration()))
        .section(Section::new("Environment").facts(environment()).preformatted(
            "sail train --images images.safetensors --texts texts.safetensors --head glu --width 8 --dim 512 \\\n     --loss sigmoid --batch 1024 --epochs 60 --lr 1e-4 --holdout 370 --seed 0 --out run",
        ))
        .footer("Written by sail-report 0.1.0")
}

const INTRODUCTION: &str = "How well do two encoders that never met agree? A head is trained on pairs of \
     frozen features, and is then asked to find, among 370 held-out names, the one that belongs to an image.";

fn results() -> Table {
    Table::new(["head", "loss", "parameters", "R@1", "R@5", "R@10", "median rank"])
        .row(["linear", "InfoNCE", "851,968", "21.4 ± 0.6", "44.8", "58.1", "7"])
        .row(["linear", "sigmoid", "851,968", "24.9 ± 0.4", "48.6", "61.0", "6"])
        .row(["MLP ×4", "sigmoid", "9,705,472", "28.1 ± 0.9", "53.5", "66.8", "5"])
        .row(["GLU ×4", "sigmoid", "22,549,504", "31.6 ± 0.5", "58.4", "71.9", "4"])
        .row(["GLU ×8", "sigmoid", "45,093,888", "34.2 ± 0.7", "60.3", "71.9", "3"])
        .row(["chance", "–", "–", "0.3", "1.4", "2.7", "185"])
        .higher_is_better(["R@1", "R@5", "R@10"])
        .lower_is_better(["median rank"])
        .caption("Image to text, 370 held-out pairs, in percent.")
}

/// A curve that falls or rises towards `end` with a little ripple; no random numbers.
fn curve(start: f64, end: f64, pace: f64) -> impl Iterator<Item = (f64, f64)> {
    (1..=60).map(move |epoch| {
        let time = f64::from(epoch);
        let ripple = 1.0 + 0.035 * (time * 1.7 + pace).sin() * (time * 0.61).cos();
        (time, (end + (start - end) * (-time / pace).exp()) * ripple)
    })
}

fn matrix() -> Matrix {
    Matrix::new(["MiniLM", "MPNet"])
        .row("EfficientNet-Lite0", [34.2, 36.5])
        .row("random", [f64::NAN, 0.3])
        .corner("R@1")
        .caption("Image encoders down, text encoders across.")
}

fn scatter() -> LineChart {
    LineChart::new("Alignment by k-NN", "k-NN accuracy, percent", "R@1, percent")
        .series("trained", [(49.2, 34.2), (47.8, 36.5)])
        .series("random", [(24.9, 0.3)])
        .scatter()
}

fn panels() -> Panels {
    let image = || Image::encoded(PNG).expect("a PNG");
    let panel = Panel::new("fox on <grass>").note("mIoU 61.3").image("image", image());
    let panel = panel.image("prediction", image()).image("truth", image());
    Panels::new().legend("fox & hound", [128, 0, 0]).legend("grass", [0, 128, 0]).panel(panel)
}

fn loss() -> LineChart {
    let glu = curve(0.9, 0.0016, 6.5).map(|(x, y)| (x, if (30.0..33.0).contains(&x) { f64::NAN } else { y }));
    LineChart::new("Loss on the training pairs", "epoch", "sigmoid loss")
        .series("linear", curve(0.95, 0.021, 8.0))
        .series("MLP ×4", curve(0.92, 0.0061, 7.5))
        .series("GLU ×4", curve(0.90, 0.0024, 7.0))
        .series("GLU ×8", glu)
        .log_y()
}

fn recall() -> LineChart {
    let every_fifth = |end, pace| curve(1.0, end, pace).filter(|(x, _)| *x as i64 % 6 == 0);
    LineChart::new("Recall@1 on held-out pairs", "epoch", "recall, percent")
        .series("linear", every_fifth(24.9, 9.0))
        .series("MLP ×4", every_fifth(28.1, 12.0))
        .series("GLU ×4", every_fifth(31.6, 11.0))
        .series("GLU ×8", every_fifth(34.2, 10.0))
}

fn learning_rate() -> LineChart {
    let schedule = (0..=2000).map(|step| {
        let share = f64::from(step) / 2000.0;
        let rate = if share < 0.1 {
            share / 0.1
        } else {
            0.5 + 0.5 * ((share - 0.1) / 0.9 * std::f64::consts::PI).cos()
        };
        (f64::from(step), 1e-5 * rate)
    });
    LineChart::new("Learning rate", "step", "learning rate").series("Lion", schedule)
}

fn gallery() -> Gallery {
    let item = |emoji: &str, title: &str| GalleryItem::new(Image::text(emoji)).title(title);
    Gallery::new()
        .item(
            item("🦊", "fox face")
                .candidate("fox face", 0.83, true)
                .candidate("wolf", 0.61, false)
                .candidate("raccoon", 0.44, false),
        )
        .item(
            item("🎻", "violin")
                .candidate("violin", 0.78, true)
                .candidate("guitar", 0.74, false)
                .candidate("banjo", 0.52, false),
        )
        .item(
            item("🌋", "volcano")
                .candidate("mount Fuji", 0.58, false)
                .candidate("volcano", 0.55, true)
                .candidate("national park", 0.31, false),
        )
        .item(
            item("🧭", "compass")
                .note("right answer at rank 17 of 370")
                .candidate("mantelpiece clock", 0.49, false)
                .candidate("stopwatch", 0.47, false)
                .candidate("ferris wheel, seen from the side on a summer evening", 0.29, false),
        )
        .item(
            item("🚲", "bicycle")
                .candidate("bicycle", 0.91, true)
                .candidate("motor scooter", 0.42, false)
                .candidate("kick scooter", 0.40, false),
        )
        .item(
            GalleryItem::new(Image::encoded(PNG).expect("a PNG"))
                .title("chequered flag")
                .note("an embedded PNG")
                .candidate("chequered flag", 0.66, true)
                .candidate("crossed flags", 0.12, false)
                .candidate("piano", -0.08, false),
        )
}

fn configuration() -> Facts {
    Facts::new()
        .fact("head", "GLU, width 8")
        .fact("output dimension", "512")
        .fact("loss", "sigmoid, mean over all pairs")
        .fact("optimiser", "Lion, betas 0.9 and 0.99")
        .fact("learning rate", "1e-5, cosine, 10 % warm-up")
        .fact("weight decay", "1e-7")
        .fact("batch", "1,024")
        .fact("epochs", "60")
        .fact("seed", "0")
        .fact("held out", "370 pairs")
}

fn environment() -> Facts {
    Facts::new()
        .fact("image encoder", "EfficientNet-Lite0, 1280 features")
        .fact("weights, SHA-256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
        .fact("text encoder", "all-MiniLM-L6-v2, 384 features")
        .fact("device", "CPU, flex, 2 threads")
}
