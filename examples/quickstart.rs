//! Aligns two frozen encoders in a minute.
//!
//! `cargo run --release --example quickstart` loads frozen features of 1,376 emoji images (EfficientNet-Lite0) and of
//! their names (MiniLM), holds out 370 pairs, trains three heads on the rest, and compares them with an untrained head.
//! It prints a table and some held-out images with their top labels, and writes the best head and a report with curves
//! and images to `target/quickstart/`.

// Examples print their results.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{FeatureSource, ImagePooling, Provenance};
use sail_vl::data::{Pairs, SafetensorsFeatures, read_indices};
use sail_vl::eval::{
    BlockSize, Retrieval, ZeroShot, class_weights, project_images, project_texts, retrieval, top_k, zero_shot,
};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::SigmoidLoss;
use sail_vl::report::{Facts, Gallery, GalleryItem, Image, LineChart, Report, Section, Table};
use sail_vl::train::{History, Interval, Outcome, Progress, TrainConfig, Trainer};
use serde::Deserialize;

const FEATURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/emoji-features.safetensors");
const ROWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/emoji-rows.json");
const OUTPUT: &str = "target/quickstart";

const SEED: u64 = 0;
const HOLDOUT: usize = 370;
/// Batch size for projecting features.
const CHUNK: usize = 1024;
/// Number of held-out images in the gallery.
const SHOWN: usize = 12;

/// A row of `emoji-rows.json`.
#[derive(Deserialize)]
struct Emoji {
    emoji: String,
    label: String,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Emoji>,
}

/// The frozen features and the metadata of each row.
struct Dataset {
    train: Pairs,
    train_with_captions: Pairs,
    holdout: Pairs,
    /// Features of the class prompts and the class of each image, for groups and subgroups.
    classes: [(Arc<SafetensorsFeatures>, Vec<usize>); 2],
    rows: Vec<Emoji>,
}

fn load() -> Result<Dataset, Box<dyn Error>> {
    let open = |tensor| SafetensorsFeatures::open(FEATURES, Some(tensor)).map(Arc::new);
    let (images, labels, captions) = (open("image")?, open("label")?, open("caption")?);
    let class = |prompts, indices| -> Result<_, Box<dyn Error>> {
        let indices = read_indices(FEATURES, Some(indices))?.into_iter().map(usize::try_from);
        Ok((open(prompts)?, indices.collect::<Result<Vec<_>, _>>()?))
    };
    let classes = [class("group_prompt", "group")?, class("subgroup_prompt", "subgroup")?];
    let plain = Pairs::new(images.clone(), vec![labels.clone()])?.split(HOLDOUT, SEED)?;
    let extra = Pairs::new(images, vec![labels, captions])?.split(HOLDOUT, SEED)?;
    let rows: Rows = serde_json::from_slice(&std::fs::read(ROWS)?)?;
    Ok(Dataset {
        train: plain.train,
        train_with_captions: extra.train,
        holdout: plain.holdout,
        classes,
        rows: rows.rows,
    })
}

/// A head and its scores on the held-out images.
struct Entry {
    name: &'static str,
    head: Head,
    history: History,
    retrieval: Retrieval,
    group: ZeroShot,
    subgroup: ZeroShot,
}

impl Entry {
    fn evaluate(
        name: &'static str,
        head: Head,
        history: History,
        data: &Dataset,
    ) -> Result<Self, Box<dyn Error>> {
        let (images, texts, rows) = embed(&head, data)?;
        let text_to_image: Vec<usize> = (0..rows.len()).collect();
        let classify = |(prompts, labels): &(Arc<SafetensorsFeatures>, Vec<usize>)| {
            let classes: Vec<usize> = (0..prompts.rows()).collect();
            let prompts = project_texts(&head, &**prompts, &classes, CHUNK)?;
            let weights = class_weights(prompts, &classes, classes.len())?;
            let labels: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
            zero_shot(images.clone(), weights, &labels)
        };
        let [group, subgroup] = [classify(&data.classes[0])?, classify(&data.classes[1])?];
        let retrieval = retrieval(images, texts, &text_to_image, &BlockSize::default())?;
        Ok(Self { name, head, history, retrieval, group, subgroup })
    }

    /// The scores of the table: recall in both directions, then accuracy.
    fn scores(&self) -> [f64; 8] {
        let Retrieval { i2t, t2i, .. } = &self.retrieval;
        [i2t.r1, i2t.r5, i2t.r10, t2i.r1, t2i.r5, t2i.r10, self.group.top1, self.subgroup.top1]
    }

