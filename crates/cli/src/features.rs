//! `sail eval features`.

use std::io::{Write, stdout};

use clap::Args;
use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{FeatureSource, Modality, gather_tensor};
use sail_vl::device;
use sail_vl::probe::{Labelled, LabelledConfig};

use crate::error::CliError;
use crate::{inputs, labels};

/// How well frozen features cluster and separate by class, without any head.
#[derive(Args)]
pub(crate) struct FeaturesArgs {
    /// Features of the known images: a store, FILE.safetensors or FILE.safetensors:TENSOR.
    #[arg(long, value_name = "FEATURES")]
    train: String,
    /// Features of the images to classify.
    #[arg(long, value_name = "FEATURES")]
    test: String,
    /// Classes of the known images: an integer tensor, FILE.safetensors:TENSOR, or `folders` for keys such as
    /// CLASS/NAME, as stores of image folders have them.
    #[arg(long, value_name = "CLASSES", default_value = "folders")]
    train_labels: String,
    /// Classes of the images to classify, in the same way.
    #[arg(long, value_name = "CLASSES", default_value = "folders")]
    test_labels: String,
    /// Neighbours that vote.
    #[arg(long, default_value_t = 20, value_name = "K")]
    knn_k: usize,
    /// Penalty of the linear layer's weights.
    #[arg(long, default_value_t = 1e-2)]
    l2: f64,
    /// Source of the starts of k-means and of random classes.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Random classes that the agreement of clusters is held against.
    #[arg(long, default_value_t = 20)]
    permutations: usize,
    /// Use features as they are, without checking checksums and every row first.
    #[arg(long)]
    no_verify: bool,
    /// Device to compute on.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &FeaturesArgs) -> Result<(), CliError> {
    let device = device::parse(&args.device)?;
    let open = |spec: &str| inputs::features(spec, Modality::Image, !args.no_verify);
    let (train, test) = (open(&args.train)?, open(&args.test)?);
    let (known, held, classes) = match (args.train_labels.as_str(), args.test_labels.as_str()) {
        ("folders", "folders") => by_folder(args, &*train, &*test)?,
        (known, held) => {
            let known = labels::read(known, &args.train, &*train)?;
            let held = labels::read(held, &args.test, &*test)?;
            let classes = known.iter().chain(&held).max().map_or(0, |&class| class + 1);
            (known, held, classes)
        }
    };
    let config =
        LabelledConfig { knn_k: args.knn_k, l2: args.l2, permutations: args.permutations, seed: args.seed };
    let (train_rows, test_rows) = (read(&args.train, &*train, &device)?, read(&args.test, &*test, &device)?);
    let found = Labelled::measure(train_rows, &known, test_rows, &held, classes, &config)?;
    let mut out = stdout().lock();
    if args.json {
        let mut json = serde_json::to_value(&found)?;
        json["n_train"] = known.len().into();
        json["n_test"] = held.len().into();
        json["n_classes"] = classes.into();
        writeln!(out, "{json}")?;
        return Ok(());
    }
    writeln!(out, "{} known images, {} to classify, {classes} classes", known.len(), held.len())?;
    writeln!(out, "k-NN                 {:>7.2}", found.knn)?;
    writeln!(out, "linear probing       {:>7.2}", found.linear)?;
    writeln!(out, "most frequent class  {:>7.2}", found.majority)?;
    writeln!(out, "silhouette           {:>7.3}", found.silhouette)?;
    let chance = found.nmi.chance.map_or(String::new(), |chance| format!("  (chance {chance:.3})"));
    writeln!(out, "k-means NMI          {:>7.3}{chance}", found.nmi.value)?;
    writeln!(out, "k-means ARI          {:>7.3}", found.ari)?;
    Ok(())
}

/// Classes by the folders of both, numbered by the folders of the known images.
fn by_folder(
    args: &FeaturesArgs,
    train: &dyn FeatureSource,
    test: &dyn FeatureSource,
) -> Result<(Vec<usize>, Vec<usize>, usize), CliError> {
    let known = labels::folder_of_rows(&args.train, train)?;
    let numbers = labels::numbered(&known);
    let number = |name: &String| {
        let unknown = || {
            let message = format!("the class `{name}` of {} has no image in {}", args.test, args.train);
            CliError::Usage(message)
        };
        numbers.get(name).copied().ok_or_else(unknown)
    };
    let held = labels::folder_of_rows(&args.test, test)?;
    let of = |names: &[String]| names.iter().map(number).collect::<Result<Vec<_>, _>>();
    Ok((of(&known)?, of(&held)?, numbers.len()))
}

fn read(spec: &str, source: &dyn FeatureSource, device: &Device) -> Result<Tensor<2>, CliError> {
    let rows: Vec<usize> = (0..source.rows()).collect();
    gather_tensor(source, &rows, device)
        .map_err(|source| CliError::Features { spec: spec.to_owned(), source })
}
