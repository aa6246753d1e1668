//! `sail dedup`.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use sail_support::{KeyTable, ranges};
use sail_vl::core::{Check, FeatureError, FeatureSource, Modality};
use sail_vl::data::{Pairs, Unmatched};
use sail_vl::recipe::open_unchecked;
use sail_vl::report::{Facts, Panel, Panels, Report, Section, Table};
use sail_vl::search::Index;
use sail_vl::search::curation::{
    Cluster, CurationError, Duplicate, DuplicateConfig, NearDuplicates, PairDuplicateConfig, PairMatch,
    near_duplicate_pairs, near_duplicates,
};
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::inputs::{open_any, warn_of_dropped_rows};
use crate::key_list;
use crate::named::named;
use crate::output::print;
use crate::progress::{ROWS, bar};
use crate::shown_images::ShownImages;
use crate::{curated, distribution};

/// Keys that are read at once.
const BLOCK: usize = 4096;
/// Clusters that are printed.
const PRINTED: usize = 5;
/// Near-duplicates of a cluster that are printed.
const PRINTED_ROWS: usize = 4;
/// Clusters in a report.
const SHOWN: usize = 40;
/// Near-duplicates of a cluster in a report.
const SHOWN_ROWS: usize = 8;

#[derive(Args)]
pub(crate) struct DedupArgs {
    /// Features of images or captions: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas,
    /// are read as one. Or an index, whose images are compared by their embeddings.
    #[arg(value_name = "FEATURES_OR_INDEX")]
    features: String,
    /// Cosine similarity from which on two rows are near-duplicates. It depends on the encoder: look at a report.
    #[arg(long, value_name = "COSINE", default_value_t = DuplicateConfig::default().threshold)]
    threshold: f64,
    /// Compare pairs: images and their captions, which are those of an index, or of `--texts`. Near-duplicates are pairs whose
    /// images are near and whose captions are too, or pairs of which either are near.
    #[arg(long = "match", value_name = "PARTS", value_parser = named::<PairMatch>())]
    matching: Option<PairMatch>,
    /// Features of the captions of the images, paired by key, to compare pairs.
    #[arg(long, value_name = "FEATURES")]
    texts: Option<String>,
    /// Cosine similarity from which on the captions of two pairs are near, several captions by their mean.
    #[arg(long, value_name = "COSINE", default_value_t = DuplicateConfig::default().threshold)]
    text_threshold: f64,
    /// The text model of the index, if it is not where the index says.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    text_model: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the keys to keep: a text file with a key in each line, or JSON lines if its name ends in `.jsonl`. A key with
    /// several rows, such as captions, is kept if one of them is.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the other keys.
    #[arg(long, value_name = "FILE")]
    removed: Option<PathBuf>,
    /// Write all clusters, as JSON lines: `kept`, and `duplicates` with `key` and `similarity`.
    #[arg(long, value_name = "FILE.jsonl")]
    clusters: Option<PathBuf>,
    /// Write an HTML report with the largest clusters.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Folder of the image files, named by the keys of the images, to show them in the report.
    #[arg(long, value_name = "FOLDER", requires = "report")]
    image_dir: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A cluster with its keys.
#[derive(Serialize)]
struct Named {
    kept: String,
    duplicates: Vec<NamedDuplicate>,
}

#[derive(Serialize)]
struct NamedDuplicate {
    key: String,
    similarity: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_similarity: Option<f64>,
}

/// The similarity, of pairs that of the images and that of the captions.
impl fmt::Display for NamedDuplicate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3}", self.similarity)?;
        self.text_similarity.map_or(Ok(()), |similarity| write!(out, "/{similarity:.3}"))
    }
}

#[derive(Serialize)]
struct Summary {
    rows: usize,
    kept: usize,
    duplicates: usize,
    clusters: usize,
    threshold: f64,
    /// Of pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_threshold: Option<f64>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<PairMatch>,
    keys: Keys,
    largest: Vec<Named>,
}

impl Summary {
    /// What was compared, and when two are near-duplicates.
    fn condition(&self) -> (&'static str, String) {
        let images = self.threshold;
        match (self.matching, self.text_threshold) {
            (Some(matching), Some(texts)) => {
                let condition = format!("cosines of at least {images} and {texts}, {matching}");
                ("pairs", condition)
            }
            _ => ("rows", format!("cosine of at least {images}")),
        }
    }
}

/// Numbers of keys.
#[derive(Serialize)]
struct Keys {
    kept: usize,
    removed: usize,
}

