use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::Device;
use burn_store::BurnToPyTorchAdapter;

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pretrained");

#[derive(Module, Debug)]
pub(in crate::pretrained) struct Tiny {
    embedding: Embedding,
    layers: Vec<Block>,
    conv: Conv2d,
    bn: BatchNorm,
}

#[derive(Module, Debug)]
struct Block {
    linear: Linear,
    norm: LayerNorm,
}

pub(in crate::pretrained) fn tiny() -> Tiny {
    tiny_of(2, 4)
}

fn tiny_of(layers: usize, width: usize) -> Tiny {
    let device = Device::flex();
    let block = |_| Block {
        linear: LinearConfig::new(6, width).init(&device),
        norm: LayerNormConfig::new(width).init(&device),
    };
    Tiny {
        embedding: EmbeddingConfig::new(5, 6).init(&device),
        layers: (0..layers).map(block).collect(),
        conv: Conv2dConfig::new([3, 2], [3, 3]).init(&device),
        bn: BatchNormConfig::new(2).init(&device),
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

fn open(name: &str) -> Weights {
    Weights::open(&fixture(name)).unwrap()
}

/// Shapes and `f32` values of the parameters of a module by their names in PyTorch.
fn parameters(module: &Tiny) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let tensors = module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
    let values = |tensor: StoredTensor| {
        let data = bridge::into_data(tensor).unwrap();
        (data.shape().to_vec(), data.try_to_vec::<f32>().unwrap())
    };
    tensors.into_iter().map(|tensor| (tensor.name.clone(), values(tensor))).collect()
}

fn expected() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(fixture("expected.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView<'_>| {
        let floats = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (view.shape().to_vec(), floats.collect())
    };
    tensors.iter().map(|(name, view)| (name.to_owned(), values(&view))).collect()
}

fn load(weights: &Weights, names: &Names) -> Result<Tiny, String> {
    let mut module = tiny();
    weights.load_into(&mut module, names).map_err(|error| error.to_string())?;
    Ok(module)
}

#[test]
fn all_formats_have_the_same_values() {
    let expected = expected();
    assert_eq!(expected.len(), 15);
    for name in [
        "model.safetensors",
        "mixed.safetensors",
        "zip.bin",
        "legacy.bin",
        "zip_permuted.pth",
        "legacy_permuted.pth",
        "zip_mixed.pt",
        "legacy_mixed.pt",
        "zip_shared.bin",
        "legacy_shared.bin",
        "zip_nested.pt",
        "legacy_nested.pt",
        "zip_call.bin",
        "legacy_call.bin",
    ] {
        let module = load(&open(name), &Names::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(parameters(&module) == expected, "{name}");
    }
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"].map(fixture);
    let module = load(&Weights::open_all(&shards).unwrap(), &Names::default()).unwrap();
    assert!(parameters(&module) == expected);
}

#[test]
fn names_all_tensors_that_do_not_match() {
    let mut module = tiny_of(3, 5);
    let error = open("zip.bin").load_into(&mut module, &Names::default()).unwrap_err();
    let ModelError::Tensors { problems } = &error else { panic!("{error}") };
    let mut invalid = Vec::new();
    for layer in 0..2 {
        invalid.push(format!("`layers.{layer}.linear.bias` has shape [4], expected [5]"));
        invalid.push(format!("`layers.{layer}.linear.weight` has shape [4, 6], expected [5, 6]"));
        invalid.push(format!("`layers.{layer}.norm.bias` has shape [4], expected [5]"));
        invalid.push(format!("`layers.{layer}.norm.weight` has shape [4], expected [5]"));
    }
    let names = ["linear.bias", "linear.weight", "norm.bias", "norm.weight"];
    assert_eq!(problems.missing, names.map(|name| format!("`layers.2.{name}`")));
    assert_eq!(problems.invalid, invalid);

    let error = open("model.safetensors").load_into(&mut tiny_of(1, 4), &Names::default()).unwrap_err();
    let unused = names.map(|name| format!("`layers.1.{name}`"));
    assert!(error.to_string().ends_with(&format!("model: 4 unexpected: {}", unused.join(", "))), "{error}");
}

#[test]
fn many_problems_are_counted_and_prefixes_are_named() {
    let names = Names { prefixes: &["bert."], renames: &[(".", "/")], ..Names::default() };
    let error = load(&open("zip.bin"), &names).unwrap_err();
    let expected =
        "15 missing: `bn.bias`, `bn.running_mean`, `bn.running_var`, `bn.weight`, ...; 15 unexpected: ";
    assert!(error.contains(expected), "{error}");
    let prefixes = "; no name is known: they start with `layers.` (8), `bn.` (5), `conv.` (2), `embedding.` (1), \
        expected no prefix or `bert.`";
    assert!(error.ends_with(prefixes), "{error}");
}

#[test]
fn stand_ins_for_weights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 43\n")
            .unwrap();
        let error = Weights::open(&path).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("run `git lfs pull`"), "{error}");
    }
}

#[test]
fn allocates_nothing_if_tensors_do_not_match() {
    // Three matrices of 2^34 elements each.
    let device = Device::flex();
    let module = |_| LinearConfig::new(1 << 17, 1 << 17).init(&device);
    let mut large: Vec<Linear> = (0..3).map(module).collect();
    let error = open("zip.bin").load_into(&mut large, &Names::default()).unwrap_err();
    assert!(error.to_string().contains("missing: `0.bias`, `0.weight`"), "{error}");
}

#[test]
fn maps_names_in_order() {
    let names = Names {
        prefixes: &["bert.", "layers.", "bn."],
        renames: &[("linear", "dense"), ("dense.w", "out.w")],
        ignored: &["1.", ".norm.weight", ".norm.bias"],
    };
    let weights = open("legacy.bin");
    let named: Vec<String> = weights.named(&names).map(|(name, _)| name).collect();
    assert_eq!(named, ["0.dense.bias", "0.out.weight"]);
}

#[test]
fn supports_old_names_of_norms() {
    let renames = &[("norm.weight", "norm.gamma"), ("norm.bias", "norm.beta")];
    let module = load(&open("zip.bin"), &Names { renames, ..Names::default() }).unwrap();
    assert!(parameters(&module) == expected());
}

#[test]
fn rejects_non_finite_values() {
    let error = load(&open("not_finite.safetensors"), &Names::default()).unwrap_err();
    let reason = "cannot be read: not all values are finite in f32";
    let both = format!("2 invalid: `conv.bias` {reason}, `layers.0.norm.weight` {reason}");
    assert!(error.ends_with(&both), "{error}");
    let error = load(&open("too_large.safetensors"), &Names::default()).unwrap_err();
    assert!(error.ends_with(&format!(": `conv.bias` {reason}")), "{error}");
}

#[test]
fn detects_non_finite_values() {
    let check = |value: f32| is_finite(&TensorData::from([1.0, value, 2.0]));
    for value in [0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45] {
        assert!(check(value), "{value}");
    }
    for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(!check(value), "{value}");
    }
}

#[test]
fn rejects_duplicate_tensors() {
    let error =
        Weights::open_all(&[fixture("model.safetensors"), fixture("mixed.safetensors")]).err().unwrap();
    assert!(error.to_string().ends_with("`bn.bias` is also in another shard"), "{error}");
}