    fn mean(&self) -> f64 {
        self.scores().iter().sum::<f64>() / 8.0
    }
}

/// Embeddings of the held-out images and labels, and the rows of the images.
type Embedded = (Tensor<2>, Tensor<2>, Vec<usize>);

fn embed(head: &Head, data: &Dataset) -> Result<Embedded, Box<dyn Error>> {
    let holdout = &data.holdout;
    let rows: Vec<usize> = (0..holdout.len()).map(|pair| holdout.image_row(pair)).collect();
    let images = project_images(head, &**holdout.images(), &rows, CHUNK)?;
    let (text_rows, _) = holdout.text_to_image(0);
    let texts = project_texts(head, &**holdout.captions(0), &text_rows, CHUNK)?;
    Ok((images, texts, rows))
}

fn new_head(projector: ProjectorConfig, data: &Dataset, device: &Device) -> Result<Head, Box<dyn Error>> {
    let (image_dim, text_dim) = (data.holdout.images().dim(), data.holdout.captions(0).dim());
    let image = Provenance {
        pooling: Some(ImagePooling::Pooled.to_string()),
        ..Provenance::new("efficientnet-lite0")
    };
    let text = Provenance { pooling: Some("mean".into()), ..Provenance::new("all-MiniLM-L6-v2") };
    let config = HeadConfig::new(image_dim, text_dim, 512, projector);
    Ok(Head::new(&config, SEED, device)?.with_provenance(Some(&image), Some(&text)))
}

fn main() -> Result<(), Box<dyn Error>> {
    sail_vl::allocator::keep_freed_memory();
    let device = Device::flex();
    let data = load()?;
    let glu = ProjectorConfig::Glu { width: 2 };
    let train =
        |name: &'static str, projector, pairs: &Pairs, learning_rate| -> Result<Entry, Box<dyn Error>> {
            let config = TrainConfig::default()
                .with_batch_size(370)
                .with_learning_rate(learning_rate)
                .with_seed(SEED)
                .with_evaluate_every(Interval::epochs(2));
            let head = new_head(projector, &data, &device)?;
            let Outcome { head, history, .. } =
                Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs.clone())
                    .holdout(data.holdout.clone())
                    .observer(Progress::new(format!("{name:<18}")))
                    .run()?;
            Entry::evaluate(name, head, history, &data)
        };
    let untrained = new_head(glu.clone(), &data, &device)?;
    let entries = [
        Entry::evaluate("untrained", untrained, History::default(), &data)?,
        train("linear", ProjectorConfig::Linear {}, &data.train, 3e-4)?,
        train("GLU", glu.clone(), &data.train, 1e-4)?,
        train("GLU multi-positive", glu, &data.train_with_captions, 1e-4)?,
    ];
    let best = entries.iter().max_by(|a, b| a.mean().total_cmp(&b.mean()));
    let best = best.ok_or("no head was trained")?;

    print_table(&entries);
    let gallery = gallery(&best.head, &data)?;
    print_gallery(&gallery);

    let output = Path::new(OUTPUT);
    std::fs::create_dir_all(output)?;
    let head = output.join("head.safetensors");
    best.head.save(&head)?;
    let page = output.join("report.html");
    report(&entries, best, &gallery).save(&page)?;
    println!("\nbest head  {} ({})\nreport     {}", head.display(), best.name, page.display());
    Ok(())
}

fn print_table(entries: &[Entry]) {
    println!("\n{:<20}{:^21}{:^21}{:^21}", "", "image to text", "text to image", "zero-shot accuracy");
    println!(
        "{:<20}{:>7}{:>7}{:>7}{:>7}{:>7}{:>7}{:>10}{:>11}",
        "held out, in %", "R@1", "R@5", "R@10", "R@1", "R@5", "R@10", "group", "subgroup"
    );
    for entry in entries {
        let [a, b, c, d, e, f, group, subgroup] = entry.scores();
        let name = entry.name;
        println!("{name:<20}{a:>7.1}{b:>7.1}{c:>7.1}{d:>7.1}{e:>7.1}{f:>7.1}{group:>10.1}{subgroup:>11.1}");
    }
}

/// A held-out image with its top labels.
struct Shown<'a> {
    image: &'a Emoji,
    labels: Vec<(&'a str, f64)>,
}