pub(crate) fn run(args: &DedupArgs) -> Result<(), CliError> {
    args.config().check()?;
    let index = curated::index(&args.features)?;
    let source = Source { rows: args.open(index.as_ref())?, spec: &args.features };
    let progress = bar(source.rows.len() as u64, "compare", ROWS);
    let found = source.rows.near_duplicates(&args.config(), |done| progress.set_position(done));
    let found = found.map_err(|source| CliError::Curation { spec: args.features.clone(), source })?;
    progress.finish_and_clear();
    let (kept, removed) = source.split(&found)?;
    if let Some(path) = &args.out {
        key_list::write(path, &kept)?;
    }
    if let Some(path) = &args.removed {
        key_list::write(path, &removed)?;
    }
    let clusters = found.clusters();
    if let Some(path) = &args.clusters {
        let named = clusters.iter().map(|cluster| source.name(cluster, usize::MAX));
        key_list::write_lines(path, named.collect::<Result<Vec<_>, _>>()?.iter())?;
    }
    let are_pairs = matches!(source.rows, Rows::Pairs(_));
    let largest = clusters.iter().take(PRINTED).map(|cluster| source.name(cluster, PRINTED_ROWS));
    let summary = Summary {
        rows: source.rows.len(),
        kept: found.kept(),
        duplicates: found.duplicates().len(),
        clusters: clusters.len(),
        threshold: args.threshold,
        text_threshold: are_pairs.then_some(args.text_threshold),
        matching: are_pairs.then_some(args.matching.unwrap_or_default()),
        keys: Keys { kept: kept.len(), removed: removed.len() },
        largest: largest.collect::<Result<_, _>>()?,
    };
    if let Some(path) = &args.report {
        report(args, index.as_ref(), &source, &found, &summary)?.save(path)?;
    }
    print(args.json, &summary, |out| write_summary(out, &summary, &clusters))
}

impl DedupArgs {
    fn config(&self) -> PairDuplicateConfig {
        PairDuplicateConfig {
            images: DuplicateConfig { threshold: self.threshold },
            texts: DuplicateConfig { threshold: self.text_threshold },
            matching: self.matching.unwrap_or_default(),
        }
    }

    /// Opens what is compared: rows, or pairs if there is `--match` or `--texts`.
    fn open(&self, index: Option<&Index>) -> Result<Rows, CliError> {
        match (index, &self.texts) {
            (Some(_), Some(_)) => {
                let message =
                    "`--texts` has no meaning for an index, which has captions: use `--match` alone";
                Err(CliError::Usage(message.to_owned()))
            }
            (Some(index), None) if self.matching.is_some() => {
                Ok(Rows::Pairs(curated::pairs(index, &self.text_model, &self.device.open()?)?))
            }
            (Some(index), None) => Ok(Rows::Single(curated::images(index)?)),
            (None, Some(texts)) => {
                let images = open_unchecked(&self.features, Modality::Image)?;
                let captions = open_unchecked(texts, Modality::Text)?;
                let pairs = Pairs::join(images, vec![captions], Unmatched::default())?;
                warn_of_dropped_rows(pairs.pairing());
                Ok(Rows::Pairs(pairs))
            }
            (None, None) if self.matching.is_some() => {
                let message = "`--match` compares pairs: name the features of the captions with `--texts`";
                Err(CliError::Usage(message.to_owned()))
            }
            (None, None) => Ok(Rows::Single(Arc::new(open_any(&self.features)?))),
        }
    }
}

fn write_summary(out: &mut impl Write, summary: &Summary, clusters: &[Cluster]) -> io::Result<()> {
    let Summary { rows, kept, duplicates, keys, largest, .. } = summary;
    let (what, condition) = summary.condition();
    writeln!(out, "{rows} {what}, {duplicates} near-duplicates of {kept} others ({condition})")?;
    writeln!(out, "{} keys to keep, {} to remove", keys.kept, keys.removed)?;
    for (cluster, named) in clusters.iter().zip(largest) {
        write!(out, "  {}:", named.kept)?;
        for found in &named.duplicates {
            write!(out, " {} {found}", found.key)?;
        }
        let more = cluster.duplicates.len() - named.duplicates.len();
        writeln!(out, "{}", if more > 0 { format!(" and {more} more") } else { String::new() })?;
    }
    match clusters.len() - largest.len() {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more clusters"),
    }
}

/// What is compared.
enum Rows {
    Single(Arc<dyn FeatureSource>),
    Pairs(Pairs),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Single(features) => features.rows(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    fn near_duplicates(
        &self,
        config: &PairDuplicateConfig,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<NearDuplicates, CurationError> {
        match self {
            Self::Single(features) => near_duplicates(&**features, &config.images, |now| progress(now.done)),
            Self::Pairs(pairs) => near_duplicate_pairs(pairs, config, |now| progress(now.done)),
        }
    }

    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        match self {
            Self::Single(features) => features.keys(rows),
            Self::Pairs(pairs) => {
                let rows: Vec<usize> = rows.iter().map(|&pair| pairs.image_row(pair)).collect();
                pairs.images().keys(&rows)
            }
        }
    }
}

/// The rows, with their name for errors.
struct Source<'a> {
    rows: Rows,
    spec: &'a str,
}

