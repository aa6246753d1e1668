//! `sail dedup`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use sail_support::{KeyTable, ranges};
use sail_vl::core::{Check, FeatureSource};
use sail_vl::report::{Facts, Panel, Panels, Report, Section, Table};
use sail_vl::search::curation::{Cluster, Duplicate, DuplicateConfig, NearDuplicates, near_duplicates};
use serde::Serialize;

use crate::distribution;
use crate::error::CliError;
use crate::inputs::open_any;
use crate::key_list;
use crate::output::print;
use crate::progress::{ROWS, bar};
use crate::shown_images::ShownImages;

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
    /// are read as one.
    #[arg(value_name = "FEATURES")]
    features: String,
    /// Cosine similarity from which on two rows are near-duplicates. It depends on the encoder: look at a report.
    #[arg(long, value_name = "COSINE", default_value_t = DuplicateConfig::default().threshold)]
    threshold: f64,
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
}

#[derive(Serialize)]
struct Summary {
    rows: usize,
    kept: usize,
    duplicates: usize,
    clusters: usize,
    threshold: f64,
    keys: Keys,
    largest: Vec<Named>,
}

/// Numbers of keys.
#[derive(Serialize)]
struct Keys {
    kept: usize,
    removed: usize,
}

pub(crate) fn run(args: &DedupArgs) -> Result<(), CliError> {
    let config = DuplicateConfig { threshold: args.threshold };
    config.check()?;
    let features = open_any(&args.features)?;
    let progress = bar(features.rows() as u64, "compare", ROWS);
    let found = near_duplicates(&features, &config, |now| progress.set_position(now.done));
    let found = found.map_err(|source| CliError::Curation { spec: args.features.clone(), source })?;
    progress.finish_and_clear();
    let source = Source { features: &features, spec: &args.features };
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
    if let Some(path) = &args.report {
        report(args, &source, &found, &clusters)?.save(path)?;
    }
    let largest = clusters.iter().take(PRINTED).map(|cluster| source.name(cluster, PRINTED_ROWS));
    let summary = Summary {
        rows: features.rows(),
        kept: found.kept(),
        duplicates: found.duplicates().len(),
        clusters: clusters.len(),
        threshold: args.threshold,
        keys: Keys { kept: kept.len(), removed: removed.len() },
        largest: largest.collect::<Result<_, _>>()?,
    };
    print(args.json, &summary, |out| write_summary(out, &summary, &clusters))
}

fn write_summary(out: &mut impl Write, summary: &Summary, clusters: &[Cluster]) -> io::Result<()> {
    let Summary { rows, kept, duplicates, threshold, keys, largest, .. } = summary;
    writeln!(
        out,
        "{rows} rows, {duplicates} near-duplicates of {kept} others (cosine of at least {threshold})"
    )?;
    writeln!(out, "{} keys to keep, {} to remove", keys.kept, keys.removed)?;
    for (cluster, named) in clusters.iter().zip(largest) {
        write!(out, "  {}:", named.kept)?;
        for found in &named.duplicates {
            write!(out, " {} {:.3}", found.key, found.similarity)?;
        }
        let more = cluster.duplicates.len() - named.duplicates.len();
        writeln!(out, "{}", if more > 0 { format!(" and {more} more") } else { String::new() })?;
    }
    match clusters.len() - largest.len() {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more clusters"),
    }
}

/// The features, with their name for errors.
struct Source<'a> {
    features: &'a dyn FeatureSource,
    spec: &'a str,
}

impl Source<'_> {
    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, CliError> {
        let failed = |source| CliError::Features { spec: self.spec.to_owned(), source };
        self.features.keys(rows).map_err(failed)
    }

    /// Returns the keys that have a row that is kept, and the others; each in the order of their first row.
    fn split(&self, found: &NearDuplicates) -> Result<(Vec<String>, Vec<String>), CliError> {
        let mut seen = KeyTable::with_capacity(self.features.rows());
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for (keeps, keys) in [(true, &mut kept), (false, &mut removed)] {
            for rows in ranges(self.features.rows(), BLOCK) {
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
        let duplicate =
            |(key, found): (String, &Duplicate)| NamedDuplicate { key, similarity: found.similarity };
        Ok(Named { kept, duplicates: keys.zip(duplicates).map(duplicate).collect() })
    }
}

fn report(
    args: &DedupArgs,
    source: &Source<'_>,
    found: &NearDuplicates,
    clusters: &[Cluster],
) -> Result<Report, CliError> {
    let rows = source.features.rows();
    let share = 100.0 * found.duplicates().len() as f64 / rows.max(1) as f64;
    let similarities: Vec<f32> = found.duplicates().iter().map(|found| found.similarity as f32).collect();
    let images = ShownImages::open(args.image_dir.as_deref())?;
    let mut panels = Panels::new();
    for cluster in clusters.iter().take(SHOWN) {
        let named = source.name(cluster, SHOWN_ROWS)?;
        let more = cluster.duplicates.len() - named.duplicates.len();
        let mut panel = Panel::new(&named.kept).image("kept", images.show(&named.kept).0);
        if more > 0 {
            panel = panel.note(format!("and {more} more"));
        }
        for NamedDuplicate { key, similarity } in &named.duplicates {
            let (image, problem) = images.show(key);
            let problem = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
            panel = panel.image(format!("{similarity:.3} {key}{problem}"), image);
        }
        panels = panels.panel(panel);
    }
    images.check()?;
    let largest = format!("The {} largest of {} clusters.", clusters.len().min(SHOWN), clusters.len());
    let facts = Facts::new().fact("features", &args.features).fact("threshold", args.threshold.to_string());
    let mut sizes = Section::new("Sizes").table(sizes(clusters));
    if !similarities.is_empty() {
        let title = "Similarity of near-duplicates to the row that is kept";
        sizes = sizes.chart(distribution::chart(title, &[("near-duplicates", &similarities)]));
    }
    Ok(Report::new("Near-duplicates")
        .subtitle(format!("{rows} rows, cosine of at least {}.", args.threshold))
        .key_figure(found.duplicates().len().to_string(), "near-duplicates")
        .key_figure(format!("{share:.1} %"), "of all rows")
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
