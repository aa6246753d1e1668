//! `sail eval features`.

use std::io::Write;

use clap::Args;
use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{FeatureSource, Modality, Side, gather_tensor};
use sail_vl::eval::{BlockSize, Calibrated, Neighbourhoods, neighbourhoods, project_images};
use sail_vl::probe::{Labelled, LabelledConfig};

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::head_spec::HeadSpec;
use crate::inputs::{MICRO_BATCH, VerifyArgs};
use crate::labels;
use crate::output::print;

#[derive(Args)]
pub(crate) struct FeaturesArgs {
    /// Features of the training images: a store, FILE.safetensors or FILE.safetensors:TENSOR.
    #[arg(long, value_name = "FEATURES")]
    train: String,
    /// Features of the test images.
    #[arg(long, value_name = "FEATURES")]
    test: String,
    /// Classes of the training images: an integer tensor, FILE.safetensors:TENSOR, or `folders` for keys such as
    /// CLASS/NAME, which stores of image folders have.
    #[arg(long, value_name = "CLASSES", default_value = "folders")]
    train_labels: String,
    /// Classes of the test images, in the same format.
    #[arg(long, value_name = "CLASSES", default_value = "folders")]
    test_labels: String,
    /// Number of neighbours of k-NN.
    #[arg(long, default_value_t = 20, value_name = "K")]
    knn_k: usize,
    /// L2 penalty of linear probing.
    #[arg(long, default_value_t = 1e-2)]
    l2: f64,
    /// Seed of the k-means initialization and of the random classes.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Number of random class assignments that the measures are calibrated by; 0 for none, else at least 1 / alpha - 1.
    #[arg(long, default_value_t = 200)]
    permutations: usize,
    /// Significance level of the calibration.
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// Also measure how well this head keeps the neighbours of the test images: trustworthiness and continuity. A head file or
    /// the name of a published pair.
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// Number of neighbours of trustworthiness and continuity.
    #[arg(long, default_value_t = 10, value_name = "K", requires = "head")]
    map_k: usize,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &FeaturesArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let open = |spec: &str| args.verify.open(spec, Modality::Image);
    let (train, test) = (open(&args.train)?, open(&args.test)?);
    let (train_labels, test_labels, classes) = match (args.train_labels.as_str(), args.test_labels.as_str()) {
        ("folders", "folders") => by_folder(args, &*train, &*test)?,
        (train_labels, test_labels) => {
            let train_labels = labels::read(train_labels, &args.train, &*train)?;
            let test_labels = labels::read(test_labels, &args.test, &*test)?;
            let classes = train_labels.iter().chain(&test_labels).max().map_or(0, |&class| class + 1);
            (train_labels, test_labels, classes)
        }
    };
    let FeaturesArgs { knn_k, l2, permutations, alpha, seed, .. } = *args;
    let config = LabelledConfig { knn_k, l2, permutations, alpha, seed };
    let map = args.head.as_deref().map(|head| map(args, head, &*test, &device)).transpose()?;
    let (train_rows, test_rows) = (read(&args.train, &*train, &device)?, read(&args.test, &*test, &device)?);
    let result = Labelled::measure(train_rows, &train_labels, test_rows, &test_labels, classes, &config)?;
    let mut json = serde_json::to_value(&result)?;
    if let Some(map) = &map {
        json["map"] = serde_json::to_value(map)?;
    }
    json["n_train"] = train_labels.len().into();
    json["n_test"] = test_labels.len().into();
    json["n_classes"] = classes.into();
    print(args.json, &json, |out| {
        let (train, test) = (train_labels.len(), test_labels.len());
        writeln!(out, "{train} training images, {test} test images, {classes} classes")?;
        let calibrated = result.calibrated.as_ref();
        let mut line = |name: &str, value: f64, decimals: usize, of: Option<&Calibrated>| {
            let p = of.and_then(|of| Some((of.p_value?, of.is_above_chance()?))).map(|(p, above)| {
                let chance = if above { "" } else { ", no more than chance" };
                format!("  (p = {p:.3}{chance})")
            });
            writeln!(out, "{name:<20} {value:>7.decimals$}{}", p.unwrap_or_default())
        };
        line("k-NN", result.knn, 2, calibrated.map(|of| &of.knn))?;
        line("linear probing", result.linear, 2, calibrated.map(|of| &of.linear))?;
        line("most frequent class", result.majority, 2, None)?;
        line("silhouette", result.silhouette, 3, calibrated.map(|of| &of.silhouette))?;
        line("k-means NMI", result.nmi.value, 3, Some(&result.nmi))?;
        line("k-means ARI", result.ari, 3, calibrated.map(|of| &of.ari))?;
        if let Some(map) = &map {
            line("trustworthiness", map.trustworthiness, 3, None)?;
            line("continuity", map.continuity, 3, None)?;
        }
        Ok(())
    })
}

/// How well a head keeps the neighbours of image features.
fn map(
    args: &FeaturesArgs,
    head: &str,
    images: &dyn FeatureSource,
    device: &Device,
) -> Result<Neighbourhoods, CliError> {
    let head = HeadSpec::parse(head).load(device)?;
    head.accepts(Side::Image, images.dim(), images.provenance())?;
    let rows: Vec<usize> = (0..images.rows()).collect();
    let embeddings = project_images(&head, images, &rows, MICRO_BATCH)?;
    let features = read(&args.test, images, device)?;
    Ok(neighbourhoods(features, embeddings, args.map_k, &BlockSize::SEARCH)?)
}

/// Returns the classes of both by the folders in their keys, and the number of classes; the training images define
/// the class indices.
fn by_folder(
    args: &FeaturesArgs,
    train: &dyn FeatureSource,
    test: &dyn FeatureSource,
) -> Result<(Vec<usize>, Vec<usize>, usize), CliError> {
    let train_folders = labels::folder_of_rows(&args.train, train)?;
    let indices = labels::class_indices(&train_folders);
    let index = |name: &String| {
        let unknown = || {
            let message = format!("the class `{name}` of {} has no image in {}", args.test, args.train);
            CliError::Usage(message)
        };
        indices.get(name).copied().ok_or_else(unknown)
    };
    let test_folders = labels::folder_of_rows(&args.test, test)?;
    let of = |names: &[String]| names.iter().map(index).collect::<Result<Vec<_>, _>>();
    Ok((of(&train_folders)?, of(&test_folders)?, indices.len()))
}

fn read(spec: &str, source: &dyn FeatureSource, device: &Device) -> Result<Tensor<2>, CliError> {
    let rows: Vec<usize> = (0..source.rows()).collect();
    gather_tensor(source, &rows, device)
        .map_err(|source| CliError::Features { spec: spec.to_owned(), source })
}