impl Source<'_> {
    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, CliError> {
        let failed = |source| CliError::Features { spec: self.spec.to_owned(), source };
        self.rows.keys(rows).map_err(failed)
    }

    /// Returns the keys that have a row that is kept, and the others; each in the order of their first row.
    fn split(&self, found: &NearDuplicates) -> Result<(Vec<String>, Vec<String>), CliError> {
        let mut seen = KeyTable::with_capacity(self.rows.len());
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for (keeps, keys) in [(true, &mut kept), (false, &mut removed)] {
            for rows in ranges(self.rows.len(), BLOCK) {
                let rows: Vec<usize> = rows.filter(|&row| found.keeps(row) == keeps).collect();
                let of_rows = self.keys(&rows)?;
                keys.extend(of_rows.into_iter().filter(|key| seen.insert_key(key, ()).is_none()));
            }
        }
        Ok((kept, removed))
    }

    /// Reads the keys of a cluster, of at most some near-duplicates.
    fn name(&self, cluster: &Cluster, most: usize) -> Result<Named, CliError> {
        let duplicates = &cluster.duplicates[..cluster.duplicates.len().min(most)];
        let rows: Vec<usize> =
            [cluster.kept].into_iter().chain(duplicates.iter().map(|found| found.row)).collect();
        let mut keys = self.keys(&rows)?.into_iter();
        let kept = keys.next().unwrap_or_default();
        let duplicate = |(key, found): (String, &Duplicate)| {
            let Duplicate { similarity, text_similarity, .. } = *found;
            NamedDuplicate { key, similarity, text_similarity }
        };
        Ok(Named { kept, duplicates: keys.zip(duplicates).map(duplicate).collect() })
    }
}

fn report(
    args: &DedupArgs,
    index: Option<&Index>,
    source: &Source<'_>,
    found: &NearDuplicates,
    summary: &Summary,
) -> Result<Report, CliError> {
    let (rows, clusters) = (source.rows.len(), &found.clusters());
    let (what, condition) = summary.condition();
    let share = 100.0 * found.duplicates().len() as f64 / rows.max(1) as f64;
    let similarities: Vec<f32> = found.duplicates().iter().map(|found| found.similarity as f32).collect();
    let images = ShownImages::open(index, args.image_dir.as_deref())?;
    let mut panels = Panels::new();
    for cluster in clusters.iter().take(SHOWN) {
        let named = source.name(cluster, SHOWN_ROWS)?;
        let more = cluster.duplicates.len() - named.duplicates.len();
        let mut panel = Panel::new(&named.kept).image("kept", images.show(&named.kept).0);
        if more > 0 {
            panel = panel.note(format!("and {more} more"));
        }
        for found in &named.duplicates {
            let (image, problem) = images.show(&found.key);
            let problem = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
            panel = panel.image(format!("{found} {}{problem}", found.key), image);
        }
        panels = panels.panel(panel);
    }
    images.check()?;
    let largest = format!("The {} largest of {} clusters.", clusters.len().min(SHOWN), clusters.len());
    let mut facts = Facts::new().fact("features", &args.features);
    if let Some(texts) = &args.texts {
        facts = facts.fact("captions", texts);
    }
    let facts = facts.fact("near-duplicates", condition.as_str());
    let mut sizes = Section::new("Sizes").table(sizes(clusters));
    if !similarities.is_empty() {
        let title = "Similarity of near-duplicates to the row that is kept";
        sizes = sizes.chart(distribution::chart(title, &[("near-duplicates", &similarities)]));
    }
    Ok(Report::new("Near-duplicates")
        .subtitle(format!("{rows} {what}, {condition}."))
        .key_figure(found.duplicates().len().to_string(), "near-duplicates")
        .key_figure(format!("{share:.1} %"), format!("of all {what}"))
        .key_figure(clusters.len().to_string(), "clusters")
        .section(sizes)
        .section(Section::new("Largest clusters").text(largest).panels(panels))
        .section(Section::new("Settings").facts(facts)))
}

/// The number of clusters by size, in powers of two.
fn sizes(clusters: &[Cluster]) -> Table {
    let mut table = Table::new(["rows of the cluster", "clusters", "near-duplicates"]);
    let mut low = 2;
    let size = |cluster: &Cluster| cluster.duplicates.len() + 1;
    while clusters.first().is_some_and(|largest| size(largest) >= low) {
        let within = || clusters.iter().filter(|cluster| (low..2 * low).contains(&size(cluster)));
        let duplicates: usize = within().map(|cluster| cluster.duplicates.len()).sum();
        let range = format!("{low} to {}", 2 * low - 1);
        table = table.row([range, within().count().to_string(), duplicates.to_string()]);
        low *= 2;
    }
    table
}