fn gallery<'a>(head: &Head, data: &'a Dataset) -> Result<Vec<Shown<'a>>, Box<dyn Error>> {
    let (images, texts, rows) = embed(head, data)?;
    let matches = top_k(images, texts, 5, &BlockSize::default())?;
    let label = |index: usize| data.rows[rows[index]].label.as_str();
    let shown =
        matches.iter().enumerate().step_by(rows.len() / SHOWN).take(SHOWN).map(|(index, matches)| Shown {
            image: &data.rows[rows[index]],
            labels: matches.iter().map(|found| (label(found.index), f64::from(found.score))).collect(),
        });
    Ok(shown.collect())
}

fn print_gallery(gallery: &[Shown]) {
    println!("\nheld-out images and their top labels of {HOLDOUT}");
    for Shown { image, labels } in gallery {
        let right = labels.iter().position(|(label, _)| *label == image.label);
        let mark = right.map_or("   ".to_owned(), |rank| format!("#{} ", rank + 1));
        let labels: Vec<_> = labels.iter().map(|(label, score)| format!("{label} {score:.2}")).collect();
        println!("{mark} {}  {}", image.emoji, labels.join(" | "));
    }
}

fn report(entries: &[Entry], best: &Entry, gallery: &[Shown]) -> Report {
    let table = |columns: &[&str], range: std::ops::Range<usize>| {
        let empty = Table::new(["head"].iter().chain(columns).copied());
        let empty = empty.higher_is_better(columns.iter().copied());
        entries.iter().fold(empty, |table, entry| {
            let scores =
                entry.scores()[range.clone()].iter().map(|score| format!("{score:.1}")).collect::<Vec<_>>();
            table.row([entry.name.to_owned()].into_iter().chain(scores))
        })
    };
    let retrieval = table(&["I2T R@1", "I2T R@5", "I2T R@10", "T2I R@1", "T2I R@5", "T2I R@10"], 0..6)
        .caption("Recall in percent among 370. I2T: image to text; T2I: text to image.");
    let classes = table(&["7 groups", "81 subgroups"], 6..8)
        .caption("Zero-shot accuracy in percent, for classes that were not used in training.");
    let mut loss = LineChart::new("Loss", "step", "loss").log_y();
    let mut recall = LineChart::new("Image to text on the holdout", "epoch", "R@1 in %");
    for entry in entries.iter().filter(|entry| !entry.history.steps.is_empty()) {
        let steps = entry.history.steps.iter().map(|step| ((step.step + 1) as f64, step.loss));
        loss = loss.series(entry.name, steps);
        let evaluations = entry.history.evaluations.iter();
        let evaluations = evaluations
            .filter_map(|evaluation| Some((evaluation.epochs as f64, evaluation.holdout.as_ref()?.i2t.r1)));
        recall = recall.series(entry.name, evaluations);
    }
    let images = gallery.iter().fold(Gallery::new(), |gallery, Shown { image, labels }| {
        let item = GalleryItem::new(Image::text(&image.emoji)).title(&image.label);
        gallery.item(
            labels
                .iter()
                .fold(item, |item, (label, score)| item.candidate(*label, *score, *label == image.label)),
        )
    });
    let facts = Facts::new()
        .fact("image encoder", "EfficientNet-Lite0, frozen, 1280 dimensions")
        .fact("text encoder", "all-MiniLM-L6-v2, frozen, 384 dimensions")
        .fact("loss", "sigmoid, mean over all pairs")
        .fact("optimizer", "Lion, 50 epochs of 2 batches of 370")
        .fact("seed", SEED.to_string());
    let percent = |value: f64| format!("{value:.1} %");
    Report::new("Two frozen encoders, aligned")
        .subtitle("1,376 emoji images and their names, 370 pairs held out")
        .key_figure(percent(best.retrieval.i2t.r1), "R@1, image to text")
        .key_figure(percent(best.retrieval.i2t.r10), "R@10, image to text")
        .key_figure(percent(best.group.top1), "zero-shot accuracy, 7 groups")
        .section(
            Section::new("Heads compared")
                .text("The encoders are frozen; only the head differs.")
                .table(retrieval)
                .table(classes),
        )
        .section(Section::new("Training").charts([loss, recall]))
        .section(
            Section::new("Held-out images")
                .text(format!("Top five of {HOLDOUT} labels by cosine, with the {} head.", best.name))
                .gallery(images),
        )
        .section(Section::new("Settings").facts(facts))
}
